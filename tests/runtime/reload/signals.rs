//! Reload signals, and SIGHUP of a closed terminal.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{BINARY, Fixture, Master, children, until};

use super::{TWO_WORKERS, fixture, served_by, serving};

/// Waits until all workers are of this generation.
fn generation(fixture: &Fixture, wanted: u64) {
    until("the generation", || {
        let now = serving(fixture, "default");
        (now.len() == 2 && now.values().all(|generation| *generation == wanted)).then_some(())
    });
}

#[test]
fn usr1_and_hup_reload_without_a_terminal() {
    let fixture = fixture(TWO_WORKERS);
    // A new session has no terminal.
    let listen = fixture.listen_command(&[]);
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(BINARY).args(listen.get_args()).current_dir(fixture.path());
    let outer = fixture.listening(command);
    served_by(&fixture, "default", 2);
    let master = outer_child(outer.pid());
    for (n, signal) in [Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGHUP].into_iter().enumerate() {
        kill(Pid::from_raw(master), signal).unwrap();
        generation(&fixture, n as u64 + 2);
    }
    kill(Pid::from_raw(master), Signal::SIGTERM).unwrap();
    assert!(outer.wait().success());
}

/// The master below `setsid --wait`, or itself if that did not need to fork.
fn outer_child(outer: i32) -> i32 {
    let line = std::fs::read(format!("/proc/{outer}/cmdline")).unwrap();
    if line.starts_with(BINARY.as_bytes()) {
        outer
    } else {
        until("the master", || children(outer).first().copied())
    }
}

/// A master in the foreground of its own terminal, and the handle that closes the terminal on drop.
fn on_a_terminal(fixture: &Fixture, before: &str) -> (Master, PtyMaster) {
    // A child that inherited the handle would keep the terminal open.
    let terminal = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let slave = ptsname_r(&terminal).unwrap();
    let slave = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(slave);
    let listen = fixture.listen_command(&[]);
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "sh", "-c", &format!("exec {before} \"$@\""), "sh", BINARY])
        .args(listen.get_args());
    command.current_dir(fixture.path()).stdin(slave.unwrap());
    let master = fixture.listening(command);
    served_by(fixture, "default", 2);
    (master, terminal)
}

#[test]
fn hup_reloads_on_a_terminal_and_hangup_stops() {
    let fixture = fixture(TWO_WORKERS);
    let (master, terminal) = on_a_terminal(&fixture, "");
    assert!(std::fs::read_link(format!("/proc/{}/fd/0", master.pid())).unwrap().starts_with("/dev/pts"));
    master.signal(Signal::SIGHUP);
    generation(&fixture, 2);
    fixture.push("sleep", r#"{"ms":500}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    drop(terminal);
    assert!(master.wait().success(), "a graceful end");
    assert_eq!(fixture.counts("default").done, 1);
}

#[test]
fn nohup_ignores_hangup_and_hup_reloads() {
    let fixture = fixture(TWO_WORKERS);
    let (master, terminal) = on_a_terminal(&fixture, "nohup");
    master.signal(Signal::SIGHUP);
    generation(&fixture, 2);
    drop(terminal);
    until("it to notice", || master.log().contains("SIGHUP of a closed terminal").then_some(()));
    generation(&fixture, 2);
    master.signal(Signal::SIGHUP);
    generation(&fixture, 3);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn reload_request_during_startup_is_kept() {
    let fixture = fixture(&format!("{TWO_WORKERS}env = {{ A = \"1\" }}"));
    // A slow store delays the start.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut server = crate::redis::Server::start();
    let config = |port: u16| {
        format!(
            "[defaults]\npid_path = \"run\"\ndriver = {{ type = \"redis\", connection = {{ port = {port}, read_write_timeout = 60 }} }}\n[channels.default.worker]\n{TWO_WORKERS}"
        )
    };
    fixture.write("aint-queue.toml", &config(port));
    let master = fixture.start(fixture.listen_command(&[]));
    let (mut asked, _) = silent.accept().unwrap();
    master.signal(Signal::SIGUSR1);
    // From here on the proxy forwards to a real store.
    let mut real = std::net::TcpStream::connect(("127.0.0.1", server.config().port)).unwrap();
    let (mut asked_too, mut real_too) = (asked.try_clone().unwrap(), real.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut asked, &mut real));
    std::thread::spawn(move || std::io::copy(&mut real_too, &mut asked_too));
    let onward = server.config().port;
    std::thread::spawn(move || {
        while let Ok((mut asked, _)) = silent.accept() {
            let Ok(mut real) = std::net::TcpStream::connect(("127.0.0.1", onward)) else { return };
            let (mut asked_too, mut real_too) = (asked.try_clone().unwrap(), real.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut asked, &mut real));
            std::thread::spawn(move || std::io::copy(&mut real_too, &mut asked_too));
        }
    });
    until("it to serve", || fixture.file("run/default.sock").exists().then_some(()));
    generation(&fixture, 2);
    assert!(master.stop().success());
    server.kill();
}
