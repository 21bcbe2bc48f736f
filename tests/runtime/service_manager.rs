//! Notifications to the service manager: ready, keep-alive, reloading, stopping.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fixture::random::unique_digits;
use crate::fixture::{Fixture, WAIT_DEADLINE, until};

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

/// The next notification.
fn notification(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(WAIT_DEADLINE)).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a notification");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// All notifications up to the one with this text.
fn notifications_until(socket: &UnixDatagram, words: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        all.push(notification(socket));
        if all.last().unwrap().contains(words) {
            return all;
        }
    }
}

/// The notifications that have arrived.
fn drain(socket: &UnixDatagram) -> usize {
    socket.set_nonblocking(true).unwrap();
    let taken = std::iter::from_fn(|| socket.recv(&mut [0; 4096]).ok()).count();
    socket.set_nonblocking(false).unwrap();
    taken
}

#[test]
fn notify_states_over_a_service_lifetime() {
    let fixture = Fixture::sqlite(POOL);
    let socket = UnixDatagram::bind(fixture.file("notify.sock")).unwrap();
    let mut command = fixture.listen_command(&[]);
    command.env("NOTIFY_SOCKET", fixture.file("notify.sock")).env("WATCHDOG_USEC", "600000");
    let master = fixture.start(command);
    let first = notification(&socket);
    assert_eq!(first, "READY=1\nSTATUS=serving default");
    assert!(fixture.file("run/default-master.pid").exists(), "ready only when serving");
    // Three keep-alives per watchdog timeout.
    let all: Vec<String> = (0..3).flat_map(|_| notifications_until(&socket, "WATCHDOG=1")).collect();
    assert!(all.iter().any(|words| words.starts_with("STATUS=0 jobs running")), "{all:?}");

    master.signal(Signal::SIGSTOP);
    until("the stop of the process", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", master.pid())).unwrap();
        stat.contains(") T ").then_some(())
    });
    drain(&socket);
    socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    assert!(socket.recv(&mut [0; 4096]).is_err(), "no keep-alive of a stopped process");
    master.signal(Signal::SIGCONT);
    notifications_until(&socket, "WATCHDOG=1");

    fixture.push("sleep", r#"{"ms":2500}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    master.signal(Signal::SIGTERM);
    notifications_until(&socket, "STOPPING=1");
    let all: Vec<String> =
        (0..2).flat_map(|_| notifications_until(&socket, "EXTEND_TIMEOUT_USEC=10000000")).collect();
    assert!(
        all.iter().any(|words| words.starts_with("STATUS=stopping: 1 job running, interrupted in 2")),
        "{all:?}"
    );
    assert!(all.iter().any(|words| words == "WATCHDOG=1"), "{all:?}");
    until("the progress line", || master.log().contains("stopping: waiting for running jobs").then_some(()));
    assert!(master.wait().success());
    assert_eq!(fixture.counts("default").done, 1);
}

#[test]
fn stop_command_is_notified_and_hidden_from_workers() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process\"\ncommand = [\"sh\", \"-c\", \"env > env.txt; sleep 1\"]\n",
    );
    let name = format!("aint-queue-test-{}", unique_digits());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
    let mut command = fixture.listen_command(&[]);
    command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "300000").env("WATCHDOG_PID", "1");
    let master = fixture.start(command);
    assert!(notification(&socket).starts_with("READY=1"));
    fixture.push("x", "{}", &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    fixture.ok(&["queue:stop"]);
    assert!(master.wait().success());
    socket.set_nonblocking(true).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        all.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert!(
        !all.iter().any(|words| words == "WATCHDOG=1"),
        "keep-alive for the watchdog of another process: {all:?}"
    );
    let env = std::fs::read_to_string(fixture.file("env.txt")).unwrap();
    assert!(!env.contains("NOTIFY_SOCKET") && !env.contains("WATCHDOG"), "{env}");
}

/// The monotonic clock in microseconds, as service managers read it.
fn monotonic() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(Duration::from(now).as_micros()).unwrap()
}

#[test]
fn each_reload_request_gets_reloading_then_ready() {
    let fixture = Fixture::sqlite(&format!("{POOL}command = [\"./worker.sh\"]\nprotocol = \"wire\"\n"));
    let script = |before: &str| {
        format!("#!/bin/sh\n{before}\nexec '{}' __worker --demo-jobs\n", crate::fixture::BINARY)
    };
    fixture.write("worker.sh", &script("while [ -e held ]; do sleep 0.02; done"));
    let socket = UnixDatagram::bind(fixture.file("notify.sock")).unwrap();
    let mut command = fixture.listen_command(&[]);
    command.env("NOTIFY_SOCKET", fixture.file("notify.sock"));
    let master = fixture.start(command);
    notifications_until(&socket, "READY=1");
    fixture.write("held", "");
    let ask = || {
        let asked = monotonic();
        master.signal(Signal::SIGUSR1);
        asked
    };
    let at = |words: &str| -> u64 {
        let line = words.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
        line.parse().unwrap()
    };
    let first = ask();
    let words = notifications_until(&socket, "RELOADING=1").pop().unwrap();
    assert!((first..=monotonic()).contains(&at(&words)), "{words}");
    // A second request while the first reload waits for its worker.
    let second = ask();
    std::fs::remove_file(fixture.file("held")).unwrap();
    let all = notifications_until(&socket, "READY=1");
    let last = all
        .iter()
        .rfind(|words| words.contains("RELOADING=1"))
        .expect("RELOADING=1 after the second request");
    assert!(at(last) >= second, "{all:?}");
    assert_eq!(all.last().unwrap(), "READY=1\nSTATUS=reloaded");
    // A failed reload also ends.
    fixture.write("worker.sh", &script("exit 3"));
    ask();
    let all = notifications_until(&socket, "READY=1");
    assert!(all.iter().any(|words| words.contains("RELOADING=1")), "{all:?}");
    assert_eq!(all.last().unwrap(), "READY=1\nSTATUS=reload failed, see the log");
    assert!(master.stop().success());
}

#[test]
fn missing_service_manager_stops_nothing() {
    for name in ["/nowhere/at/all.sock", "", "@", "relative", &"x".repeat(300)] {
        let fixture = Fixture::sqlite(POOL);
        let mut command = fixture.listen_command(&[]);
        command.env("NOTIFY_SOCKET", name);
        let master = fixture.listening(command);
        assert!(master.stop().success(), "{name:?}");
    }
}

#[test]
fn deployed_unit_is_valid_and_allows_stop_wait() {
    let unit =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/aint-queue.service")).unwrap();
    let setting = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in the unit"))
    };
    let fixture = Fixture::sqlite("[channels.default]\n");
    let usual = &aint_queue::Config::built_in(fixture.path()).channels["default"];
    let needed = (usual.stop_wait + usual.stop_grace).as_secs_f64();
    assert!(
        setting("TimeoutStopSec").parse::<f64>().unwrap() > needed + 5.0,
        "5 s are for the farewell to the store"
    );
    assert_eq!((setting("Type"), setting("KillMode")), ("notify", "mixed"));
    // With another policy systemd stops the whole service when the kernel kills one worker for its memory.
    assert_eq!(setting("OOMPolicy"), "continue");
    // A start without a store fails at once; systemd retries without limit.
    assert_eq!((setting("Restart"), setting("StartLimitIntervalSec")), ("on-failure", "0"));

    // The path of an installed program.
    let path = fixture
        .write("aint-queue.service", &unit.replace("/usr/local/bin/aint-queue", crate::fixture::BINARY));
    let Ok(verified) = std::process::Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        eprintln!("not run: there is no systemd-analyze here");
        return;
    };
    let said = crate::fixture::text(&verified.stderr);
    assert!(verified.status.success() && !said.contains("aint-queue.service"), "{said}");
}
