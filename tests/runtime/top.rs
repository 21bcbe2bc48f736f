//! `queue:top` on a pseudo-terminal with a real master: keys, actions, and the terminal after every end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::fixture::{BINARY, Fixture, Master, text, until};

const COLUMNS: u16 = 100;
const ROWS: u16 = 30;
const TWO_CHANNELS: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 4\n[channels.idle]";

fn screen_of(rows: u16, columns: u16) -> vt100::Parser {
    vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)
}

/// A command on a terminal of its own. Dropping it kills the command.
struct OnTerminal {
    child: Child,
    keyboard: File,
    /// Keeps the terminal open, so that its modes can be read after the command.
    terminal: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl OnTerminal {
    fn start(fixture: &Fixture, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pair.slave).unwrap();
        let inner = fixture.command(&[&["queue:top"], args].concat());
        let mut command = Command::new("setsid");
        // The command gets the terminal as its own, for keys such as Ctrl-Z and for changes of the size.
        command.args(["--ctty", BINARY]).args(inner.get_args()).current_dir(fixture.path());
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        command.envs(environment.iter().copied());
        let slave = || Stdio::from(pair.slave.try_clone().unwrap());
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let child = command.spawn().unwrap();
        drop(command);
        let screen = Arc::new(Mutex::new(screen_of(ROWS, COLUMNS)));
        let (mut output, drawn) = (File::from(pair.master.try_clone().unwrap()), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                drawn.lock().unwrap().process(&bytes[..n]);
            }
        });
        Self { child, keyboard: File::from(pair.master), terminal: pair.slave, before, screen }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen has a text.
    fn shows(&self, wanted: &str) {
        until(wanted, || {
            let contents = self.contents();
            if contents.contains(wanted) { Ok(()) } else { Err(contents) }
        });
    }

    fn lacks(&self, unwanted: &str) {
        until(&format!("no {unwanted}"), || {
            let contents = self.contents();
            if contents.contains(unwanted) { Err(contents) } else { Ok(()) }
        });
    }

    /// Types keys, and waits until the screen has a text.
    fn press(&mut self, keys: &str, wanted: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.shows(wanted);
    }

    /// Clicks on a text of the screen.
    fn click(&mut self, text: &str) {
        let contents = self.contents();
        let place = contents.lines().enumerate().find_map(|(row, line)| {
            let before = &line[..line.find(text)?];
            Some((row + 1, before.chars().count() + 1))
        });
        let (row, column) = place.unwrap_or_else(|| panic!("no {text:?} in {contents}"));
        self.keyboard
            .write_all(format!("\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m").as_bytes())
            .unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(self.terminal.as_fd()).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    /// Checks that the terminal is as the command found it.
    fn is_given_back(&self) {
        assert_eq!(tcgetattr(self.terminal.as_fd()).unwrap(), self.before);
        until("the usual screen", || {
            let screen = self.screen.lock().unwrap();
            let screen = screen.screen();
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
    }

    /// Waits for the end, and returns the exit code.
    fn end(mut self) -> Option<i32> {
        let status = until("the end of the command", || self.child.try_wait().unwrap());
        self.is_given_back();
        status.code()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A master with a running, a failed, a delayed and a done job.
fn busy() -> (Fixture, Master, u64) {
    let fixture = Fixture::sqlite(TWO_CHANNELS);
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.push("fail", r#"{"message":"no such mailbox","final":true}"#, &[]);
    fixture.until("default", "a failed job", |counts| counts.failed == 1 && counts.done == 1);
    let id = fixture.push("sleep", r#"{"ms":600000}"#, &["--timeout", "0"]);
    fixture.push("noop", "{}", &["--delay", "1h"]);
    fixture.until("default", "it to run", |counts| counts.reserved == 1);
    (fixture, master, id)
}

#[test]
fn every_list_and_text_has_its_key() {
    let (fixture, master, id) = busy();
    let mut top = OnTerminal::start(&fixture, &["-t", "default"], &[]);
    top.shows("CHANNELS 2");
    assert!(top.is_raw());
    top.shows(&format!("…{:03} sleep", id % 1000));
    top.press("2", "ID");
    top.press("3", "no such mailbox");
    top.press("4", "No job waits.");
    top.press("5", "in 59 min");
    top.press("6", "WHEN");
    top.press("7", "No alert fires.");
    top.press("8", "TOOK");
    top.press("\t", "STATE");
    top.press("\x1b[Z", "TOOK");
    top.press("3", "no such mailbox");
    top.press("\r", "errors, oldest first");
    top.press("o", "No output is kept.");
    top.press("w", "· why");
    top.press("\x1b", "REASON");
    top.press("2", "PROG");
    top.press("t", "· processes");
    top.shows("__worker");
    top.press("\x1b", "PROG");
    top.press("?", "any key closes");
    top.keyboard.write_all(b" ").unwrap();
    top.lacks("any key closes");
    top.press("3/mailbox\r", "searched 1 jobs");
    // A key that follows Esc at once would be one with Alt.
    top.keyboard.write_all(b"\x1b").unwrap();
    top.lacks("/ mailbox");
    top.press(":idle\r", ">idle");
    top.press("v", "only troubles");
    top.press("v:default\r", ">default");
    top.press("z", "frozen");
    top.press("z<", "● 2 s");
    top.press(">", "● 1 s");
    top.press("y", "Copied: aint-queue queue:show");
    top.click("8 Done");
    top.shows("TOOK");
    top.click(" idle ");
    top.shows(">idle");
    top.click("3 Failed");
    top.shows("No job has failed.");
    top.click("default");
    top.shows("no such mailbox");
    top.press("m", "keys");
    top.keyboard.write_all(b"q").unwrap();
    assert_eq!(top.end(), Some(0));
    assert!(master.force_stop().success());
}

#[test]
fn actions_are_those_of_the_commands() {
    let (fixture, master, id) = busy();
    let status = || fixture.json(&["queue:status"]);
    let mut top = OnTerminal::start(&fixture, &["-t", "default"], &[]);
    top.shows(&format!("…{:03} sleep", id % 1000));
    top.press("p", "Pause \"default\"");
    top.press("n", "Nothing was done.");
    assert_eq!(status()["paused"], false);
    top.press("py", "is paused");
    assert_eq!(status()["paused"], true);
    top.shows("‖ paused");
    top.press("py", "no longer paused");
    top.press("Qy", "is quiet");
    assert_eq!(status()["quiet"], true);
    top.shows("‖ quiet");
    top.press("py", "no longer quiet");
    top.press("+y", "now has");
    top.press("3", "no such mailbox");
    top.press("ry", "Reloaded 1 job");
    fixture.until("default", "it to fail again", |counts| counts.failed == 1);
    top.shows("no such mailbox");
    top.press("xy", "u undoes");
    top.press("u", "Undone");
    assert_eq!(fixture.counts("default").failed, 1);
    top.press("2", "runs");
    top.press("cy", "is cancelled");
    let counts = fixture.until("default", "its end", |counts| counts.reserved == 0);
    assert_eq!(counts.failed, 2);
    top.press("Ry", "is reloaded");
    top.keyboard.write_all(b"\x03").unwrap();
    assert_eq!(top.end(), Some(0));
    assert!(master.force_stop().success());
}

#[test]
fn terminal_is_given_back_after_every_end() {
    let fixture = Fixture::sqlite(TWO_CHANNELS);
    fixture.push("noop", "{}", &[]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let top = OnTerminal::start(&fixture, &[], &[]);
        top.shows("CHANNELS 2");
        kill(top.pid(), signal).unwrap();
        assert_eq!(top.end(), Some(0), "{signal}");
    }
    let mut top = OnTerminal::start(&fixture, &[], &[("AINT_QUEUE_TEST_TOP_PANIC", "1")]);
    top.shows("CHANNELS 2");
    top.keyboard.write_all(b"\x1b[24~").unwrap();
    top.shows("the test asked for a panic");
    assert_eq!(top.end(), Some(1));
}

#[test]
fn stopped_command_gives_the_terminal_back() {
    let fixture = Fixture::sqlite(TWO_CHANNELS);
    fixture.push("noop", "{}", &[]);
    let mut top = OnTerminal::start(&fixture, &[], &[]);
    top.shows("CHANNELS 2");
    let by_signal = |top: &mut OnTerminal| kill(top.pid(), Signal::SIGTSTP).unwrap();
    let by_key = |top: &mut OnTerminal| top.keyboard.write_all(b"\x1a").unwrap();
    for stop in [&by_signal as &dyn Fn(&mut OnTerminal), &by_key] {
        stop(&mut top);
        let stopped = until("the stop", || {
            match waitpid(top.pid(), Some(WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => None,
                other => Some(other),
            }
        });
        assert!(matches!(stopped, Ok(WaitStatus::Stopped(..))), "{stopped:?}");
        top.is_given_back();
        kill(top.pid(), Signal::SIGCONT).unwrap();
        until("raw mode", || top.is_raw());
        top.shows("CHANNELS 2");
    }
    top.keyboard.write_all(b"q").unwrap();
    assert_eq!(top.end(), Some(0));
}

#[test]
fn resized_terminal_gets_a_frame_of_its_size() {
    let fixture = Fixture::sqlite(TWO_CHANNELS);
    fixture.push("noop", "{}", &[]);
    let top = OnTerminal::start(&fixture, &[], &[]);
    top.shows("CHANNELS 2");
    *top.screen.lock().unwrap() = screen_of(16, 60);
    let sized = Command::new("stty")
        .args(["rows", "16", "cols", "60"])
        .stdin(Stdio::from(top.terminal.try_clone().unwrap()))
        .status();
    assert!(sized.unwrap().success());
    top.lacks("CHANNELS 2");
    top.shows("waiting 1  running 0");
    kill(top.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(top.end(), Some(0));
}

#[test]
fn numbers_are_those_of_the_status() {
    let (fixture, master, id) = busy();
    let once = |more: &[&str]| {
        let mut command = fixture.command(&[&["queue:top", "--once"], more].concat());
        let output = command.env("LC_ALL", "C.UTF-8").env("COLUMNS", "160").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let status = fixture.json(&["queue:status", "-t", "default"]);
    let top: serde_json::Value = serde_json::from_str(&once(&["--json"])).unwrap();
    let channel = &top["channels"][0];
    assert_eq!(channel["name"], "default");
    for state in ["waiting", "delayed", "reserved", "failed", "done"] {
        assert_eq!(channel["counts"][state], status[state], "{state}");
    }
    let frame = once(&["-t", "default"]);
    let row = frame.lines().find(|line| line.contains(">default")).unwrap_or_else(|| panic!("{frame}"));
    let cells: Vec<_> = row.split_whitespace().collect();
    // The mark and the name, the sign and the word of the state, waiting, front, running, failed.
    assert_eq!((cells[1], cells[2], cells[3]), ("✓", "works", "0"), "{row}");
    assert_eq!((cells[5], cells[6]), ("1", "1"), "{row}");
    assert!(frame.contains(&format!("…{:03} sleep", id % 1000)), "{frame}");
    assert!(!frame.contains('\u{1b}'));
    assert!(once(&["--ascii"]).is_ascii());
    assert!(master.force_stop().success());
}

#[test]
fn command_needs_a_terminal_with_a_cursor() {
    let fixture = Fixture::sqlite(TWO_CHANNELS);
    let output = fixture.run(&["queue:top"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("queue:status --watch"), "{}", text(&output.stderr));
    let top = OnTerminal::start(&fixture, &[], &[("TERM", "dumb")]);
    top.shows("queue:status --watch");
    assert_eq!(top.end(), Some(2));
    assert!(!fixture.file("queue.db").exists(), "no store is created");
}
