//! A channel with a store in memory, a real guardian and real workers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aint_queue::config::{Backoff, BackoffKind, JobLog, JobLogLevel, Mode};
use aint_queue::engine::channel::{
    self, Channel, ChannelSettings, ChannelStatus, Command, MasterIdentity, OnJoin, Scope, Setup, Stopped,
};
use aint_queue::engine::guardian::Guardian;
use aint_queue::engine::metrics::Metrics;
use aint_queue::engine::pool::plan::{Plan, Recycling, Scaling};
use aint_queue::engine::pool::{GenerationSpec, Pool, PoolSpec, Program, RolloutError, RolloutSummary};
use aint_queue::engine::producer_memory::WorkerMemory;
use aint_queue::engine::retry::Policy;
use aint_queue::job::{JobId, NewJob, Payload, Timestamp};
use aint_queue::store::model::Model;
use aint_queue::store::{JobCounts, JobView, LEASE, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/random.rs"]
pub(crate) mod random;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/wait.rs"]
mod wait;

pub(crate) use wait::{WAIT_DEADLINE, until_async};

/// The program under test, which is its own guardian and worker.
pub const BINARY: &str = env!("CARGO_BIN_EXE_aint-queue");
/// The time between two attempts of a job.
pub const BACKOFF: Duration = Duration::from_millis(50);

pub struct Fixture {
    pub store: Arc<dyn Store>,
    pub commands: mpsc::Sender<Command>,
    pub guardian: Guardian,
    /// Specification and settings, for another generation.
    pub spec: PoolSpec,
    pub settings: ChannelSettings,
    task: JoinHandle<Stopped>,
}

/// Options of a test; all other settings are small and fast.
pub struct Options {
    pub plan: Plan,
    pub program: Program,
    pub scaling: Scaling,
    pub recycling: Recycling,
    pub env: Vec<(String, String)>,
    pub max_execute: Option<Duration>,
    pub max_attempts: u32,
    pub scope: Scope,
    pub quiet: bool,
    pub sleep: Duration,
    pub stop_wait: Duration,
    pub store: Arc<dyn Store>,
}

impl Options {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            program: Program::Wire(vec![BINARY.into(), "__worker".into(), "--demo-jobs".into()]),
            scaling: Scaling::default(),
            recycling: Recycling::default(),
            env: Vec::new(),
            max_execute: Some(Duration::from_secs(10)),
            max_attempts: 3,
            scope: Scope::All,
            quiet: false,
            sleep: Duration::from_secs(2),
            stop_wait: Duration::from_secs(5),
            store: Arc::new(Model::ticking(Timestamp(1_790_000_000_000_000))),
        }
    }

    pub fn script(mut self, script: &str) -> Self {
        self.program = Program::Exec(vec!["sh".into(), "-c".into(), script.into()]);
        self
    }

    pub fn limit(mut self, limit: Duration) -> Self {
        self.max_execute = Some(limit);
        self
    }
}

pub async fn start_channel(options: Options) -> Fixture {
    let guardian = Guardian::start_with(Path::new(BINARY), "test".into(), LEASE).await.unwrap();
    let spec = PoolSpec {
        channel: "default".into(),
        program: options.program,
        files: Vec::new(),
        plan: options.plan,
        scaling: options.scaling,
        recycling: options.recycling,
        env: options.env,
        cwd: None,
        log_rate: 0,
        boot_timeout: Duration::from_secs(10),
        timeout_grace: Duration::from_millis(250),
        stop_grace: Duration::from_millis(300),
        stop_wait: Duration::from_secs(5),
    };
    let backoff = Backoff {
        kind: BackoffKind::Fixed,
        base: BACKOFF,
        max: WAIT_DEADLINE,
        delays: Vec::new(),
        jitter: 0.0,
    };
    let settings = ChannelSettings {
        mode: Mode::ProcessPool,
        policy: Policy { max_attempts: options.max_attempts, backoff },
        max_execute: options.max_execute,
        sleep: options.sleep,
        may_push: Default::default(),
        push_limit: Default::default(),
        priority_max_wait: None,
        stop_wait: options.stop_wait,
        keep_output: true,
        keep_done: None,
        job_log: JobLog { level: JobLogLevel::Info, lines_per_second: 50 },
    };
    let channel = Channel::new(Setup {
        name: "default".into(),
        identity: MasterIdentity::default(),
        store: Arc::clone(&options.store),
        pool: Pool::new(
            GenerationSpec { spec: spec.clone(), guardian: guardian.handle() },
            WorkerMemory::new(1 << 20),
            tokio::time::Instant::now(),
        ),
        settings: settings.clone(),
        dead: Vec::new(),
        cross_channel: None,
        on_join: OnJoin(Box::new(|_| {})),
        scope: options.scope,
        quiet: options.quiet,
        metrics: Metrics::default().channel("default"),
    });
    let (commands, receiver) = mpsc::channel(8);
    let task = tokio::spawn(channel.run(receiver));
    Fixture { store: options.store, commands, guardian, spec, settings, task }
}

pub fn job(name: &str, payload: &str) -> NewJob {
    NewJob::new(name, Payload::parse(payload).unwrap())
}

impl Fixture {
    pub async fn push(&self, jobs: &[NewJob]) -> Vec<JobId> {
        let mut ids = Vec::new();
        for batch in jobs.chunks(500) {
            ids.extend(self.store.push(batch).await.unwrap().into_iter().map(|p| p.id()));
        }
        ids
    }

    /// Waits until the counts of the store match.
    pub async fn until(&self, what: &str, wanted: impl Fn(&JobCounts) -> bool) -> JobCounts {
        until_async(what, async || {
            let status = self.store.status().await.unwrap();
            if wanted(&status) { Ok(status) } else { Err(status) }
        })
        .await
    }

    /// Waits until the status of the channel matches.
    pub async fn until_status(&self, what: &str, wanted: impl Fn(&ChannelStatus) -> bool) -> ChannelStatus {
        until_async(what, async || {
            let status = self.report().await;
            if wanted(&status) { Ok(status) } else { Err(status) }
        })
        .await
    }

    pub async fn report(&self) -> ChannelStatus {
        let (reply, report) = oneshot::channel();
        self.commands.send(Command::Status(reply)).await.unwrap();
        report.await.unwrap()
    }

    /// Replaces the workers by a new generation.
    pub async fn reload(
        &self,
        spec: PoolSpec,
        settings: ChannelSettings,
    ) -> Result<RolloutSummary, RolloutError> {
        let (reply, ended) = oneshot::channel();
        let pool = GenerationSpec { spec, guardian: self.guardian.handle() };
        let renewal = Box::new(channel::ReloadSpec { pool, settings });
        self.commands.send(Command::Reload(renewal, reply)).await.unwrap();
        tokio::time::timeout(WAIT_DEADLINE, ended).await.expect("in time").unwrap()
    }

    pub async fn get(&self, id: JobId) -> JobView {
        self.store.get(id).await.unwrap().expect("the job exists")
    }

    pub async fn stop(self, force: bool) -> Stopped {
        self.commands.send(Command::Stop { force }).await.unwrap();
        self.ended().await
    }

    /// Ends the channel as a panic would.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Waits for the end of a channel that has a scope or is stopping.
    pub async fn ended(self) -> Stopped {
        let stopped = tokio::time::timeout(WAIT_DEADLINE, self.task).await.expect("in time").unwrap();
        self.guardian.shut_down().await;
        stopped
    }
}
