//! Metrics by name of the job: up to a limit of names, then all others together.

use std::collections::HashMap;
use std::time::Duration;

use prometheus::{Counter, CounterVec, IntCounter, IntCounterVec};

use super::words::{JOB_OUTCOMES, index_of};

/// Most names of jobs with metrics of their own, per channel.
const MAX_NAMES: usize = 100;
/// The label of all jobs beyond [`MAX_NAMES`].
const OTHERS: &str = "other";

/// The metrics of the jobs of one channel.
#[derive(Debug)]
pub(super) struct JobNameMetrics {
    channel: String,
    runs: IntCounterVec,
    seconds: CounterVec,
    by_name: HashMap<String, OneName>,
}

#[derive(Debug)]
struct OneName {
    runs: [IntCounter; JOB_OUTCOMES.len()],
    seconds: Counter,
}

impl JobNameMetrics {
    pub(super) fn new(channel: &str, runs: &IntCounterVec, seconds: &CounterVec) -> Self {
        Self {
            channel: channel.to_owned(),
            runs: runs.clone(),
            seconds: seconds.clone(),
            by_name: HashMap::new(),
        }
    }

    /// Counts an ended run of a job.
    pub(super) fn run_ended(&mut self, job: &str, outcome: &str, took: Duration) {
        let outcome = match outcome {
            "done" | "failed" | "crashed" | "timed_out" => outcome,
            _ => "other",
        };
        let metrics = self.of(job);
        metrics.runs[index_of(&JOB_OUTCOMES, outcome)].inc();
        metrics.seconds.inc_by(took.as_secs_f64());
    }

    fn of(&mut self, job: &str) -> &OneName {
        let is_new = !self.by_name.contains_key(job);
        let name = if is_new && self.by_name.len() >= MAX_NAMES { OTHERS } else { job };
        let Self { channel, runs, seconds, by_name } = self;
        by_name.entry(name.to_owned()).or_insert_with(|| OneName {
            runs: JOB_OUTCOMES.map(|outcome| runs.with_label_values(&[channel.as_str(), name, outcome])),
            seconds: seconds.with_label_values(&[channel.as_str(), name]),
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;
    use prometheus::core::Collector;

    use super::*;

    #[test]
    fn names_beyond_the_limit_share_one_label() {
        let runs = IntCounterVec::new(Opts::new("runs", "x"), &["channel", "job", "outcome"]).unwrap();
        let seconds = CounterVec::new(Opts::new("seconds", "x"), &["channel", "job"]).unwrap();
        let mut metrics = JobNameMetrics::new("mail", &runs, &seconds);
        for n in 0..MAX_NAMES + 50 {
            metrics.run_ended(&format!("job{n}"), "released", Duration::from_secs(1));
            metrics.run_ended("job0", "done", Duration::ZERO);
        }
        assert_eq!(runs.collect()[0].get_metric().len(), (MAX_NAMES + 1) * JOB_OUTCOMES.len());
        assert_eq!(runs.with_label_values(&["mail", OTHERS, "other"]).get(), 50);
        assert_eq!(runs.with_label_values(&["mail", "job0", "done"]).get(), 150);
        assert_eq!(seconds.with_label_values(&["mail", OTHERS]).get(), 50.0);
    }
}
