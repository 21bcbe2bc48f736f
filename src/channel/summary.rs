//! The summary of a master: what it tells the masters and commands of other machines about itself, through the store.
//!
//! For display and alerts only: no master acts on jobs because of a summary or its absence.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::status::ChannelStatus;
use crate::job::{JobId, Timestamp};
use crate::metrics::RunTotals;
use crate::pool::RunningJob;
use crate::store::{MAX_SUMMARY_BYTES, Summary};

/// Shortest time between two publications.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(5);
/// Form of the summary. A program shows a summary of a higher version as unknown.
const VERSION: u32 = 1;
/// Most jobs that a summary names.
const MAX_SUMMARY_JOBS: usize = 20;

/// The process of a master, as it is named to other machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterIdentity {
    /// The name of its host.
    pub host: String,
    /// The boot of its machine: tells two machines with the same name apart, and one machine from its containers' names.
    pub boot: String,
    /// The process id, as its own machine or container numbers it.
    pub pid: i32,
    /// The version of the program.
    pub program: String,
    /// The start of the program, by the clock of its machine.
    pub started_at: Timestamp,
}

/// The state of a master in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterCondition {
    /// The master takes jobs.
    Running,
    /// `queue:quiet` is in effect.
    Quiet,
    /// Workers fail to start, so the master takes no jobs.
    Degraded,
    /// The master stops.
    Stopping,
}

/// The summary of a master in one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterSummary {
    version: u32,
    /// The process.
    #[serde(flatten)]
    pub master: MasterIdentity,
    /// The mode of its workers, `worker.type`.
    pub mode: String,
    /// Whether it runs one job and ends, as `queue:run` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_job: bool,
    /// The state.
    pub state: MasterCondition,
    /// The workers.
    pub workers: WorkerSummary,
    /// Resident bytes of its workers together.
    pub memory: u64,
    /// The runs that ended.
    pub runs: RunRates,
    /// Number of jobs in its workers.
    pub running: usize,
    /// The longest running jobs, longest first.
    pub jobs: Vec<SummaryJob>,
}

/// The number of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSummary {
    /// Workers that there should be.
    pub wanted: usize,
    /// Workers that take jobs.
    pub serving: usize,
    /// Workers that run jobs.
    pub busy: usize,
}

/// The runs of a master that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRates {
    /// All since the start of the program.
    #[serde(flatten)]
    pub totals: RunTotals,
    /// Ended runs per second since the summary before; absent in the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Runs per second that failed, timed out, crashed or were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_per_second: Option<f64>,
}

/// A running job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryJob {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub job: String,
    /// Which attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The time of the dispatch, by the store's clock.
    pub since: Timestamp,
    /// The process id of its worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<i32>,
}

impl MasterSummary {
    /// The summary in a published text. `None` for a newer form, and for a text that is none: unknown, never an error.
    #[must_use]
    pub fn read(published: &Summary) -> Option<Self> {
        serde_json::from_str(published.as_str()).ok().filter(|summary: &Self| summary.version <= VERSION)
    }

    /// The text to publish: without the shortest runs, if it would be too large with them.
    fn text(mut self) -> Option<Summary> {
        loop {
            let text = serde_json::to_string(&self).ok()?;
            if text.len() <= MAX_SUMMARY_BYTES {
                return Summary::new(text);
            }
            self.jobs.pop()?;
        }
    }
}

/// The state of a channel that a summary tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct SummaryInputs<'a> {
    /// The mode of the workers.
    pub(super) mode: &'static str,
    pub(super) single_job: bool,
    pub(super) status: &'a ChannelStatus,
    /// The running jobs, longest first.
    pub(super) running: &'a [RunningJob],
    /// The runs that ended.
    pub(super) totals: RunTotals,
    /// The store's clock.
    pub(super) store_time: Timestamp,
}

/// The publication of summaries: who publishes, and when the next one is due.
#[derive(Debug)]
pub(super) struct Publication {
    master: MasterIdentity,
    /// The last publication of this owner.
    published_at: Option<Instant>,
    /// The ended runs at the last publication.
    last: Option<(Instant, RunTotals)>,
}

impl Publication {
    pub(super) fn new(master: MasterIdentity) -> Self {
        Self { master, published_at: None, last: None }
    }

    /// Starts over for a new owner, whose summary the store does not have.
    pub(super) fn reset(&mut self) {
        self.published_at = None;
    }

    /// Whether the next turn should publish. No turn is made for it.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.published_at.is_none_or(|at| now >= at + PUBLISH_INTERVAL)
    }

    /// The summary to publish with the turn that starts now.
    pub(super) fn publish(&mut self, inputs: &SummaryInputs<'_>, now: Instant) -> Option<Summary> {
        let totals = inputs.totals;
        let before = self.last.replace((now, totals)).filter(|(at, _)| now > *at);
        let rate = |of: fn(&RunTotals) -> u64| {
            before.map(|(at, before)| {
                of(&totals).saturating_sub(of(&before)) as f64 / now.duration_since(at).as_secs_f64()
            })
        };
        self.published_at = Some(now);
        let SummaryInputs { mode, single_job, status, running, store_time, .. } = *inputs;
        let job = |running: &RunningJob| SummaryJob {
            id: running.id,
            job: running.job.clone(),
            attempt: running.run.attempt,
            since: Timestamp(store_time.0.saturating_sub(running.run.ms.saturating_mul(1000))),
            worker: running.run.pid,
        };
        let summary = MasterSummary {
            version: VERSION,
            master: self.master.clone(),
            mode: mode.to_owned(),
            single_job,
            state: condition(status),
            workers: WorkerSummary {
                wanted: status.wanted_workers(),
                serving: status.serving_workers(),
                busy: status.workers.busy,
            },
            memory: status.workers_memory(),
            runs: RunRates {
                totals,
                per_second: rate(|totals| totals.ended),
                failed_per_second: rate(|totals| totals.failed),
            },
            running: status.running,
            jobs: running.iter().take(MAX_SUMMARY_JOBS).map(job).collect(),
        };
        summary.text()
    }
}

/// The state that limits the channel most.
fn condition(status: &ChannelStatus) -> MasterCondition {
    if status.stopping {
        MasterCondition::Stopping
    } else if status.pool.degraded {
        MasterCondition::Degraded
    } else if status.quiet {
        MasterCondition::Quiet
    } else {
        MasterCondition::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::RunStatus;

    fn identity() -> MasterIdentity {
        MasterIdentity {
            host: "web-1".to_owned(),
            boot: "b".repeat(36),
            pid: 42,
            program: "0.1.0".to_owned(),
            started_at: Timestamp(1_790_000_000_000_000),
        }
    }

    fn running(n: u64, name: &str) -> RunningJob {
        let run = RunStatus {
            pid: Some(4_194_304),
            booting: false,
            ms: 60_000 - n,
            limit_ms: None,
            progress: None,
            ending: None,
            stuck: false,
            attempt: Some(2),
        };
        RunningJob { id: JobId(1_790_000_000_000_000 + n), job: name.to_owned(), memory: None, run }
    }

    fn inputs<'a>(status: &'a ChannelStatus, running: &'a [RunningJob]) -> SummaryInputs<'a> {
        SummaryInputs {
            mode: "process-pool",
            single_job: false,
            status,
            running,
            totals: RunTotals { ended: 30, failed: 3 },
            store_time: Timestamp(1_790_000_100_000_000),
        }
    }

    #[test]
    fn summary_names_the_twenty_longest_running_jobs() {
        let all: Vec<_> = (0..30).map(|n| running(n, "mail")).collect();
        let status = ChannelStatus { running: 30, ..ChannelStatus::default() };
        let text = Publication::new(identity()).publish(&inputs(&status, &all), Instant::now()).unwrap();
        let read = MasterSummary::read(&text).unwrap();
        assert_eq!((read.master, read.running, read.jobs.len()), (identity(), 30, 20));
        assert_eq!(read.jobs[0].since, Timestamp(1_790_000_040_000_000));
        assert_eq!((read.jobs[0].attempt, read.jobs[0].worker), (Some(2), Some(4_194_304)));
        assert_eq!(read.state, MasterCondition::Running);
    }

    #[test]
    fn summary_with_long_names_is_cut_to_fit() {
        let all: Vec<_> = (0..20).map(|n| running(n, &"\u{1}".repeat(128))).collect();
        let status = ChannelStatus::default();
        let text = Publication::new(identity()).publish(&inputs(&status, &all), Instant::now()).unwrap();
        assert!(text.as_str().len() <= MAX_SUMMARY_BYTES);
        let read = MasterSummary::read(&text).unwrap();
        assert!((5..20).contains(&read.jobs.len()), "{}", read.jobs.len());
        assert_eq!(read.jobs[0].id, all[0].id, "the longest runs stay");
    }

    #[test]
    fn summary_of_a_newer_version_is_unknown() {
        let status = ChannelStatus::default();
        let text = Publication::new(identity()).publish(&inputs(&status, &[]), Instant::now()).unwrap();
        let newer = text.as_str().replacen("\"version\":1", "\"version\":2", 1);
        assert!(MasterSummary::read(&text).is_some());
        for other in [newer.as_str(), "", "{}", "[1]", "{\"version\":1}"] {
            assert_eq!(MasterSummary::read(&Summary::new(other).unwrap()), None, "{other}");
        }
        let more = text.as_str().replacen('{', "{\"added_later\":[1],", 1);
        assert!(MasterSummary::read(&Summary::new(more).unwrap()).is_some(), "fields may be added");
    }

    #[test]
    fn publication_is_due_every_five_seconds() {
        let (now, status) = (Instant::now(), ChannelStatus::default());
        let mut publication = Publication::new(identity());
        assert!(publication.is_due(now));
        let read = |text: Option<Summary>| MasterSummary::read(&text.unwrap()).unwrap().runs;
        assert_eq!(read(publication.publish(&inputs(&status, &[]), now)).per_second, None);
        assert!(!publication.is_due(now + PUBLISH_INTERVAL - Duration::from_millis(1)));
        let later = now + 2 * PUBLISH_INTERVAL;
        assert!(publication.is_due(later));
        let more = SummaryInputs { totals: RunTotals { ended: 50, failed: 4 }, ..inputs(&status, &[]) };
        let runs = read(publication.publish(&more, later));
        assert_eq!((runs.per_second, runs.failed_per_second), (Some(2.0), Some(0.1)), "over real time");
        publication.reset();
        assert!(publication.is_due(later), "a new owner has published nothing");
    }

    #[test]
    fn state_is_the_one_that_limits_most() {
        let mut status = ChannelStatus { quiet: true, ..ChannelStatus::default() };
        assert_eq!(condition(&status), MasterCondition::Quiet);
        status.pool.degraded = true;
        assert_eq!(condition(&status), MasterCondition::Degraded);
        status.stopping = true;
        assert_eq!(condition(&status), MasterCondition::Stopping);
    }
}
