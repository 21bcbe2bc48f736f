//! The `sync` driver: a push runs the job to its end in the pushing process.
//!
//! A channel of this driver keeps only the timed holds on unique keys. While a job runs, an in-memory store holds it, so that
//! unique keys, locks and rates work within this process as they do between processes with other drivers.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;

use super::{ChannelHandlers, CompletedRun, Runner, RunnerSetup};
use crate::config::{Channel, Config, Driver, PushDestinations};
use crate::job::{FailReason, Failure, JobId, NewJob, Registry, error_chain};
use crate::mutex::lock;
use crate::queue::{OpenError, PushTarget, Queue};
use crate::queue_set::QueueSet;
use crate::retry::Policy;
use crate::store::model::Model;
use crate::store::{self, CrossChannelPush, Destination, PushError, Pushed, Store, StoreError};

/// Most releases of one job in a row. The driver does not wait, so a job that releases itself until something happens
/// would loop forever.
const MAX_RELEASES: u32 = 100;
/// Deepest nesting of jobs that push jobs.
const MAX_DEPTH: u32 = 100;

/// Opens a channel of any driver for pushing; a channel of the `sync` driver runs the jobs of `registry`.
///
/// # Errors
/// When the channel is not declared, its store is unusable, or the handlers cannot be prepared.
pub async fn queue(registry: &Registry, config: &Config, name: &str) -> Result<Queue, OpenError> {
    if config.channel(name)?.driver != Driver::Sync {
        return Queue::open(config, name).await;
    }
    registry.check()?;
    let config = Arc::new(config.clone());
    let queues = QueueSet::of(Arc::clone(&config));
    let family =
        Arc::new(SyncChannels { registry: registry.clone(), config, queues, open: Mutex::default() });
    let core = family.core(name)?;
    let target = SyncChannel { core, family, depth: 0, too_deep: Arc::default() };
    Ok(Queue::with_target(Arc::new(target)).named(name))
}

/// The channels of one configuration.
struct SyncChannels {
    registry: Registry,
    config: Arc<Config>,
    /// Queues of other drivers.
    queues: QueueSet,
    /// Channels of this driver that have been used.
    open: Mutex<HashMap<String, Arc<Core>>>,
}

/// The state of one channel of the `sync` driver.
struct Core {
    channel: Arc<str>,
    model: Model,
    handlers: Arc<ChannelHandlers>,
    may_push: PushDestinations,
}

/// A handle on one channel of the `sync` driver, at a nesting depth.
#[derive(Clone)]
struct SyncChannel {
    core: Arc<Core>,
    family: Arc<SyncChannels>,
    /// Number of jobs that enclose this push.
    depth: u32,
    /// Set when the depth is exceeded: all enclosing jobs fail without another attempt.
    too_deep: Arc<AtomicBool>,
}

impl Core {
    fn open(channel: &Channel, registry: &Registry) -> Result<Self, OpenError> {
        let handlers = ChannelHandlers::of(registry, Policy::of(channel), channel.worker.max_execute);
        Ok(Self {
            channel: channel.name.as_str().into(),
            model: Model::ticking(SystemTime::now().into()),
            handlers: Arc::new(handlers.map_err(OpenError::State)?),
            may_push: channel.worker.may_push.clone(),
        })
    }
}

impl SyncChannel {
    fn check_depth(&self) -> Result<(), StoreError> {
        if self.depth > MAX_DEPTH {
            self.too_deep.store(true, Ordering::Relaxed);
        }
        if !self.too_deep.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(StoreError::Refused {
            place: self.to_string(),
            detail: format!(
                "{MAX_DEPTH} nested pushes: on a sync channel a job that pushes itself never ends"
            ),
        })
    }

    /// Runs a job to its end, attempt after attempt.
    async fn run(&self, job: &NewJob) -> Result<Pushed, PushFailure> {
        let pushed = self.core.model.push(std::slice::from_ref(job)).await?;
        let Some(Pushed::Added(id)) = pushed.first().copied() else {
            return pushed.into_iter().next().ok_or(PushFailure::Gone);
        };
        let mut runner = Runner::join(RunnerSetup {
            channel: Arc::clone(&self.core.channel),
            store: Arc::new(self.core.model.clone()),
            handlers: Arc::clone(&self.core.handlers),
            pushes: Arc::new(Self { depth: self.depth + 1, ..self.clone() }),
            may_push: self.core.may_push.clone(),
        })
        .await?;
        let ended = self.attempts(&mut runner, id).await;
        let left = runner.leave().await;
        // The driver stores nothing, whatever the outcome.
        self.core.model.discard(&[id]).await?;
        left?;
        ended.map(|()| Pushed::Added(id))
    }

    async fn attempts(&self, runner: &mut Runner, id: JobId) -> Result<(), PushFailure> {
        let (mut releases, mut last) = (0, 0);
        loop {
            let ran: CompletedRun = runner.run_by_id(id).await?.ok_or(PushFailure::Gone)?;
            self.check_depth()?;
            match &ran.to {
                Destination::Done | Destination::Kept(_) => return Ok(()),
                Destination::Failed(_) => {
                    let (reason, error) = ran.failed().unwrap_or((FailReason::Exhausted, String::new()));
                    return Err(PushFailure::Failed(id, Failure { reason, error }));
                }
                Destination::Front(_) | Destination::Back(_) | Destination::Delayed(..) => {
                    releases = if ran.attempt == last { releases + 1 } else { 0 };
                    last = ran.attempt;
                }
            }
            if releases >= MAX_RELEASES {
                let error =
                    format!("released {releases} times in a row: a sync channel does not wait between runs");
                return Err(PushFailure::Failed(id, Failure { reason: FailReason::Exhausted, error }));
            }
            // The next attempt follows immediately, after other tasks had a chance to run.
            tokio::task::yield_now().await;
        }
    }

    async fn all(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        let mut pushed = Vec::with_capacity(jobs.len());
        for (index, job) in jobs.iter().enumerate() {
            pushed.push(self.run(job).await.map_err(|ended| ended.at(index, job))?);
        }
        Ok(pushed)
    }
}

#[async_trait]
impl PushTarget for SyncChannel {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        store::check(jobs)?;
        self.check_depth()?;
        let mut this = self.clone();
        if this.depth == 0 {
            // The flag belongs to one push outside of all jobs and the pushes nested in it.
            this.too_deep = Arc::default();
        }
        let jobs = jobs.to_vec();
        // A separate task: a caller that stops waiting must not leave a job half settled.
        match tokio::spawn(async move { this.all(&jobs).await }).await {
            Ok(pushed) => pushed,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(StoreError::Unavailable {
                place: self.to_string(),
                doing: "running the job",
                source: error.into(),
            }
            .into()),
        }
    }

    fn max_batch_len(&self) -> usize {
        // A batch has a single job, so that the error of a failed job tells exactly which jobs ran before it.
        1
    }
}

#[async_trait]
impl CrossChannelPush for SyncChannel {
    async fn push(&self, channel: &str, jobs: &[NewJob]) -> Result<Vec<Pushed>, String> {
        match self.family.config.channel(channel) {
            Ok(declared) if declared.driver == Driver::Sync => {
                let core = self.family.core(channel).map_err(|error| error_chain(&error))?;
                let pushed = PushTarget::push(&Self { core, ..self.clone() }, jobs).await;
                pushed.map_err(|error| error_chain(&error))
            }
            _ => self.family.queues.push(channel, jobs).await,
        }
    }
}

impl SyncChannels {
    fn core(&self, name: &str) -> Result<Arc<Core>, OpenError> {
        let channel = self.config.channel(name)?;
        let mut open = lock(&self.open);
        if let Some(core) = open.get(name) {
            return Ok(Arc::clone(core));
        }
        let core = Arc::new(Core::open(channel, &self.registry)?);
        open.insert(name.to_owned(), Arc::clone(&core));
        Ok(core)
    }
}

/// An unsuccessful end of a pushed job.
enum PushFailure {
    Failed(JobId, Failure),
    Push(PushError),
    /// The job was removed during its run.
    Gone,
}

impl PushFailure {
    fn at(self, index: usize, job: &NewJob) -> PushError {
        match self {
            Self::Failed(id, failure) => PushError::Failed { index, id, job: job.meta.job.clone(), failure },
            Self::Push(error) => error,
            Self::Gone => StoreError::Corrupt {
                place: "this process".to_owned(),
                detail: "a job was removed during its run".to_owned(),
            }
            .into(),
        }
    }
}

impl<E: Into<PushError>> From<E> for PushFailure {
    fn from(error: E) -> Self {
        Self::Push(error.into())
    }
}

impl fmt::Display for SyncChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sync channel \"{}\"", self.core.channel)
    }
}

impl fmt::Debug for SyncChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncChannel").field("channel", &self.core.channel).finish_non_exhaustive()
    }
}
