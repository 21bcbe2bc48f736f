//! The jobs of an application, run on a queue in memory.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::TestQueue;
use crate::app::App;
use crate::config::Channel;
use crate::in_process::{self, ChannelHandlers, NextRun, Runner, RunnerSetup};
use crate::job::{FailReason, JobId, Registry};
use crate::retry::Policy;
use crate::store::{Destination, JobState, StoreError};

/// How many jobs a drain runs unless [`TestApp::limit`] says otherwise.
const MAX_RUNS_PER_DRAIN: usize = 10_000;

/// An application whose jobs run on a [`TestQueue`], one after the other, in this process.
///
/// Everything between an attempt and the next is as in a master with the default configuration, or that of
/// [`TestApp::channel`]: three attempts, and waits of about 1, 2, 4, … seconds.
pub struct TestApp {
    queue: TestQueue,
    registry: Registry,
    policy: Policy,
    max_execute: Option<Duration>,
    limit: usize,
    /// Made by the first drain.
    handlers: OnceLock<Arc<ChannelHandlers>>,
}

/// What a drain did. The failed callbacks it ran are in `runs` only.
#[derive(Clone, Debug, Default)]
pub struct DrainReport {
    /// Jobs that are done.
    pub done: usize,
    /// Jobs that failed for good.
    pub failed: usize,
    /// Attempts that failed and are to be followed by another.
    pub retried: usize,
    /// Runs that handed their job back.
    pub released: usize,
    /// All of them, in their order.
    pub runs: Vec<RunReport>,
}

/// One run of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// The job's number.
    pub id: JobId,
    /// Its name.
    pub job: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Whether it was not the job itself, but its failed callback.
    pub callback: bool,
    /// What the handler's error was, if it ended in one.
    pub error: Option<String>,
    /// What it meant for the job.
    pub end: RunEnd,
}

/// What the end of a run meant for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It is done.
    Done,
    /// It failed for good; if it has a failed callback, that is what runs next.
    Failed(FailReason),
    /// It is tried again after this long.
    Retried(Duration),
    /// It handed itself back for this long, or was taken away.
    Released(Duration),
}

impl TestApp {
    pub(super) fn new(queue: TestQueue, app: App) -> Self {
        let registry = app.into_registry();
        if let Err(error) = registry.check() {
            panic!("the jobs cannot be run: {error}");
        }
        let max_execute = Some(Duration::from_secs(10));
        // Without jitter, so that a test knows when a job is tried again.
        let mut policy = Policy::default();
        policy.backoff.jitter = 0.0;
        Self { queue, registry, policy, max_execute, limit: MAX_RUNS_PER_DRAIN, handlers: OnceLock::new() }
    }

    /// Takes attempts, backoff (without its jitter) and time limit from a channel's configuration.
    #[must_use]
    pub fn channel(mut self, channel: &Channel) -> Self {
        self.policy = Policy::of(channel);
        self.policy.backoff.jitter = 0.0;
        self.max_execute = channel.worker.max_execute;
        self
    }

    /// Attempts of jobs that do not set their own, instead of 3.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.policy.max_attempts = attempts;
        self
    }

    /// How many runs a drain may take, instead of 10,000.
    #[must_use]
    pub fn limit(mut self, runs: usize) -> Self {
        self.limit = runs;
        self
    }

    /// Runs what may run now, and what that makes run now, until nothing may. What is delayed or to be tried again later
    /// waits for [`TestQueue::advance`].
    ///
    /// # Panics
    /// When it does not come to an end within the limit: jobs that push themselves never do. When the shared state cannot
    /// be made.
    pub async fn drain(&self) -> DrainReport {
        let mut report = DrainReport::default();
        self.run(&mut report).await;
        report
    }

    /// Runs everything: when nothing may run now, moves the clock to when something may.
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
    /// # Panics
    /// As [`TestApp::drain`].
    pub async fn drain_all(&self) -> DrainReport {
        let mut report = DrainReport::default();
        while let Some(next_due) = self.run(&mut report).await {
            self.queue.advance(next_due);
        }
        report
    }

    /// Runs what may run now; answers after how long more may.
    async fn run(&self, report: &mut DrainReport) -> Option<Duration> {
        let handlers = self.handlers.get_or_init(|| {
            let handlers = ChannelHandlers::of(&self.registry, self.policy, self.max_execute);
            Arc::new(handlers.unwrap_or_else(|why| panic!("the jobs cannot be run: {why}")))
        });
        let setup = RunnerSetup {
            channel: self.queue.name().into(),
            store: self.queue.store(),
            handlers: Arc::clone(handlers),
            pushes: Arc::new(self.queue.clone()),
        };
        let ended = self.run_with(setup, report).await;
        ended.unwrap_or_else(|error| panic!("the jobs cannot be run: {}", crate::job::error_chain(&error)))
    }

    async fn run_with(
        &self,
        setup: RunnerSetup,
        report: &mut DrainReport,
    ) -> Result<Option<Duration>, StoreError> {
        let mut runner = Runner::join(setup).await?;
        loop {
            if report.runs.len() >= self.limit {
                self.give_up(report);
            }
            match runner.next().await? {
                NextRun::Ran(ran) => report.count(RunReport::of(*ran)),
                NextRun::Nothing { next_due } => {
                    runner.leave().await?;
                    return Ok(next_due);
                }
            }
        }
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
    /// The errors that handlers ended in, in their order.
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
            Destination::Done => RunEnd::Done,
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
