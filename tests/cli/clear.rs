//! `queue:clear`: removed states, and the confirmation.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::pty::openpty;

use crate::fixture::{Fixture, assert_transcript};

fn filled() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.fail(&[("noop", "x")]);
    fixture.push(&["noop"]);
    fixture.push(&["noop", "--delay", "1h"]);
    fixture
}

#[test]
fn clear_without_terminal_needs_force() {
    let mut fixture = filled();
    for args in [&["queue:clear"][..], &["queue:clear", "--all"], &["queue:clear", "-n"]] {
        assert_eq!(fixture.run_with_stdin(args, b"y\n").code, 2, "{args:?}");
    }
    assert_eq!(fixture.status()["total"], 3);
    assert_transcript!(fixture);
}

#[test]
fn clear_removes_the_named_states() {
    let mut fixture = filled();
    fixture.run(&["queue:clear", "--yes"]);
    assert_eq!(fixture.status()["failed"], 1);
    fixture.run(&["queue:clear", "--failed", "-y", "--json"]);
    fixture.run(&["queue:clear", "--all", "--reserved", "-y"]);
    let status = fixture.status();
    assert_eq!((&status["total"], &status["cleared"]), (&0.into(), &3.into()));
    assert_transcript!(fixture);
}

/// Runs `queue:clear` on a new terminal, types `answer`, and returns the terminal's output and the exit code.
fn on_a_terminal(fixture: &Fixture, answer: &str) -> (String, i32) {
    let pty = openpty(None, None).unwrap();
    let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let mut child = fixture
        .command(&["queue:clear"])
        .stdin(end(&pty.slave))
        .stdout(end(&pty.slave))
        .stderr(end(&pty.slave))
        .spawn()
        .unwrap();
    drop(pty.slave);
    let mut terminal = std::fs::File::from(pty.master);
    let (mut shown, mut buffer) = (String::new(), [0; 1024]);
    let mut answered = false;
    // The read fails once the last process has closed the terminal.
    while let Ok(n @ 1..) = terminal.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if shown.contains("[y/N] ") && !answered {
            answered = true;
            terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    }
    (shown, child.wait().unwrap().code().unwrap())
}

#[test]
fn clear_asks_on_a_terminal() {
    let mut fixture = filled();
    for no in ["n", "", "what?"] {
        let (shown, code) = on_a_terminal(&fixture, no);
        assert_eq!(code, 1);
        assert!(
            shown.contains("Permanently remove 1 waiting and 1 delayed jobs from channel \"default\"? [y/N]"),
            "{shown}"
        );
        assert!(shown.contains("the answer was no"), "{shown}");
    }
    assert_eq!(fixture.status()["total"], 3);
    let (shown, code) = on_a_terminal(&fixture, "y");
    assert_eq!(code, 0);
    assert!(shown.contains("Removed 1 waiting and 1 delayed jobs"), "{shown}");
    assert_eq!(fixture.status()["total"], 1);
}
