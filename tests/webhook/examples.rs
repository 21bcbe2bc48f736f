//! The example receivers, with their real interpreters.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::channel::{SECRET, errors, sending};
use crate::fixture::until;
use crate::signatures::sign;

/// A receiver process, killed on drop.
struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command of a receiver on this port.
fn program(name: &str, port: u16) -> Command {
    let file = |name: &str| format!("{}/examples/webhook/{name}", env!("CARGO_MANIFEST_DIR"));
    let (port, mut command) = (port.to_string(), Command::new(name));
    match name {
        "python3" => command.arg(file("receiver.py")).arg(port),
        "node" => command.arg(file("receiver.mjs")).arg(port),
        _ => command.args(["-S", &format!("127.0.0.1:{port}")]).arg(file("receiver.php")),
    };
    command
}

/// Delivers a job; checks that the receiver refuses another secret, a changed body and a replay.
fn receives(name: &str) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut command = program(name, port);
    command.env("WEBHOOK_SECRET", SECRET).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}: run tests/services.sh"));
    let mut receiver = Example(child);
    // PHP's server logs to standard error, the others to standard output.
    let printed: Box<dyn Read + Send> = match name {
        "php" => Box::new(receiver.0.stderr.take().unwrap()),
        _ => Box::new(receiver.0.stdout.take().unwrap()),
    };
    until("the receiver to listen", || TcpStream::connect(("127.0.0.1", port)).ok());

    let url = format!("http://127.0.0.1:{port}/");
    let fixture = sending(&url, "allow_http = true\nallow_private = true");
    let master = fixture.listen(&[]);
    let id = fixture.push("send_mail", r#"{"to": "ann@example.com"}"#, &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    // The pipe stays open, because the receiver keeps printing.
    let mut lines = BufReader::new(printed).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("send_mail")).unwrap();
    assert!(line.contains(&format!("default-{id} send_mail")) && line.contains("ann@example.com"), "{line}");
    assert!(master.stop().success());

    let text = std::fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    fixture.write("aint-queue.toml", &text.replace(SECRET, "whsec_b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIh"));
    let master = fixture.listen(&[]);
    let id = fixture.push("send_mail", "{}", &[]);
    fixture.until("default", "the refusal", |c| c.failed == 1);
    let errors = errors(&fixture, id);
    assert_eq!(errors, ["the receiver answered 401 Unauthorized"]);
    assert!(master.stop().success());

    // The same request by hand: accepted when fresh, refused as a replay after an hour.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(by_hand(port, now).contains(" 204 "));
    assert!(by_hand(port, now - 3600).contains(" 401 "));
}

/// Sends a request signed for this time; returns the status line.
fn by_hand(port: u16, seconds: u64) -> String {
    let signature = sign(SECRET, "a", seconds, "{}");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\nwebhook-id: a\r\n\
         webhook-timestamp: {seconds}\r\nwebhook-signature: {signature}\r\naint-queue-job: x\r\n\r\n{{}}"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn python_receives_and_verifies() {
    receives("python3");
}

#[test]
fn node_receives_and_verifies() {
    receives("node");
}

#[test]
fn php_receives_and_verifies() {
    receives("php");
}
