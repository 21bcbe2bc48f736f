//! The control socket: requests that commands of earlier versions send, and replies of masters of earlier versions.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fake_master::FakeMaster;
use crate::fixture::{Finished, Fixture, SQLITE, load, recorded};
use crate::run_dir::recorded_lock;
use crate::shape;

const CHANNELS: &str = r#"
[channels.default.worker]
type = "process-pool"
dynamic_mode = false
min_worker_number = 1
max_worker_number = 4
max_execute_seconds = 0
[channels.mail.worker]
type = "coroutine"
"#;

/// An exchange with a master.
#[derive(Debug, Serialize, Deserialize)]
struct Exchange {
    situation: String,
    request: Value,
    /// The lines of the reply, without repeated progress.
    replies: Vec<Value>,
}

/// A command that got such replies.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Rendered {
    situation: String,
    command: String,
    /// The line that it sent.
    request: Value,
    exit: i32,
    /// The answer, without times, ids and sentences.
    output: Value,
}

/// A conversation with the master of a channel.
fn converse(fixture: &Fixture, channel: &str, request: &Value) -> Vec<Value> {
    let stream = UnixStream::connect(fixture.path(&format!("run/{channel}.sock"))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    (&stream).write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut replies: Vec<Value> = Vec::new();
    for line in BufReader::new(&stream).lines() {
        let reply: Value = serde_json::from_str(&fixture.without_directory(line.unwrap())).unwrap();
        let is_progress = reply.get("progress").is_some();
        if !(is_progress && replies.last().is_some_and(|last| last.get("progress").is_some())) {
            replies.push(reply);
        }
        if !is_progress {
            break;
        }
    }
    replies
}

/// Every request, to a master of the program.
fn exchanges() -> Vec<Exchange> {
    let config = format!(
        "[defaults]\npid_path = \"run\"\nstop_wait_seconds = 2\ntimeout_grace_ms = 2000\n{SQLITE}{CHANNELS}"
    );
    let fixture = Fixture::new(&config);
    let mut master = fixture.listen(&["--all"], 1);
    let mut found: Vec<Exchange> = Vec::new();
    let mut ask = |situation: &str, channel: &str, request: Value| {
        let replies = converse(&fixture, channel, &request);
        found.push(Exchange { situation: situation.to_owned(), request, replies });
    };
    ask("status of an idle channel", "default", json!({ "command": "status" }));
    let asleep = fixture.push("sleep", r#"{"ms":600000}"#, &[]);
    fixture.until_workers(1, 0);
    ask("status with a running job", "default", json!({ "command": "status" }));
    ask("status of a channel of type coroutine", "mail", json!({ "command": "status" }));
    ask("look at a channel", "default", json!({ "command": "look" }));
    ask("look at a running job", "default", json!({ "command": "look", "id": asleep }));
    ask("look at an unknown job", "default", json!({ "command": "look", "id": 17 }));
    ask("metrics", "default", json!({ "command": "metrics" }));
    ask("quiet", "default", json!({ "command": "quiet" }));
    ask("quiet again", "default", json!({ "command": "quiet" }));
    ask("status of a quiet channel", "default", json!({ "command": "status" }));
    ask("resume", "default", json!({ "command": "resume" }));
    ask("resume again", "default", json!({ "command": "resume" }));
    ask("scale by one", "default", json!({ "command": "scale", "change": 1 }));
    ask("scale beyond the maximum", "default", json!({ "command": "scale", "exactly": 9 }));
    ask("scale a channel of one worker", "mail", json!({ "command": "scale", "change": 1 }));
    ask("scale by nothing", "default", json!({ "command": "scale" }));
    ask("unknown request", "default", json!({ "command": "dance" }));
    ask("cancel a job that ends when asked", "default", json!({ "command": "cancel", "id": asleep }));
    ask("cancel a job that is not held", "default", json!({ "command": "cancel", "id": asleep }));
    let hanging = fixture.push("hang", r#"{"ms":600000}"#, &[]);
    fixture.until_workers(1, 3);
    ask("cancel a job that has to be killed", "default", json!({ "command": "cancel", "id": hanging }));
    fixture.push("hang", r#"{"ms":600000}"#, &[]);
    fixture.until_workers(1, 3);
    fixture.write("aint-queue.toml", "speed = 9\n");
    ask("reload of an invalid configuration", "default", json!({ "command": "reload" }));
    // A larger memory_limit takes effect with the next start only.
    fixture.write("aint-queue.toml", &config.replace("[defaults]", "[defaults]\nmemory_limit = 97"));
    ask("reload", "default", json!({ "command": "reload" }));
    fixture.until_workers(1, 3);
    ask("stop with force", "mail", json!({ "command": "stop", "force": true }));
    ask("stop", "default", json!({ "command": "stop" }));
    master.kill();
    found
}

/// Every command that asks a master, each with a master that gives the replies of a situation.
fn rendered(exchanges: &[Exchange]) -> Vec<Rendered> {
    let config = |pid_path| format!("[defaults]\npid_path = \"{pid_path}\"\n{SQLITE}{CHANNELS}");
    let fixture = Fixture::new(&config("run"));
    fixture.write("fake.toml", &config("fake"));
    // The commands that ask about a job find it reserved.
    let _master = fixture.listen(&[], 1);
    let id = fixture.push("hang", r#"{"ms":600000}"#, &[]).to_string();
    fixture.until_workers(1, 0);
    let lock = recorded_lock();
    let commands: &[(&str, &[&str])] = &[
        ("status of an idle channel", &["queue:status", "--workers"]),
        ("status with a running job", &["queue:status", "--workers"]),
        ("status of a quiet channel", &["queue:status"]),
        ("look at a channel", &["queue:why"]),
        ("look at a running job", &["queue:why", &id]),
        ("look at an unknown job", &["queue:why", &id]),
        ("metrics", &["queue:status", "--metrics"]),
        ("quiet", &["queue:quiet"]),
        ("quiet again", &["queue:quiet"]),
        ("resume", &["queue:resume"]),
        ("resume again", &["queue:resume"]),
        ("scale by one", &["queue:scale", "+1"]),
        ("scale beyond the maximum", &["queue:scale", "=9"]),
        ("scale a channel of one worker", &["queue:scale", "+1"]),
        ("cancel a job that ends when asked", &["queue:cancel", &id]),
        ("cancel a job that has to be killed", &["queue:cancel", &id]),
        ("cancel a job that is not held", &["queue:cancel", &id]),
        ("reload", &["queue:reload"]),
        ("reload of an invalid configuration", &["queue:reload"]),
        ("stop with force", &["queue:stop", "--force"]),
        ("stop", &["queue:stop"]),
    ];
    let render = |(situation, args): &(&str, &[&str])| {
        let exchange = exchanges.iter().find(|exchange| exchange.situation == *situation);
        let replies = &exchange.unwrap_or_else(|| panic!("nothing is recorded for \"{situation}\"")).replies;
        let as_json: &[&str] = if args.contains(&"--metrics") { &[] } else { &["--json"] };
        // Once for people, to see that nothing is refused that a program gets.
        let run = |more: &[&str]| -> (Finished, Option<Value>) {
            let master = FakeMaster::start(&fixture.path("fake"), &lock, replies);
            let finished = fixture.run_with("fake.toml", &[args, more].concat());
            (finished, master.request())
        };
        let (for_people, _) = run(&[]);
        let (finished, request) = run(as_json);
        assert_eq!(for_people.exit, finished.exit, "{situation}: {for_people:?}");
        assert!(!for_people.out.is_empty() || for_people.exit != 0, "{situation}: {for_people:?}");
        let request = request.unwrap_or_else(|| panic!("{situation}: nothing was asked, {finished:?}"));
        let command = args.join(" ").replace(&id, "ID");
        let mut output = finished.value();
        make_steady(&mut output);
        let mut request = request;
        make_steady(&mut request);
        Rendered { situation: (*situation).to_owned(), command, request, exit: finished.exit, output }
    };
    commands.iter().map(render).collect()
}

/// Replaces whatever does not come from the replies: ids, times, the process of the fake master, and sentences.
fn make_steady(value: &mut Value) {
    /// Ids are microseconds since 1970.
    const FIRST_ID: u64 = 1 << 50;
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|n| n >= FIRST_ID) => *value = "ID".into(),
        Value::Number(number) if number.as_u64() == Some(std::process::id().into()) => *value = "PID".into(),
        Value::String(text) if text.lines().count() == 1 && text.contains(' ') => *value = "SENTENCE".into(),
        Value::String(text) if text.lines().count() > 1 => *value = lines_of_metrics(text).into(),
        Value::Array(items) => items.iter_mut().for_each(make_steady),
        Value::Object(fields) => {
            // The masters in the store, of which the fake one is none.
            fields.remove("masters");
            fields.values_mut().for_each(make_steady);
        }
        _ => {}
    }
}

/// The series of a metrics text, without its help.
fn lines_of_metrics(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with("# HELP")).map(str::to_owned).collect()
}

/// The last reply: the number of progress lines before it depends on the speed of the machine.
fn last(replies: &[Value]) -> Value {
    json!(replies.last())
}

/// The keys of a progress line, which are those of the report in a status.
fn progress_keys(exchanges: &[Exchange]) -> BTreeSet<Vec<&String>> {
    let lines = exchanges.iter().flat_map(|exchange| &exchange.replies);
    lines.filter_map(|line| Some(line["progress"].as_object()?.keys().collect())).collect()
}

#[test]
fn replies_keep_their_fields() {
    let now = exchanges();
    let known = recorded("control", &now);
    let mut wrong = String::new();
    assert_eq!(known.len(), now.len());
    assert_eq!(progress_keys(&known), progress_keys(&now));
    for (known, now) in known.iter().zip(&now) {
        assert_eq!(known.situation, now.situation);
        let differences = shape::differences(&last(&known.replies), &last(&now.replies));
        if !differences.is_empty() {
            wrong.push_str(&format!("{}: {}\n{differences}", now.situation, now.request));
        }
    }
    assert!(wrong.is_empty(), "the replies differ from control.json:\n{wrong}");
}

#[test]
fn commands_render_recorded_replies() {
    let replies: Vec<Exchange> = load("control");
    let now = rendered(&replies);
    let known = recorded("rendered", &now);
    assert_eq!(known.len(), now.len());
    for (known, now) in known.iter().zip(&now) {
        assert_eq!(known, now);
    }
}
