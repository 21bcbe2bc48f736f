//! The master as process 1 of a container, where it inherits every orphan.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{BINARY, Fixture, Master, until};
use crate::measurements::size;

const POOL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";
const UNSHARE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

/// The command that creates a pid namespace, if this user may create one.
fn unshare() -> Option<Command> {
    for user in [&[][..], &["--user", "--map-root-user"][..]] {
        let mut command = Command::new("unshare");
        command.args(user).args(UNSHARE);
        let tried = command.arg("true").output();
        if tried.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("unshare");
            command.args(user).args(UNSHARE);
            return Some(command);
        }
    }
    eprintln!("skipped: this user may not create a pid namespace (unshare --pid)");
    None
}

/// A master that is process 1 of a namespace, and its pid outside of the namespace.
fn first_process(fixture: &Fixture) -> Option<(Master, i32)> {
    let mut command = unshare()?;
    let listen = fixture.listen_command(&[]);
    command.arg(BINARY).args(listen.get_args()).current_dir(fixture.path()).env("NO_COLOR", "1");
    let unshare = fixture.listening(command);
    let inner = until("process 1", || children(unshare.pid()).first().map(|child| child.0));
    Some((unshare, inner))
}

/// The children of a process with their states.
fn children(pid: i32) -> Vec<(i32, char)> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let state = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat[stat.rfind(')')? + 2..].chars().next()
    };
    let pids = list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(|pid| Some((pid, state(pid)?))).collect()
}

#[test]
fn pid_1_reaps_orphans_and_stops() {
    let fixture = Fixture::sqlite(POOL);
    let Some((unshare, master)) = first_process(&fixture) else { return };
    let orphans = size(100, 1_000);
    let before = children(master).len();
    // A process from outside enters the container, leaves orphans behind, some in their own sessions, and exits.
    let script = format!(
        "i=0; while [ $i -lt {orphans} ]; do i=$((i+1)); (sleep 1 &); done; (setsid sleep 1 &); (setsid true &); exit 0"
    );
    let mut enter = Command::new("nsenter");
    enter.args(["-t", &master.to_string(), "-p", "-m", "sh", "-c", &script]);
    let begun = Instant::now();
    let mut entered = enter.spawn().unwrap();
    let mut most = 0;
    until("the orphans to be adopted", || {
        most = most.max(children(master).len() - before.min(children(master).len()));
        entered.try_wait().unwrap().filter(|_| most > 0)
    });
    let adopted = children(master).len().saturating_sub(before).max(most);
    let pushed = fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job beside the orphans", |c| c.done == 1);
    until("all to be reaped", || (children(master).len() == before).then_some(()));
    println!("{adopted} of {orphans} orphans seen at once, all reaped after {:?}", begun.elapsed());
    assert!(adopted * 2 >= orphans, "only {adopted} of {orphans} came to the master: what was tested?");
    assert!(pushed > 0);
    assert_eq!(children(master).iter().filter(|c| c.1 == 'Z').count(), 0);

    let asked = Instant::now();
    kill(Pid::from_raw(master), Signal::SIGTERM).unwrap();
    assert!(unshare.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(5), "the stop took {:?}", asked.elapsed());
}

#[test]
fn stop_signals_end_pid_1_even_during_startup() {
    for (signal, early) in
        [(Signal::SIGTERM, false), (Signal::SIGINT, false), (Signal::SIGQUIT, false), (Signal::SIGTERM, true)]
    {
        let fixture = Fixture::sqlite(POOL);
        let master = if early {
            // A store that does not respond keeps the master in its start-up.
            let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = silent.local_addr().unwrap().port();
            let config = format!(
                "[defaults]\npid_path = \"run\"\ndriver = {{ type = \"redis\", connection = {{ port = {port}, read_write_timeout = 60 }} }}\n{POOL}"
            );
            fixture.write("aint-queue.toml", &config);
            let Some(mut command) = unshare() else { return };
            command.arg(BINARY).args(fixture.listen_command(&[]).get_args()).current_dir(fixture.path());
            let unshare = fixture.start(command);
            drop(silent.accept().map(std::mem::forget));
            let inner = until("process 1", || children(unshare.pid()).first().map(|child| child.0));
            (unshare, inner)
        } else {
            let Some(master) = first_process(&fixture) else { return };
            master
        };
        let asked = Instant::now();
        kill(Pid::from_raw(master.1), signal).unwrap();
        let ended = master.0.wait();
        assert!(ended.success(), "{signal} ended it with {ended}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{signal} took {:?}", asked.elapsed());
    }
}
