//! The control socket against those who do not keep to its rules: nobody else is harmed.

use std::fs::Permissions;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Line;
use crate::site::{Master, Site, text, until};

const STATUS: &str = r#"{"command":"status"}"#;
/// Longest request, in bytes.
const LONGEST: usize = 64 << 10;

fn serving() -> (Site, Master) {
    let site = Site::sqlite("[channels.default]\n");
    let master = site.listen(&[]);
    (site, master)
}

fn is_answered(site: &Site) -> bool {
    Line::to(site, "default").ask(STATUS)["ok"]["status"]["report"].is_object()
}

#[test]
fn what_is_no_request_is_refused_line_by_line() {
    let (site, master) = serving();
    let mut line = Line::to(&site, "default");
    let deep = "[".repeat(10_000);
    for garbage in [
        b"".as_slice(),
        b"\0",
        b"\xff\xfe{",
        b"null",
        b"[]",
        b"{",
        br#""stop""#,
        br#"{"command":"dance"}"#,
        br#"{"command":["stop"]}"#,
        br#"{"command":"stop","force":"yes"}"#,
        br#"{"command":"stop","force":true,"now":true}"#,
        br#"{"command":"stop"} {"command":"stop"}"#,
        br#"{"command":"scale"}"#,
        br#"{"command":"scale","change":1.5}"#,
        br#"{"command":"scale","exactly":-1}"#,
        br#"{"command":"scale","change":1,"exactly":2}"#,
        br#"{"command":"quiet","reason":"lunch"}"#,
        deep.as_bytes(),
        b"GET / HTTP/1.1\r",
    ] {
        line.say(&[garbage, b"\n"].concat()).unwrap();
        let said = line.hear().expect("an answer");
        assert!(said.starts_with(r#"{"error":"not a request: "#), "{:?}: {said}", text(garbage));
    }
    assert!(line.ask(STATUS)["ok"].is_object(), "and it goes on");
    assert!(is_answered(&site));
    assert!(master.stop().success());
}

#[test]
fn a_line_that_is_too_long_ends_the_conversation_and_nothing_of_it_is_obeyed() {
    let (site, master) = serving();
    let request = format!("{STATUS}{}", " ".repeat(LONGEST - STATUS.len() - 1));
    assert!(Line::to(&site, "default").ask(&request)["ok"].is_object(), "the longest there may be");

    let mut line = Line::to(&site, "default");
    line.say(" ".repeat(LONGEST).as_bytes()).unwrap();
    // The other end may have gone by now, with what it has not read.
    let _ = line.say(b"{\"command\":\"stop\",\"force\":true}\n{\"command\":\"stop\"}\n");
    let said = line.hear().expect("why");
    assert_eq!(said, r#"{"error":"not a request: it is longer than 64 KiB"}"#);
    assert_eq!(line.hear(), None);
    assert!(is_answered(&site));
    assert!(master.stop().success());
}

#[test]
fn connections_that_say_nothing_give_way_to_those_that_do() {
    let (site, master) = serving();
    let mut first = Line::to(&site, "default");
    let mut silent: Vec<_> = (1..33).map(|_| Line::to(&site, "default")).collect();
    // Half a request is as silent as none.
    silent[20].say(b"{\"command\":").unwrap();
    let begun = Instant::now();
    assert_eq!(first.hear(), None, "of 33 the one that is silent for longest ends");
    for _ in 0..5 {
        assert!(is_answered(&site));
    }
    site.ok(&["queue:status"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Those who are left are heard as ever.
    let last = silent.last_mut().unwrap();
    assert!(last.ask(STATUS)["ok"].is_object());
    assert!(master.stop().success());
}

#[test]
fn one_that_does_not_read_its_answers_holds_nobody_up() {
    let (site, master) = serving();
    let mut deaf: Vec<_> = (0..32).map(|_| Line::to(&site, "default")).collect();
    for line in &mut deaf {
        let stream: &UnixStream = line.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        while line.say(format!("{STATUS}\n").as_bytes()).is_ok() {}
    }
    let begun = Instant::now();
    assert!(is_answered(&site));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    site.push("noop", "{}", &[]);
    site.until("default", "jobs to run meanwhile", |c| c.done == 1);
    drop(deaf);
    assert!(master.stop().success());
}

#[test]
fn one_that_has_said_its_last_word_is_answered_and_half_a_word_is_none() {
    let (site, master) = serving();
    let mut line = Line::to(&site, "default");
    line.say(format!("{STATUS}\n{STATUS}").as_bytes()).unwrap();
    line.0.get_ref().shutdown(Shutdown::Write).unwrap();
    for _ in 0..2 {
        assert!(line.hear().expect("an answer").starts_with(r#"{"ok":"#));
    }
    assert_eq!(line.hear(), None);

    let mut line = Line::to(&site, "default");
    line.say(br#"{"command":"sto"#).unwrap();
    line.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert!(line.hear().unwrap().contains("not a request"));
    assert_eq!(line.hear(), None);

    // Whoever asked for something and went has asked for it.
    let mut line = Line::to(&site, "default");
    line.say(b"{\"command\":\"quiet\"}\n").unwrap();
    drop(line);
    until("it to be quiet", || (site.json(&["queue:status"])["quiet"] == true).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let (site, master) = serving();
    let socket = site.file("run/default.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    const ASK: &str = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.settimeout(60)\ns.connect(sys.argv[1])\n\
        try:\n  s.sendall(b'{\"command\":\"stop\",\"force\":true}\\n')\n  print(s.recv(1000))\nexcept (BrokenPipeError, ConnectionResetError):\n  print(b'')";
    let stranger = || {
        let mut command = Command::new("python3");
        let output = command.args(["-c", ASK]).arg(&socket).uid(65534).gid(65534).current_dir("/").output();
        let output = output.unwrap();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let open =
        |path: &std::path::Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(site.path(), 0o755);
    open(&site.file("run"), 0o755);
    let (connected, _, said) = stranger();
    assert!(!connected && said.contains("PermissionError"), "the socket is not theirs: {said}");
    // Somebody has opened the door, and still only its owner and root are heard.
    open(&socket, 0o666);
    let (connected, heard, said) = stranger();
    assert!(connected && heard.trim() == "b''", "{heard} {said}");
    until("the log", || master.log().contains("refused a control connection of another user").then_some(()));
    assert!(is_answered(&site));
    assert!(master.stop().success());
}
