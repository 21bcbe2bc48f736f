//! The status of workers, sampled over the control socket of their master.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixture::Fixture;

/// The time between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// A status of the channel, with its time.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: Instant,
    pub report: Value,
}

impl Sample {
    /// The number of workers in a state.
    pub fn count(&self, state: &str) -> u64 {
        self.report["workers"][state].as_u64().unwrap_or_else(|| panic!("no {state} in {}", self.report))
    }

    /// The number of workers that serve.
    pub fn serving(&self) -> u64 {
        self.count("idle") + self.count("busy")
    }

    /// The number of all workers.
    pub fn all(&self) -> u64 {
        let beside = ["booting", "draining", "retiring", "leaving"];
        self.serving() + beside.iter().map(|state| self.count(state)).sum::<u64>()
    }

    pub fn degraded(&self) -> bool {
        self.report["pool"]["degraded"].as_bool().unwrap()
    }

    pub fn rows(&self) -> &[Value] {
        self.report["pool"]["rows"].as_array().unwrap()
    }
}

/// Samples the workers until it is stopped.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    pub fn start(fixture: &Fixture) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (socket, told) = (fixture.file("run/default.sock"), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let due = Instant::now() + SAMPLE_INTERVAL;
                samples.push(take_sample(&socket));
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            samples
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A sample of the default channel.
pub fn sample(fixture: &Fixture) -> Sample {
    take_sample(&fixture.file("run/default.sock"))
}

fn take_sample(socket: &Path) -> Sample {
    let mut answer = ask(socket, "status");
    let report = answer["ok"]["status"]["report"].take();
    assert!(report.is_object(), "not a report: {answer}");
    Sample { at: Instant::now(), report }
}

/// Reloads the default channel; returns the response of the finished reload.
pub fn reload(fixture: &Fixture) -> Value {
    let mut answer = ask(&fixture.file("run/default.sock"), "reload");
    let told = answer["ok"]["reloaded"].take();
    assert!(told.is_object(), "not reloaded: {answer}");
    told
}

/// The final response to a request without parameters.
fn ask(socket: &Path, command: &str) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    writeln!(stream, "{{\"command\":\"{command}\"}}").unwrap();
    let answers = BufReader::new(stream).lines();
    let mut answers = answers.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    answers.find(|answer| answer.get("progress").is_none()).expect("an answer")
}

/// The value of a metric of the default channel.
pub fn metric(fixture: &Fixture, name: &str, label: &str) -> u64 {
    let metrics = fixture.ok(&["queue:status", "--metrics"]);
    let begin = format!("{name}{{channel=\"default\"{label}");
    let rest = metrics.lines().filter_map(|line| line.strip_prefix(&begin));
    let series: Vec<_> = rest.filter(|rest| rest.starts_with([',', '}'])).collect();
    assert!(!series.is_empty(), "no {begin} in:\n{metrics}");
    series.iter().map(|rest| rest.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// The number of runs with this outcome.
pub fn runs(fixture: &Fixture, outcome: &str) -> u64 {
    metric(fixture, "aint_queue_runs_total", &format!(",outcome=\"{outcome}\""))
}
