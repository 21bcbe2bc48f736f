//! The examples that push over HTTP, with their real interpreters.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::client::{HttpFixture, address};
use crate::fixture::{Fixture, text};
use crate::redis::free_port;

const TOKEN: &str = "0123456789abcdef";
const CHANNELS: &str = "[channels.default]\n[channels.mail]\n";
const TO: &str = "ann@example.com";

/// The command of an example that pushes to this address.
fn example(program: &str, file: &str, address: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg(format!("{}/examples/http/{file}", env!("CARGO_MANIFEST_DIR"))).args(args);
    command.env("AINT_QUEUE_URL", format!("http://{address}")).env("AINT_QUEUE_HTTP_TOKEN", TOKEN);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn spawn(mut command: Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: run tests/services.sh"))
}

/// Runs an example that must succeed; returns its output lines.
fn printed(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

fn fixture(port: u16) -> Fixture {
    Fixture::sqlite(&format!("{CHANNELS}[http]\nlisten = \"127.0.0.1:{port}\"\ntoken = \"{TOKEN}\"\n"))
}

/// Runs an example without a master, with a held key and with a wrong token.
fn pushes(program: &str, file: &str) {
    let port = free_port();
    let fixture = fixture(port);
    let early = spawn(example(program, file, ([127, 0, 0, 1], port).into(), &[TO]));
    let master = fixture.listen(&[]);
    let address = address(&master);
    let first = printed(early);
    let shown = |id: &str| -> Value { fixture.json(&["queue:show", id, "-t", "mail"]) };
    let welcome = shown(&first[0]);
    assert_eq!((&welcome["job"], &welcome["payload"]), (&json!("send_mail"), &json!({ "to": TO })));
    assert_eq!((&welcome["unique_for_ms"], &welcome["state"]), (&json!(86_400_000), &json!("waiting")));
    let later: Vec<_> = first[1].split(' ').map(shown).collect();
    assert_eq!(later.len(), 2);
    for job in &later {
        assert_eq!(job["payload"], json!({ "to": TO, "text": "Schöne Grüße" }));
        assert_eq!((&job["state"], &job["priority"]), (&json!("delayed"), &json!("low")));
    }

    let second = printed(spawn(example(program, file, address, &[TO])));
    assert_eq!(second[0], first[0], "the key is held");
    assert_eq!(fixture.counts("mail").total, 5);

    let mut stranger = example(program, file, address, &[TO]);
    stranger.env("AINT_QUEUE_HTTP_TOKEN", "wrong");
    let output = spawn(stranger).wait_with_output().unwrap();
    assert!(!output.status.success());
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("401") && said.contains("token is missing or wrong"), "{said}");
    assert_eq!(fixture.counts("mail").total, 5);
}

#[test]
fn php_pushes() {
    pushes("php", "push.php");
}

#[test]
fn python_pushes() {
    pushes("python3", "push.py");
}

#[test]
fn node_pushes() {
    pushes("node", "push.mjs");
}

#[test]
fn curl_pushes() {
    let port = free_port();
    let fixture = fixture(port);
    let job = r#"{"job":"send_mail","payload":"@not a file","unique":"k"}"#;
    let early = spawn(example("sh", "push.sh", ([127, 0, 0, 1], port).into(), &["mail", job]));
    let master = fixture.listen(&[]);
    let address = address(&master);
    let first: Value = serde_json::from_str(&printed(early)[0]).unwrap();
    assert_eq!(first["added"], true);
    let again = printed(spawn(example("sh", "push.sh", address, &["mail", &format!("[{job}]")])));
    let again: Value = serde_json::from_str(&again[0]).unwrap();
    assert_eq!(again, json!([{ "id": first["id"], "added": false }]));
    let output = spawn(example("sh", "push.sh", address, &["mail", "{}"])).wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stdout).contains("no job is named"), "{output:?}");
}

#[test]
fn http_producers_are_short() {
    for file in ["push.sh", "push.php", "push.py", "push.mjs"] {
        let path = format!("{}/examples/http/{file}", env!("CARGO_MANIFEST_DIR"));
        assert!(std::fs::read_to_string(path).unwrap().lines().count() < 60, "{file}");
    }
}

#[test]
fn shell_pushes_an_array() {
    let served = HttpFixture::with("");
    let jobs = r#"[{"job":"noop"},{"job":"noop"}]"#;
    let printed = printed(spawn(example("sh", "push.sh", served.address, &["idle", jobs])));
    let answer: Value = serde_json::from_str(&printed[0]).unwrap();
    assert_eq!(answer.as_array().map(Vec::len), Some(2));
    assert_eq!(served.counts("idle").waiting, 2);
}
