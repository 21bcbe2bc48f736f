//! Reloads: a new generation of workers takes over, or the channel keeps its workers.

mod faults;
mod jobs;
mod keys;
mod modes;
mod program;
mod refusals;
mod rollout;
mod signals;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fixture::{BINARY, Fixture, SQLITE, WAIT_DEADLINE, text, until};

/// Two workers, without scaling.
const TWO_WORKERS: &str = "type = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 2\n";

/// A fixture whose channel has these worker settings.
fn fixture(worker: &str) -> Fixture {
    Fixture::sqlite(&format!("[channels.default.worker]\n{worker}\n"))
}

/// Replaces the configuration.
fn configure(fixture: &Fixture, channels: &str) {
    fixture.write(
        "aint-queue.toml",
        &format!("[defaults]\npid_path = \"run\"\ndriver = {SQLITE}\n{channels}\n"),
    );
}

/// Writes a worker program: these shell lines, then a worker of the built-in jobs.
fn program(fixture: &Fixture, name: &str, before: &str) {
    fixture.write(name, &format!("#!/bin/sh\n{before}\nexec '{BINARY}' __worker --demo-jobs\n"));
}

/// A slow request to the control socket of a channel.
struct PendingRequest(BufReader<UnixStream>);

impl PendingRequest {
    fn reload(fixture: &Fixture, channel: &str) -> Self {
        Self::of(fixture, channel, "reload")
    }

    fn of(fixture: &Fixture, channel: &str, command: &str) -> Self {
        let mut stream = UnixStream::connect(fixture.file(&format!("run/{channel}.sock"))).unwrap();
        stream.set_read_timeout(Some(WAIT_DEADLINE)).unwrap();
        writeln!(stream, "{{\"command\":\"{command}\"}}").unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line of the answer.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("not a line of an answer: {line:?}: {e}"))
    }

    /// Waits for the first progress line.
    fn begun(mut self) -> Self {
        let line = self.line();
        assert!(line["progress"].is_object(), "{line}");
        self
    }

    /// The final line, without progress lines.
    fn end(mut self) -> Value {
        loop {
            let line = self.line();
            if line.get("progress").is_none() {
                return line;
            }
        }
    }

    /// The reason of a failed reload, and whether the configuration is invalid.
    fn refused(self) -> (String, bool) {
        let line = self.end();
        if let Some(why) = line["error"].as_str() {
            return (why.to_owned(), false);
        }
        let refused = &line["ok"]["not_reloaded"];
        let why = refused["why"].as_str().unwrap_or_else(|| panic!("it was reloaded: {line}"));
        (why.to_owned(), refused["invalid"].as_bool().unwrap())
    }
}

/// The status of a channel from its master.
fn report(fixture: &Fixture, channel: &str) -> Value {
    PendingRequest::of(fixture, channel, "status").end()["ok"]["status"]["report"].take()
}

/// The generation of each serving worker.
fn serving(fixture: &Fixture, channel: &str) -> BTreeMap<i32, u64> {
    let report = report(fixture, channel);
    let rows = report["pool"]["rows"].as_array().unwrap();
    // A worker may say hello before the guardian reports its pid.
    let serves = |row: &&Value| (row["state"] == "idle" || row["state"] == "busy") && row["pid"].is_i64();
    rows.iter().filter(serves).map(|row| (pid(&row["pid"]), row["generation"].as_u64().unwrap())).collect()
}

/// Waits until this many workers serve.
fn served_by(fixture: &Fixture, channel: &str, workers: usize) -> BTreeMap<i32, u64> {
    until("the workers", || Some(serving(fixture, channel)).filter(|all| all.len() == workers))
}

/// The workers in one state.
fn in_state(fixture: &Fixture, channel: &str, state: &str) -> Vec<i32> {
    let report = report(fixture, channel);
    let rows = report["pool"]["rows"].as_array().unwrap();
    rows.iter()
        .filter(|row| row["state"] == state && row["pid"].is_i64())
        .map(|row| pid(&row["pid"]))
        .collect()
}

fn pid(value: &Value) -> i32 {
    i32::try_from(value.as_i64().unwrap_or_else(|| panic!("not a pid: {value}"))).unwrap()
}

/// Reloads the default channel by the command.
fn reload(fixture: &Fixture) -> Value {
    fixture.json(&["queue:reload"])[0].take()
}

/// A failing reload by the command: exit code and message.
fn refused(fixture: &Fixture) -> (i32, String) {
    let output = fixture.run(&["queue:reload"]);
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    (output.status.code().unwrap(), text(&output.stderr))
}

/// Waits for the end of a command that was started.
fn wait(mut command: Child) -> i32 {
    until("the command to end", || command.try_wait().unwrap()).code().unwrap()
}

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// The lines of a file; none when there is no such file.
fn lines(fixture: &Fixture, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(fixture.file(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
