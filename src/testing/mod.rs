//! Test support for applications: an in-memory queue, and the application's jobs run on it.
//!
//! [`TestQueue`] is an in-memory channel. Code under test pushes into it through an ordinary [`Queue`]; the test asserts the
//! pushed jobs. [`TestQueue::app`] runs them with the jobs of an [`App`] under the usual rules: priorities, unique keys,
//! expiry, attempts, backoff, failed callbacks, middleware. [`TestRun`] runs a single handler.
//!
//! The clock of a `TestQueue` is still until moved, so that a test of hourly retries takes no hour. Waits and time limits of
//! handlers follow tokio's clock.
//!
//! ```
//! use aint_queue::testing::TestQueue;
//! use aint_queue::{App, Context, Job, JobError, Queue};
//!
//! #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct SendMail { to: String }
//!
//! impl Job for SendMail {
//!     const NAME: &'static str = "send_mail";
//!
//!     fn handle(self, _: &Context) -> Result<(), JobError> {
//!         if self.to.contains('@') { Ok(()) } else { Err(JobError::never("not an address")) }
//!     }
//! }
//!
//! /// The code under test.
//! async fn welcome(queue: &Queue, to: &str) -> Result<(), Box<dyn std::error::Error>> {
//!     queue.push(&SendMail { to: to.to_owned() }).await?;
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let testing = TestQueue::new();
//! welcome(&testing.queue(), "ann@example.com").await?;
//! welcome(&testing.queue(), "nobody").await?;
//!
//! let mails = [SendMail { to: "ann@example.com".into() }, SendMail { to: "nobody".into() }];
//! assert_eq!(testing.pushed::<SendMail>(), mails);
//!
//! let report = testing.app(App::new().job::<SendMail>()).drain().await;
//! assert_eq!((report.done, report.failed), (1, 1));
//! assert_eq!(testing.failed()[0].error, "not an address");
//! # Ok(())
//! # }
//! ```

mod app;
mod pushed;
mod single_run;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aint_queue_core::mutex::lock;
use async_trait::async_trait;
use serde::de::DeserializeOwned;

pub use app::{DrainReport, RunEnd, RunReport, TestApp};
pub use pushed::{FailedJob, PushedJob};
pub use single_run::{TestRun, run_one};

use crate::app::App;
use crate::config::PushDestinations;
use crate::in_process::{ChannelHandlers, Runner, RunnerSetup};
use crate::job::{AsyncJob, Job, JobId, NewJob, Payload, Pushable, Registry, Timestamp};
use crate::queue::{PushTarget, Queue};
use crate::retry::Policy;
use crate::store::model::Model;
use crate::store::{CrossChannelPush, JobCounts, JobState, PushError, Pushed, Store, StoreError};

/// An in-memory channel that records pushed jobs. Clones are handles on the same channel.
#[derive(Clone)]
pub struct TestQueue {
    core: Arc<Core>,
    /// All channels known to this test, by name.
    family: Arc<Mutex<BTreeMap<String, Arc<Core>>>>,
}

struct Core {
    name: String,
    model: Model,
    pushed: Mutex<Vec<(JobId, NewJob)>>,
}

impl Default for TestQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl TestQueue {
    /// An empty channel named `default`, whose clock starts at the present time.
    #[must_use]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let core = Arc::new(Core::at("default", Timestamp(0).after(now)));
        let family = BTreeMap::from([("default".to_owned(), Arc::clone(&core))]);
        Self { core, family: Arc::new(Mutex::new(family)) }
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// The queue for the code under test.
    #[must_use]
    pub fn queue(&self) -> Queue {
        Queue::with_target(Arc::new(self.clone()))
    }

    /// The channel as a store, for operations that this type lacks.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.core.model.clone())
    }

    /// Another channel, a target of [`Context::to`](crate::Context::to). The same name returns the same channel. Each channel
    /// has its own clock.
    ///
    /// ```
    /// use aint_queue::testing::{TestQueue, TestRun};
    /// # use aint_queue::{AsyncJob, Context, JobError};
    /// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// # struct Bill { order: u64 }
    /// # impl AsyncJob for Bill {
    /// #     const NAME: &'static str = "bill";
    /// #     async fn handle(self, _: &Context) -> Result<(), JobError> { Ok(()) }
    /// # }
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Order { id: u64 }
    /// impl AsyncJob for Order {
    ///     const NAME: &'static str = "order";
    ///
    ///     async fn handle(self, ctx: &Context) -> Result<(), JobError> {
    ///         ctx.to("bills").push(&Bill { order: self.id }).await?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let testing = TestQueue::new();
    /// let bills = testing.channel("bills");
    /// TestRun::new().queue(&testing).run_one(Order { id: 7 }).await.unwrap();
    /// assert_eq!(bills.pushed_async::<Bill>(), [Bill { order: 7 }]);
    /// # }
    /// ```
    #[must_use]
    pub fn channel(&self, name: &str) -> Self {
        let mut family = lock(&self.family);
        let made = || Arc::new(Core::at(name, self.core.model.now()));
        let core = Arc::clone(family.entry(name.to_owned()).or_insert_with(made));
        Self { core, family: Arc::clone(&self.family) }
    }

    /// The jobs of this type pushed so far, in order: by the code under test and by jobs, finished ones included. A push with
    /// a held unique key added nothing and is not listed.
    ///
    /// # Panics
    /// When a payload with the job's name does not fit the type.
    #[must_use]
    pub fn pushed<J: Job>(&self) -> Vec<PushedJob<J>> {
        self.decoded(J::NAME)
    }

    /// The asynchronous jobs of this type pushed so far. See [`TestQueue::pushed`].
    ///
    /// # Panics
    /// When a payload with the job's name does not fit the type.
    #[must_use]
    pub fn pushed_async<J: AsyncJob>(&self) -> Vec<PushedJob<J>> {
        self.decoded(J::NAME)
    }

    /// All jobs pushed so far, jobs of other programs included, with payloads as text.
    #[must_use]
    pub fn pushed_raw(&self) -> Vec<PushedJob<Payload>> {
        let all = lock(&self.core.pushed);
        all.iter().map(|(id, job)| PushedJob::of(*id, job, job.payload.clone())).collect()
    }

    /// Asserts that a job of this name with an equal payload was pushed.
    ///
    /// ```
    /// # use aint_queue::testing::TestQueue;
    /// # use aint_queue::engine::demo_jobs::Echo;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let testing = TestQueue::new();
    /// testing.assert_nothing_pushed();
    /// testing.queue().push(&Echo { message: "hello".into() }).await.unwrap();
    /// testing.assert_pushed(&Echo { message: "hello".into() });
    /// # }
    /// ```
    ///
    /// # Panics
    /// When no such job was pushed; the message lists all pushed jobs.
    #[track_caller]
    pub fn assert_pushed<K, J: Pushable<K>>(&self, job: &J) {
        let expected = Payload::of(job).expect("the expected job can be a payload");
        let value = pushed::value(&expected);
        let found = lock(&self.core.pushed)
            .iter()
            .any(|(_, job)| job.meta.job == J::NAME && pushed::value(&job.payload) == value);
        assert!(found, "{} {} was not pushed; {}", J::NAME, expected.as_str(), self.list());
    }

    /// Asserts that nothing was pushed.
    ///
    /// # Panics
    /// When a job was pushed; the message lists all pushed jobs.
    #[track_caller]
    pub fn assert_nothing_pushed(&self) {
        let none = lock(&self.core.pushed).is_empty();
        assert!(none, "nothing should have been pushed; {}", self.list());
    }

    /// Clears the record of pushed jobs; the jobs stay in the channel.
    pub fn forget_pushed(&self) {
        lock(&self.core.pushed).clear();
    }

    /// The jobs in `failed`, oldest first.
    #[must_use]
    pub fn failed(&self) -> Vec<FailedJob> {
        let mut failed: Vec<_> =
            self.core.model.all(JobState::Failed).into_iter().map(FailedJob::of).collect();
        failed.reverse();
        failed
    }

    /// The number of jobs by state.
    #[must_use]
    pub fn status(&self) -> JobCounts {
        self.core.model.counts()
    }

    /// Moves the clock forward: delayed jobs become due, others expire.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use aint_queue::App;
    /// # use aint_queue::testing::TestQueue;
    /// # use aint_queue::engine::demo_jobs::Noop;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let testing = TestQueue::new();
    /// let app = testing.app(App::new().async_job::<Noop>());
    /// testing.queue().push_in(Duration::from_secs(3600), &Noop {}).await.unwrap();
    /// assert_eq!(app.drain().await.done, 0);
    /// testing.advance(Duration::from_secs(3600));
    /// assert_eq!(app.drain().await.done, 1);
    /// # }
    /// ```
    pub fn advance(&self, by: Duration) {
        self.core.model.advance(by);
    }

    /// The time of the clock.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.core.model.now().0)
    }

    /// Pairs this queue with an application, to run its jobs.
    #[must_use]
    pub fn app(&self, app: App) -> TestApp {
        TestApp::new(self.clone(), app)
    }

    /// Joins this channel as an owner in this process.
    async fn runner(&self, handlers: &Arc<ChannelHandlers>) -> Result<Runner, StoreError> {
        let setup = RunnerSetup {
            channel: self.name().into(),
            store: self.store(),
            handlers: Arc::clone(handlers),
            pushes: Arc::new(self.clone()),
            may_push: PushDestinations::default(),
        };
        Runner::join(setup).await
    }

    fn decoded<J: DeserializeOwned>(&self, name: &str) -> Vec<PushedJob<J>> {
        let all = lock(&self.core.pushed);
        let named = all.iter().filter(|(_, job)| job.meta.job == name);
        named.map(|(id, job)| PushedJob::of(*id, job, pushed::decode(name, &job.payload))).collect()
    }

    /// The list of pushed jobs, for assertion messages.
    fn list(&self) -> String {
        let all = lock(&self.core.pushed);
        if all.is_empty() {
            return "nothing was pushed at all".to_owned();
        }
        let mut list = "these were:".to_owned();
        for (id, job) in all.iter() {
            list.push_str(&format!("\n  {id} {} {}", job.meta.job, job.payload.as_str()));
        }
        list
    }
}

impl Core {
    fn at(name: &str, now: Timestamp) -> Self {
        Self { name: name.to_owned(), model: Model::at(now), pushed: Mutex::default() }
    }

    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        let pushed = self.model.push(jobs).await?;
        let mut all = lock(&self.pushed);
        for (pushed, job) in pushed.iter().zip(jobs) {
            if let Pushed::Added(id) = pushed {
                all.push((*id, job.clone()));
            }
        }
        drop(all);
        Ok(pushed)
    }
}

/// The handlers of registered jobs; a panic names them as `what`.
#[track_caller]
fn handlers(
    what: &str,
    registry: &Registry,
    policy: Policy,
    max_execute: Option<Duration>,
) -> Arc<ChannelHandlers> {
    let handlers = ChannelHandlers::of(registry, policy, max_execute);
    Arc::new(handlers.unwrap_or_else(|why| panic!("{what} cannot be run: {why}")))
}

#[async_trait]
impl PushTarget for TestQueue {
    async fn push(&self, jobs: &[NewJob]) -> Result<Vec<Pushed>, PushError> {
        self.core.push(jobs).await
    }
}

#[async_trait]
impl CrossChannelPush for TestQueue {
    async fn push(&self, channel: &str, jobs: &[NewJob]) -> Result<Vec<Pushed>, String> {
        let other = lock(&self.family).get(channel).cloned();
        let Some(other) = other else {
            return Err(format!(
                "the channel \"{channel}\" is not known to this test: add it with TestQueue::channel"
            ));
        };
        other.push(jobs).await.map_err(|error| crate::job::error_chain(&error))
    }
}

impl fmt::Debug for TestQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestQueue").field("name", &self.core.name).field("status", &self.status()).finish()
    }
}
