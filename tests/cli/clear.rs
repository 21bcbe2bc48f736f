//! `queue:clear`: what it removes, and whom it asks.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::pty::openpty;

use crate::rig::{Rig, assert_transcript};

fn filled() -> Rig {
    let mut rig = Rig::new();
    rig.fail(&[("noop", "x")]);
    rig.push(&["noop"]);
    rig.push(&["noop", "--delay", "1h"]);
    rig
}

#[test]
fn without_a_terminal_nothing_is_removed_unless_told_so() {
    let mut rig = filled();
    for args in [&["queue:clear"][..], &["queue:clear", "--all"], &["queue:clear", "-n"]] {
        assert_eq!(rig.feed(args, b"y\n").code, 2, "{args:?}");
    }
    assert_eq!(rig.status()["total"], 3);
    assert_transcript!(rig);
}

#[test]
fn each_state_goes_when_it_is_asked_for() {
    let mut rig = filled();
    rig.run(&["queue:clear", "--yes"]);
    assert_eq!(rig.status()["failed"], 1);
    rig.run(&["queue:clear", "--failed", "-y", "--json"]);
    rig.run(&["queue:clear", "--all", "--reserved", "-y"]);
    let status = rig.status();
    assert_eq!((&status["total"], &status["cleared"]), (&0.into(), &3.into()));
    assert_transcript!(rig);
}

/// Runs `queue:clear` on a terminal of its own, types `answer`, and returns what the terminal showed and the exit code.
fn on_a_terminal(rig: &Rig, answer: &str) -> (String, i32) {
    let pty = openpty(None, None).unwrap();
    let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let mut child = rig
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
    // The read fails once the last process has left the terminal.
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
fn on_a_terminal_the_answer_decides() {
    let mut rig = filled();
    for no in ["n", "", "what?"] {
        let (shown, code) = on_a_terminal(&rig, no);
        assert_eq!(code, 1);
        assert!(
            shown.contains("Remove 1 waiting and 1 delayed jobs of channel \"default\" for good? [y/N]"),
            "{shown}"
        );
        assert!(shown.contains("the answer was no"), "{shown}");
    }
    assert_eq!(rig.status()["total"], 3);
    let (shown, code) = on_a_terminal(&rig, "y");
    assert_eq!(code, 0);
    assert!(shown.contains("Removed 1 waiting and 1 delayed jobs"), "{shown}");
    assert_eq!(rig.status()["total"], 1);
}
