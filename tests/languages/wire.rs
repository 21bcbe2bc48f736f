//! Every frame of the worker protocol, in every language.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::example::{NODE, NODE_TASKS, PHP, PYTHON, PYTHON_TASKS, copy_of, effects};
use crate::fixture::{Fixture, Master, text, until};

/// A fixture with the example of one channel.
struct ExampleFixture {
    fixture: Fixture,
    master: Master,
    channel: &'static str,
}

impl ExampleFixture {
    fn new((example, channel): (&str, &'static str)) -> Self {
        let fixture = copy_of(example);
        // Twice, because progress is logged at level debug.
        let master = fixture.listen(&["-t", channel, "-vv"]);
        Self { fixture, master, channel }
    }

    fn push(&self, job: &str, data: &str, more: &[&str]) -> u64 {
        self.fixture.push(job, data, &[&["-t", self.channel], more].concat())
    }

    /// Waits until the job has ended or is delayed for a retry, and returns it.
    fn show(&self, id: u64) -> Value {
        self.fixture.json(&["queue:show", &id.to_string(), "-t", self.channel])
    }

    fn failed(&self, id: u64) -> Value {
        until("the job to fail", || Some(self.show(id)).filter(|job| job["state"] == "failed"))
    }

    fn done(&self, jobs: u64) {
        let counts = self.fixture.until(self.channel, "the jobs to end", |c| c.done + c.failed >= jobs);
        assert_eq!(counts.done, jobs, "{}", self.master.log());
    }

    fn assert_logged(&self, job: u64, what: &str) {
        let job = format!("\"job\":{job}");
        until(what, || self.master.log().lines().any(|l| l.contains(what) && l.contains(&job)).then_some(()));
    }
}

fn sends_every_frame(which: (&'static str, &'static str)) {
    let served = ExampleFixture::new(which);
    let never = served.push("send_mail", r#"{"to":"nobody"}"#, &[]);
    let unknown = served.push("dance", "{}", &[]);
    let broken = served.push("send_mail", "{}", &["--max-attempts", "1"]);
    let (never, unknown, broken) = (served.failed(never), served.failed(unknown), served.failed(broken));
    assert_eq!((&never["reason"], &never["attempts"]), (&"final".into(), &1.into()), "{never}");
    assert_eq!(never["errors"][0]["message"], "not an address", "{never}");
    assert_eq!(unknown["reason"], "unknown_job", "{unknown}");
    assert!(unknown["errors"][0]["message"].as_str().unwrap().contains("dance"), "{unknown}");
    assert_eq!((&broken["reason"], &broken["attempts"]), (&"exhausted".into(), &1.into()), "{broken}");
    assert!(!broken["errors"][0]["message"].as_str().unwrap().is_empty(), "{broken}");
    served.fixture.ok(&["queue:clear", "--failed", "--yes", "-t", served.channel]);

    // The delay is that of the handler, not the one second of the channel's policy.
    let begun = Instant::now();
    let busy = served.push("call_partner", r#"{"busy_ms":20}"#, &[]);
    served.done(1);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    // Released repeatedly, regardless of its number of attempts.
    fs::write(served.fixture.file("partner.lock"), "").unwrap();
    let locked = served.push("call_partner", r#"{"busy_ms":0}"#, &["--max-attempts", "2"]);
    until("it to be handed back", || (served.show(locked)["state"] == "delayed").then_some(()));
    let metrics = || served.fixture.ok(&["queue:status", "--metrics", "-t", served.channel]);
    let released = |line: &str| {
        let value = line.strip_prefix("aint_queue_runs_total{")?.split_once("outcome=\"released\"} ")?.1;
        value.parse::<u64>().ok()
    };
    until("several releases", || metrics().lines().filter_map(released).sum::<u64>() >= 3);
    assert_eq!(served.show(locked)["attempts"], 0);
    fs::remove_file(served.fixture.file("partner.lock")).unwrap();
    served.done(2);

    let report = served.push("write_report", r#"{"pages":4}"#, &[]);
    served.done(3);
    served.assert_logged(report, "4 pages to write");
    served.assert_logged(report, "\"percent\":75");
    assert!(!served.master.log().contains("broke the protocol"), "{busy}: {}", served.master.log());
    assert!(served.master.stop().success());
}

fn obeys_cancel_and_stop(which: (&'static str, &'static str)) {
    let served = ExampleFixture::new(which);
    served.push("send_mail", r#"{"to":"a@example.com"}"#, &[]);
    served.done(1);
    let workers = served.master.workers();
    let long =
        served.push("write_report", r#"{"pages":10000}"#, &["--timeout", "300ms", "--max-attempts", "1"]);
    assert_eq!(served.failed(long)["reason"], "timeout");
    // The worker responded within the grace time, otherwise it would have been killed and replaced.
    served.push("send_mail", r#"{"to":"b@example.com"}"#, &[]);
    served.fixture.until(served.channel, "the next job", |c| c.done == 2);
    assert_eq!(served.master.workers(), workers);
    // A worker that ignores stop is killed after five seconds.
    let begun = Instant::now();
    assert!(served.master.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// Payloads that break workers with faulty line splitting or short reads.
fn reads_any_payload(which: (&'static str, &'static str)) {
    let served = ExampleFixture::new(which);
    // These characters are line breaks in Unicode but not in JSON.
    let breaks = "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f@example.com";
    let long = format!("{}@example.com", "ä".repeat(400_000));
    let lines = [breaks, &long].map(|to| format!(r#"{{"job":"send_mail","payload":{{"to":"{to}"}}}}"#));
    // Raw control characters are not allowed in JSON; these two have an escape.
    let lines = lines.map(|line| line.replace('\u{b}', "\\u000b").replace('\u{c}', "\\f"));
    served.fixture.push_lines(served.channel, lines);
    served.done(2);
    let sent = fs::read_to_string(served.fixture.file("outbox.txt")).unwrap();
    assert!(sent.contains(breaks) && sent.contains(&long));
    assert!(served.master.stop().success());
}

/// Changes one place in the copy of an example.
fn edited(example: &str, file: &str, from: &str, to: &str) -> Fixture {
    let fixture = copy_of(example);
    let text = fs::read_to_string(fixture.file(file)).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from} in {file}");
    fixture.write(file, &text.replace(from, to));
    fixture
}

/// An error text that is not valid UTF-8 arrives, with a replacement for what is unreadable.
fn sends_unreadable_errors((example, channel): (&str, &'static str)) {
    let (file, from, to, expected) = match (example, channel) {
        ("php", _) => ("worker.php", "'not an address'", r#""file \xff""#, "file \u{fffd}"),
        ("python", "mail") => ("worker.py", "\"not an address\"", r#""file \udcff""#, "file ?"),
        ("python", _) => ("worker_async.py", "\"not an address\"", r#""file \udcff""#, "file ?"),
        _ => ("worker.mjs", "'not an address'", r"'half \ud83d'", "half \u{fffd}"),
    };
    let fixture = edited(example, file, from, to);
    let master = fixture.listen(&["-t", channel]);
    let served = ExampleFixture { fixture, master, channel };
    let id = served.push("send_mail", r#"{"to":"nobody"}"#, &[]);
    assert_eq!(served.failed(id)["errors"][0]["message"], expected);
    assert!(served.master.stop().success());
}

#[test]
fn node_cuts_a_long_error_between_characters() {
    let fixture = edited(
        "node",
        "worker.mjs",
        "throw new Outcome('failed', { error: 'not an address', retry: false });",
        "throw new Error('😀'.repeat(4096));",
    );
    let master = fixture.listen(&["-t", "mail"]);
    let served = ExampleFixture { fixture, master, channel: "mail" };
    let id = served.push("send_mail", r#"{"to":"nobody"}"#, &["--max-attempts", "1"]);
    let failed = served.failed(id);
    assert!(failed["errors"][0]["message"].as_str().unwrap().starts_with("Error: 😀"), "{failed}");
    assert!(served.master.stop().success());
}

/// A worker whose language cannot read a frame says so and exits; it does not take this for the end of the master.
#[test]
fn php_names_a_frame_that_it_cannot_read() {
    let fixture = copy_of("php");
    let (mut master, socket) = UnixStream::pair().unwrap();
    let mut worker = Command::new("php");
    worker.arg("worker.php").current_dir(fixture.file(".")).stdin(OwnedFd::from(socket));
    worker.env("AINT_QUEUE_FD", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
    let worker = worker.spawn().unwrap();
    BufReader::new(&master).read_line(&mut String::new()).unwrap();
    master.write_all(b"{\"type\":\"run\",\"payload\":\"\\ud83d\"}\n").unwrap();
    let output = worker.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).starts_with("unreadable frame ("), "{output:?}");
    // The master itself sends no such payload: half a character is replaced when it is pushed.
    let served = ExampleFixture::new(PHP);
    served.push("send_mail", r#"{"to":"ann@example.com\ud83d"}"#, &["--max-attempts", "1"]);
    served.fixture.until(served.channel, "the mail", |counts| counts.done == 1);
    assert!(served.master.stop().success());
}

/// A master may be killed while it writes a frame: half a frame is its end, and no unreadable frame.
#[test]
fn half_a_frame_counts_as_the_end_of_the_master() {
    let workers: [(&str, &[&str]); 4] = [
        ("php", &["php", "worker.php"]),
        ("python", &["python3", "worker.py"]),
        ("python", &["python3", "worker_async.py"]),
        ("node", &["node", "worker.mjs"]),
    ];
    for (example, command) in workers {
        let fixture = copy_of(example);
        let (mut master, socket) = UnixStream::pair().unwrap();
        let mut worker = Command::new(command[0]);
        worker.args(&command[1..]).current_dir(fixture.file(".")).stdin(OwnedFd::from(socket));
        worker.env("AINT_QUEUE_FD", "0").env("AINT_QUEUE_SLOTS", "1");
        let worker = worker.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        BufReader::new(&master).read_line(&mut String::new()).unwrap();
        master.write_all(br#"{"type":"run","#).unwrap();
        drop(master);
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{command:?}");
    }
}

/// Longer than the socket timeout that the test sets.
const IDLE: Duration = Duration::from_millis(2500);

/// PHP stops reading from a socket after `default_socket_timeout`, by default one minute.
#[test]
fn idle_php_worker_waits_indefinitely() {
    let fixture = copy_of("php");
    let config = fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    let short =
        config.replace(r#""php", "worker.php""#, r#""php", "-d", "default_socket_timeout=1", "worker.php""#);
    assert_ne!(config, short);
    fixture.write("aint-queue.toml", &short);
    let master = fixture.listen(&["-t", "mail"]);
    let workers = until("the workers", || Some(master.workers()).filter(|workers| workers.len() == 3));
    std::thread::sleep(IDLE);
    fixture.ok(&["queue:push", "send_mail", "--data", r#"{"to":"a@example.com"}"#, "-t", "mail"]);
    fixture.until("mail", "it to be done", |c| c.done == 1);
    assert_eq!(master.workers(), workers);
    assert_eq!(effects(&fixture, "outbox.txt").len(), 1);
    assert!(master.stop().success());
}

macro_rules! in_every_language {
    ($($test:ident: $case:ident($which:ident);)*) => {
        $(#[test]
        fn $test() {
            $case($which);
        })*
    };
}

in_every_language! {
    php_says_everything: sends_every_frame(PHP);
    python_says_everything: sends_every_frame(PYTHON);
    python_with_tasks_says_everything: sends_every_frame(PYTHON_TASKS);
    node_says_everything: sends_every_frame(NODE);
    node_with_many_at_once_says_everything: sends_every_frame(NODE_TASKS);
    php_hears_cancel_and_stop: obeys_cancel_and_stop(PHP);
    python_hears_cancel_and_stop: obeys_cancel_and_stop(PYTHON);
    python_with_tasks_hears_cancel_and_stop: obeys_cancel_and_stop(PYTHON_TASKS);
    node_hears_cancel_and_stop: obeys_cancel_and_stop(NODE);
    node_with_many_at_once_hears_cancel_and_stop: obeys_cancel_and_stop(NODE_TASKS);
    php_reads_any_payload: reads_any_payload(PHP);
    python_reads_any_payload: reads_any_payload(PYTHON);
    python_with_tasks_reads_any_payload: reads_any_payload(PYTHON_TASKS);
    node_reads_any_payload: reads_any_payload(NODE);
    node_with_many_at_once_reads_any_payload: reads_any_payload(NODE_TASKS);
    php_sends_unreadable_errors: sends_unreadable_errors(PHP);
    python_sends_unreadable_errors: sends_unreadable_errors(PYTHON);
    python_with_tasks_sends_unreadable_errors: sends_unreadable_errors(PYTHON_TASKS);
    node_sends_unreadable_errors: sends_unreadable_errors(NODE);
}
