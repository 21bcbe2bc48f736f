//! `--json` of every command, with and without a master.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fixture::{Fixture, recorded, until};
use crate::shape;

const CHANNELS: &str = r#"
max_attempts = 1
stop_wait_seconds = 2
[channels.default.worker]
type = "process-pool"
dynamic_mode = false
min_worker_number = 1
max_worker_number = 4
max_execute_seconds = 0
[channels.mail.worker]
type = "coroutine"
[channels.broken.worker]
type = "process-pool"
dynamic_mode = false
min_worker_number = 1
command = ["sh", "-c", "exit 3"]
[channels.inline]
driver = { type = "sync" }
"#;

/// A command with its answer.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    command: String,
    exit: i32,
    output: Value,
}

/// The answers of one test, by the situation they were given in.
struct Script<'a> {
    fixture: &'a Fixture,
    answers: BTreeMap<String, Answer>,
}

impl<'a> Script<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        Self { fixture, answers: BTreeMap::new() }
    }

    /// Runs a command and keeps its answer.
    fn ask(&mut self, situation: &str, args: &[&str]) -> Value {
        let finished = self.fixture.run(&[args, &["--json"]].concat());
        let output = finished.value();
        assert!(!output.is_string() || finished.exit != 0, "{situation}: {finished:?}");
        let answer = Answer { command: args.join(" "), exit: finished.exit, output: output.clone() };
        let before = self.answers.insert(situation.to_owned(), answer);
        assert!(before.is_none(), "the situation \"{situation}\" occurs twice");
        output
    }

    fn id(&mut self, situation: &str, args: &[&str]) -> String {
        self.ask(situation, args)["id"].to_string()
    }
}

/// Compares each answer with the recorded one.
fn compare(name: &str, now: &BTreeMap<String, Answer>) {
    let mut wrong = String::new();
    let known = recorded(name, now);
    assert_eq!(known.keys().collect::<Vec<_>>(), now.keys().collect::<Vec<_>>());
    for (situation, known) in &known {
        let now = &now[situation];
        let differences = shape::differences(&known.output, &now.output);
        if !differences.is_empty() {
            wrong.push_str(&format!("{situation}: {}\n{differences}", now.command));
        }
        if known.exit != now.exit {
            wrong.push_str(&format!(
                "{situation}: {}\n  exit code {} was {}\n",
                now.command, now.exit, known.exit
            ));
        }
    }
    assert!(wrong.is_empty(), "the output differs from {name}.json:\n{wrong}");
}

fn without_master() -> BTreeMap<String, Answer> {
    let fixture = Fixture::with_channels(CHANNELS);
    let mut script = Script::new(&fixture);
    script.ask("list", &["list"]);
    script.ask("status of an empty channel", &["queue:status"]);
    script.ask("status of all channels", &["queue:status", "--all"]);
    script.ask("why nothing runs in an idle channel", &["queue:why"]);

    let first = script.id("push", &["queue:push", "noop", "--data", "{}"]);
    let full: &[&str] = &[
        "queue:push",
        "mail",
        "--data",
        r#"{"to":"ann"}"#,
        "--delay",
        "1h",
        "--unique",
        "ann",
        "--unique-until",
        "start",
        "--max-attempts",
        "5",
        "--timeout",
        "2",
        "--priority",
        "high",
        "--expires",
        "1d",
        "--header",
        "tenant=a",
    ];
    let delayed = script.id("push with every option", full);
    script.ask("push of a held unique key", full);
    fixture.write(
        "jobs.jsonl",
        "{\"job\":\"noop\",\"payload\":{}}\n{\"job\":\"noop\",\"payload\":{},\"unique\":\"ann\"}\n",
    );
    script.ask("push of a file", &["queue:push", "--file", "jobs.jsonl"]);
    fixture.write("bad.jsonl", "{\"job\":\"noop\",\"payload\":{}}\n{\"job\":17}\n");
    script.ask("push of a file with a bad line", &["queue:push", "--file", "bad.jsonl"]);
    script.ask("push that runs the job", &["queue:push", "noop", "--data", "{}", "-t", "inline"]);

    script.ask("status of a channel with jobs", &["queue:status"]);
    script.ask("show a waiting job", &["queue:show", &first]);
    script.ask("show a delayed job", &["queue:show", &delayed]);
    script.ask("show an unknown job", &["queue:show", "17"]);
    script.ask("why a job waits without a master", &["queue:why", &first]);
    script.ask("why a job is delayed", &["queue:why", &delayed]);
    script.ask("why an unknown job waits", &["queue:why", "17"]);
    script.ask("why a channel waits without a master", &["queue:why"]);
    script.ask("why a unique key is held", &["queue:why", "--unique", "ann"]);
    script.ask("why a unique key is free", &["queue:why", "--unique", "bob"]);

    script.ask("pause", &["queue:pause"]);
    script.ask("status of a paused channel", &["queue:status"]);
    script.ask("pause for a time", &["queue:pause", "--for", "1h"]);
    script.ask("status of a channel paused for a time", &["queue:status"]);
    script.ask("why a job waits in a paused channel", &["queue:why", &first]);
    script.ask("resume", &["queue:resume"]);

    script.ask("cancel a waiting job", &["queue:cancel", &first]);
    script.ask("cancel a delayed job", &["queue:cancel", &delayed]);
    script.ask("cancel a cancelled job", &["queue:cancel", &first]);
    script.ask("cancel an unknown job", &["queue:cancel", "17"]);

    script.ask("run a job", &["queue:run"]);
    let failing = fixture.push("fail", r#"{"message":"no route to host"}"#, &[]).to_string();
    script.ask("run a job that fails", &["queue:run", "--id", &failing]);
    script.ask("run an unknown job", &["queue:run", "--id", "17"]);
    script.ask("run a job of an empty channel", &["queue:run", "-t", "mail"]);
    script.ask("show a failed job", &["queue:show", &failing]);
    script.ask("why a failed job does not run", &["queue:why", &failing]);
    script.ask("failed jobs", &["queue:failed"]);
    script.ask("failed jobs, one page of several", &["queue:failed", "--limit", "1"]);
    script.ask("failed jobs of an empty channel", &["queue:failed", "-t", "mail"]);
    script.ask("reload a failed job", &["queue:reload-failed", "--id", &failing]);
    script.ask("reload a job that has not failed", &["queue:reload-failed", "--id", &failing]);
    script.ask("reload all failed jobs", &["queue:reload-failed", "all"]);

    script.ask("clear", &["queue:clear", "-y"]);
    script.ask("clear all", &["queue:clear", "-y", "--all", "--reserved"]);
    for verb in ["queue:stop", "queue:quiet", "queue:reload"] {
        script.ask(&format!("{verb} without a master"), &[verb]);
        script.ask(&format!("{verb} --all without a master"), &[verb, "--all"]);
    }
    script.ask("scale without a master", &["queue:scale", "+1"]);
    script.answers
}

fn with_master() -> BTreeMap<String, Answer> {
    let fixture = Fixture::with_channels(CHANNELS);
    let _master = fixture.listen(&["--all"], 1);
    let mut script = Script::new(&fixture);
    script.ask("status", &["queue:status"]);
    script.ask("status with workers", &["queue:status", "--workers"]);
    script.ask("why an idle channel waits", &["queue:why"]);

    let hanging = fixture.push("hang", r#"{"ms":600000}"#, &[]).to_string();
    fixture.until_workers(1, 0);
    let waiting = fixture.push("noop", "{}", &[]).to_string();
    script.ask("status with a running job", &["queue:status", "--workers"]);
    script.ask("show a running job", &["queue:show", &hanging]);
    script.ask("why a running job has not ended", &["queue:why", &hanging]);
    // A job that is leased ahead is not waiting any more, so the answer depends on when it is asked for.
    until("the next job to be leased or to wait for a slot", || {
        let why = fixture.json(&["queue:why", &waiting]);
        (why["reason"] == "no_slot" || why["reason"] == "leased").then_some(())
    });
    script.ask("why a job waits for a slot", &["queue:why", &waiting]);
    script.ask("why a busy channel waits", &["queue:why"]);

    script.ask("quiet", &["queue:quiet"]);
    script.ask("quiet again", &["queue:quiet"]);
    script.ask("status of a quiet channel", &["queue:status"]);
    script.ask("why a job waits for a quiet master", &["queue:why", &waiting]);
    script.ask("resume a quiet master", &["queue:resume"]);
    script.ask("resume again", &["queue:resume"]);

    script.ask("scale", &["queue:scale", "+1"]);
    fixture.until_status("the waiting job to be done", |status| status["done"] == 1);
    fixture.until_workers(1, 1);
    script.ask("status after scaling", &["queue:status", "--workers"]);
    script.ask("scale beyond the maximum", &["queue:scale", "=9"]);
    script.ask("scale a channel of one worker", &["queue:scale", "+1", "-t", "mail"]);

    let asleep = fixture.push("sleep", r#"{"ms":600000}"#, &[]).to_string();
    fixture.until_workers(2, 2);
    script.ask("cancel a job that ends when asked", &["queue:cancel", &asleep]);
    script.ask("cancel a job that has to be killed", &["queue:cancel", &hanging]);
    script.ask("show a cancelled job", &["queue:show", &asleep]);

    fixture.push("hang", r#"{"ms":600000}"#, &[]);
    fixture.until_workers(1, 3);
    script.ask("reload", &["queue:reload"]);
    fixture.until_status("the job to run again", |status| status["workers"]["counts"]["busy"] == 1);
    script.ask("status after a reload", &["queue:status"]);
    until("the crash loop to be noticed", || {
        (fixture.json(&["queue:status", "-t", "broken"])["degraded"] == true).then_some(())
    });
    script.ask("status of a degraded channel", &["queue:status", "--workers", "-t", "broken"]);
    let stuck = fixture.push("noop", "{}", &["-t", "broken"]).to_string();
    script.ask("why a job of a degraded channel waits", &["queue:why", &stuck, "-t", "broken"]);
    script.ask("status of all channels", &["queue:status", "--all"]);

    script.ask("stop with a job that does not end", &["queue:stop"]);
    script.ask("stop of all channels", &["queue:stop", "--all", "--force"]);
    script.answers
}

const EVERY_KEY: &str = include_str!("every_key.toml");

fn configuration() -> BTreeMap<String, Answer> {
    let fixture = Fixture::new(EVERY_KEY);
    let mut script = Script::new(&fixture);
    script.ask("configuration with every key", &["config:check"]);
    fixture.write("aint-queue.toml", "[channels.default.worker]\nspeed = 9\n");
    script.ask("configuration with a mistake", &["config:check"]);
    script.answers
}

#[test]
fn commands_without_a_master_print_the_recorded_fields() {
    compare("commands_without_master", &without_master());
}

#[test]
fn commands_with_a_master_print_the_recorded_fields() {
    compare("commands_with_master", &with_master());
}

#[test]
fn effective_configuration_keeps_its_fields() {
    compare("configuration", &configuration());
}
