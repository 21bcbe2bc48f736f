//! Runs the jobs of an application on an in-memory queue.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{TestQueue, handlers};
use crate::app::App;
use crate::config::Channel;
use crate::in_process::{self, ChannelHandlers, NextRun};
use crate::job::{FailReason, JobId, Registry};
use crate::retry::Policy;
use crate::store::{Destination, JobState, StoreError};

/// Default bound on the runs of one drain.
const MAX_RUNS_PER_DRAIN: usize = 10_000;

/// An application whose jobs run on a [`TestQueue`], one after the other, in this process.
///
/// Retries follow the default configuration, or that of [`TestApp::channel`]: three attempts, waits of about 1, 2, 4, …
/// seconds.
pub struct TestApp {
    queue: TestQueue,
    registry: Registry,
    policy: Policy,
    max_execute: Option<Duration>,
    limit: usize,
    /// Prepared by the first drain.
    handlers: OnceLock<Arc<ChannelHandlers>>,
}

/// The result of a drain. Runs of failed callbacks are in `runs` only.
#[derive(Clone, Debug, Default)]
pub struct DrainReport {
    /// Number of jobs done.
    pub done: usize,
    /// Number of jobs that failed permanently.
    pub failed: usize,
    /// Number of failed attempts that will be retried.
    pub retried: usize,
    /// Number of runs that released their job.
    pub released: usize,
    /// All runs, in order.
    pub runs: Vec<RunReport>,
}

/// A run of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// The id of the job.
    pub id: JobId,
    /// The name of the job.
    pub job: String,
    /// Number of the attempt, 1-based.
    pub attempt: u32,
    /// Whether the failed callback ran instead of the job.
    pub callback: bool,
    /// The handler's error, if it returned one.
    pub error: Option<String>,
    /// The consequence for the job.
    pub end: RunEnd,
}

/// The consequence of a run for its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Done.
    Done,
    /// Failed permanently; a failed callback, if any, runs next.
    Failed(FailReason),
    /// Retried after this time.
    Retried(Duration),
    /// Released for this time, or removed during the run.
    Released(Duration),
}

impl TestApp {
    pub(super) fn new(queue: TestQueue, app: App) -> Self {
        let registry = app.into_registry();
        registry.check().unwrap_or_else(|error| panic!("the jobs cannot be run: {error}"));
        let max_execute = Some(Duration::from_secs(10));
        // Without jitter, so that tests know the exact time of a retry.
        let mut policy = Policy::default();
        policy.backoff.jitter = 0.0;
        Self { queue, registry, policy, max_execute, limit: MAX_RUNS_PER_DRAIN, handlers: OnceLock::new() }
    }

    /// Uses attempts, backoff (without its jitter) and time limit of a channel's configuration.
    #[must_use]
    pub fn channel(mut self, channel: &Channel) -> Self {
        self.policy = Policy::of(channel);
        self.policy.backoff.jitter = 0.0;
        self.max_execute = channel.worker.max_execute;
        self
    }

    /// Sets the attempts of jobs that set none, instead of 3.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.policy.max_attempts = attempts;
        self
    }

    /// Sets the most runs of one drain, instead of 10,000.
    #[must_use]
    pub fn limit(mut self, runs: usize) -> Self {
        self.limit = runs;
        self
    }

    /// Runs all ready jobs, and jobs that become ready during the drain. Delayed jobs and retries wait for
    /// [`TestQueue::advance`].
    ///
    /// # Panics
    /// When the number of runs exceeds the limit, as with jobs that push themselves, and when a shared state cannot be
    /// made.
    pub async fn drain(&self) -> DrainReport {
        let mut report = DrainReport::default();
        self.run(&mut report).await;
        report
    }

    /// Runs all jobs, moving the clock to the next due job whenever none is ready.
    ///
    /// ```
    /// # use aint_queue::testing::TestQueue;
    /// # use aint_queue::{App, Context, Job, JobError};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Stubborn;
    ///
    /// impl Job for Stubborn {
    ///     const NAME: &'static str = "stubborn";
    ///
    ///     fn handle(self, ctx: &Context) -> Result<(), JobError> {
    ///         if ctx.attempt() < 3 { Err("not yet".into()) } else { Ok(()) }
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let testing = TestQueue::new();
    /// testing.queue().push(&Stubborn).await.unwrap();
    /// let report = testing.app(App::new().job::<Stubborn>()).drain_all().await;
    /// assert_eq!((report.retried, report.done), (2, 1));
    /// # }
    /// ```
    ///
    /// See [`TestApp::drain`].
    /// As [`TestApp::drain`].
    pub async fn drain_all(&self) -> DrainReport {
        let mut report = DrainReport::default();
        while let Some(next_due) = self.run(&mut report).await {
            self.queue.advance(next_due);
        }
        report
    }

    /// Runs all ready jobs; returns the time until the next one is due.
    async fn run(&self, report: &mut DrainReport) -> Option<Duration> {
        let handlers = self
            .handlers
            .get_or_init(|| handlers("the jobs", &self.registry, self.policy.clone(), self.max_execute));
        let ended = async {
            let mut runner = self.queue.runner(handlers).await?;
            loop {
                if report.runs.len() >= self.limit {
                    self.give_up(report);
                }
                match runner.run_next().await? {
                    NextRun::Ran(ran) => report.count(RunReport::of(*ran)),
                    NextRun::Nothing { next_due } => {
                        runner.leave().await?;
                        return Ok::<_, StoreError>(next_due);
                    }
                }
            }
        };
        ended
            .await
            .unwrap_or_else(|error| panic!("the jobs cannot be run: {}", crate::job::error_chain(&error)))
    }

    fn give_up(&self, report: &DrainReport) {
        let model = &self.queue.core.model;
        let now = model.now();
        let due = model.all(JobState::Delayed).into_iter().filter(|job| job.at <= now).count();
        let more = model.all(JobState::Waiting).len() + due;
        if more == 0 {
            return;
        }
        let last: Vec<_> = report.runs.iter().rev().take(5).map(ToString::to_string).collect();
        panic!(
            "{} runs and {more} more to run now: do jobs push themselves, or hand themselves back, without end? The last \
             runs were:\n  {}\nTestApp::limit allows more",
            report.runs.len(),
            last.into_iter().rev().collect::<Vec<_>>().join("\n  ")
        );
    }
}

impl DrainReport {
    /// The errors returned by handlers, in order.
    #[must_use]
    pub fn errors(&self) -> Vec<&str> {
        self.runs.iter().filter_map(|run| run.error.as_deref()).collect()
    }

    fn count(&mut self, run: RunReport) {
        if !run.callback {
            match run.end {
                RunEnd::Done => self.done += 1,
                RunEnd::Failed(_) => self.failed += 1,
                RunEnd::Retried(_) => self.retried += 1,
                RunEnd::Released(_) => self.released += 1,
            }
        }
        self.runs.push(run);
    }
}

impl RunReport {
    fn of(ran: in_process::CompletedRun) -> Self {
        let failed = ran.failed().map(|(reason, _)| RunEnd::Failed(reason));
        let in_process::CompletedRun { id, job, attempt, callback, to, error } = ran;
        let tried = error.is_some();
        let end = match to {
            Destination::Done | Destination::Kept(_) => RunEnd::Done,
            Destination::Failed(_) => failed.unwrap_or(RunEnd::Failed(FailReason::Exhausted)),
            Destination::Front(_) | Destination::Back(_) => {
                failed.unwrap_or(RunEnd::Released(Duration::ZERO))
            }
            Destination::Delayed(after, _) if tried => RunEnd::Retried(after),
            Destination::Delayed(after, _) => RunEnd::Released(after),
        };
        Self { id, job, attempt, callback, error, end }
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, job, attempt, end, .. } = self;
        let what = if self.callback { "failed callback" } else { "attempt" };
        write!(f, "{id} {job}, {what} {attempt}: {end:?}")?;
        self.error.as_ref().map_or(Ok(()), |error| write!(f, ", {error}"))
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp")
            .field("queue", &self.queue)
            .field("jobs", &self.registry)
            .finish_non_exhaustive()
    }
}
