//! The control socket with clients that break its rules: other clients are not affected.

use std::fs::Permissions;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::ControlConnection;
use crate::fixture::{Fixture, Master, text, until};

const STATUS: &str = r#"{"command":"status"}"#;
/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 64 << 10;

fn serving() -> (Fixture, Master) {
    let fixture = Fixture::sqlite("[channels.default]\n");
    let master = fixture.listen(&[]);
    (fixture, master)
}

fn is_answered(fixture: &Fixture) -> bool {
    ControlConnection::to(fixture, "default").request(STATUS)["ok"]["status"]["report"].is_object()
}

#[test]
fn malformed_requests_are_refused_line_by_line() {
    let (fixture, master) = serving();
    let mut line = ControlConnection::to(&fixture, "default");
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
        line.send(&[garbage, b"\n"].concat()).unwrap();
        let said = line.receive().expect("an answer");
        assert!(said.starts_with(r#"{"error":"not a request: "#), "{:?}: {said}", text(garbage));
    }
    assert!(line.request(STATUS)["ok"].is_object(), "the connection still serves");
    assert!(is_answered(&fixture));
    assert!(master.stop().success());
}

#[test]
fn overlong_request_closes_connection_unexecuted() {
    let (fixture, master) = serving();
    let request = format!("{STATUS}{}", " ".repeat(MAX_REQUEST_BYTES - STATUS.len() - 1));
    assert!(
        ControlConnection::to(&fixture, "default").request(&request)["ok"].is_object(),
        "the longest there may be"
    );

    let mut line = ControlConnection::to(&fixture, "default");
    line.send(" ".repeat(MAX_REQUEST_BYTES).as_bytes()).unwrap();
    // The master may have closed the connection with unread bytes.
    let _ = line.send(b"{\"command\":\"stop\",\"force\":true}\n{\"command\":\"stop\"}\n");
    let said = line.receive().expect("why");
    assert!(said.starts_with(r#"{"error":"not a request: longer than 64 KiB","store":"#), "{said}");
    assert_eq!(line.receive(), None);
    assert!(is_answered(&fixture));
    assert!(master.stop().success());
}

#[test]
fn silent_connections_yield_to_active_ones() {
    let (fixture, master) = serving();
    let mut first = ControlConnection::to(&fixture, "default");
    let mut silent: Vec<_> = (1..33).map(|_| ControlConnection::to(&fixture, "default")).collect();
    // A partial request counts as idle.
    silent[20].send(b"{\"command\":").unwrap();
    let begun = Instant::now();
    assert_eq!(first.receive(), None, "the connection that is idle for longest is closed");
    for _ in 0..5 {
        assert!(is_answered(&fixture));
    }
    fixture.ok(&["queue:status"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // The other connections still serve.
    let last = silent.last_mut().unwrap();
    assert!(last.request(STATUS)["ok"].is_object());
    assert!(master.stop().success());
}

#[test]
fn client_not_reading_responses_blocks_no_other() {
    let (fixture, master) = serving();
    let mut deaf: Vec<_> = (0..32).map(|_| ControlConnection::to(&fixture, "default")).collect();
    for line in &mut deaf {
        let stream: &UnixStream = line.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        while line.send(format!("{STATUS}\n").as_bytes()).is_ok() {}
    }
    let begun = Instant::now();
    assert!(is_answered(&fixture));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "jobs to run meanwhile", |c| c.done == 1);
    drop(deaf);
    assert!(master.stop().success());
}

#[test]
fn half_closed_client_gets_response_for_whole_lines() {
    let (fixture, master) = serving();
    let mut line = ControlConnection::to(&fixture, "default");
    line.send(format!("{STATUS}\n{STATUS}").as_bytes()).unwrap();
    line.0.get_ref().shutdown(Shutdown::Write).unwrap();
    for _ in 0..2 {
        assert!(line.receive().expect("an answer").starts_with(r#"{"ok":"#));
    }
    assert_eq!(line.receive(), None);

    let mut line = ControlConnection::to(&fixture, "default");
    line.send(br#"{"command":"sto"#).unwrap();
    line.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert!(line.receive().unwrap().contains("not a request"));
    assert_eq!(line.receive(), None);

    // A request takes effect although its client has disconnected.
    let mut line = ControlConnection::to(&fixture, "default");
    line.send(b"{\"command\":\"quiet\"}\n").unwrap();
    drop(line);
    until("it to be quiet", || (fixture.json(&["queue:status"])["quiet"] == true).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    let (fixture, master) = serving();
    let socket = fixture.file("run/default.sock");
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
    open(fixture.path(), 0o755);
    open(&fixture.file("run"), 0o755);
    let (connected, _, said) = stranger();
    assert!(!connected && said.contains("PermissionError"), "mode of the socket: {said}");
    // With an open mode the master still accepts only its own user and root.
    open(&socket, 0o666);
    let (connected, received, said) = stranger();
    assert!(connected && received.trim() == "b''", "{received} {said}");
    until("the log", || master.log().contains("control connection of another user: refused").then_some(()));
    assert!(is_answered(&fixture));
    assert!(master.stop().success());
}
