//! The actor on a paused clock, against a model store with faults and scripted workers.

mod commands;
mod job_requests;
mod leases;
mod outages;
mod priorities;
mod shutdown;
mod summaries;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::config::plan::Plan;
use crate::config::{Backoff, BackoffKind, JobLog, JobLogLevel, Mode};
use crate::job::{
    FailReason, JobId, LimitClaim, LimitDecision, NewJob, Outcome, Payload, RetryDecision, Timestamp,
};
use crate::metrics::Metrics;
use crate::pool::PoolSpec;
use crate::pool::scripted::{Exit, Script, ScriptedFrame, ScriptedSignal, ScriptedWorker, pool, spec};
use crate::retry::Policy;
use crate::store::model::Model;
use crate::store::{Claim, ClaimKind, Clear, JobState, Owner, Reap, Store};
use crate::wire::FromWorker;
use faulty_store::{Fault, FaultyStore};

#[expect(unreachable_pub, reason = "shared with tests/channel, where a test has no outside")]
#[path = "../../../tests/channel/faulty_store.rs"]
mod faulty_store;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const STOP_WAIT: Duration = Duration::from_secs(30);

type FaultPlan = Box<dyn FnMut(&str) -> Fault + Send>;

/// A channel with its store, its script and what it did.
struct Fixture {
    store: FaultyStore,
    faults: Arc<Mutex<FaultPlan>>,
    /// The calls to the store, except waits for work, searches for expired leases and what goes with them.
    calls: Arc<Mutex<Vec<(String, Instant)>>>,
    owners: Arc<Mutex<Vec<Owner>>>,
    commands: mpsc::Sender<Command>,
    script: Script,
    slots: usize,
    task: JoinHandle<Stopped>,
}

impl Fixture {
    async fn new(spec: PoolSpec) -> Self {
        Self::with(spec, async |_| {}).await
    }

    async fn with(spec: PoolSpec, change: impl AsyncFnOnce(&mut Setup)) -> Self {
        let faults: Arc<Mutex<FaultPlan>> = Arc::new(Mutex::new(Box::new(|_| Fault::None)));
        let calls: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
        let owners: Arc<Mutex<Vec<Owner>>> = Arc::default();
        let store = {
            let (faults, calls) = (Arc::clone(&faults), Arc::clone(&calls));
            FaultyStore::new(Model::ticking(Timestamp(1_790_000_000_000_000)), move |call| {
                if call != "wait" {
                    calls.lock().unwrap().push((call.to_owned(), Instant::now()));
                }
                (faults.lock().unwrap())(call)
            })
        };
        let joined = Arc::clone(&owners);
        let backoff =
            Backoff { kind: BackoffKind::Fixed, base: SECOND, max: SECOND, delays: Vec::new(), jitter: 0.0 };
        let slots = spec.plan.slots;
        let (pool, script) = pool(spec);
        let mut setup = Setup {
            name: "demo".into(),
            store: Arc::new(store.clone()),
            pool,
            identity: MasterIdentity::default(),
            settings: ChannelSettings {
                mode: Mode::ProcessPool,
                policy: Policy { max_attempts: 3, backoff },
                max_execute: None,
                sleep: 2 * SECOND,
                may_push: Default::default(),
                push_limit: Default::default(),
                priority_max_wait: None,
                stop_wait: STOP_WAIT,
                keep_output: true,
                keep_done: None,
                job_log: JobLog { level: JobLogLevel::Info, lines_per_second: 50 },
            },
            dead: Vec::new(),
            on_join: OnJoin(Box::new(move |owner| joined.lock().unwrap().push(owner.clone()))),
            scope: Scope::All,
            quiet: false,
            cross_channel: None,
            metrics: Metrics::default().channel("demo"),
        };
        change(&mut setup).await;
        let (commands, receiver) = mpsc::channel(8);
        let task = tokio::spawn(Channel::new(setup).run(receiver));
        Self { store, faults, calls, owners, commands, script, slots, task }
    }

    /// Lets everything happen that needs no time.
    async fn settle(&self) {
        sleep(MS).await;
    }

    /// Boots the next worker.
    async fn boot(&mut self) -> ScriptedWorker {
        self.settle().await;
        let worker = self.script.started().expect("the pool has started a worker");
        worker.spawned().hello(self.slots);
        self.settle().await;
        worker
    }

    async fn push(&self, jobs: usize) -> Vec<JobId> {
        let pushed = self.store.push(&vec![job(); jobs]).await.unwrap();
        self.settle().await;
        pushed.into_iter().map(|pushed| pushed.id()).collect()
    }

    fn fail(&self, faults: impl FnMut(&str) -> Fault + Send + 'static) {
        *self.faults.lock().unwrap() = Box::new(faults);
    }

    /// Loses the reply to the next turn.
    fn lose_next_reply(&self) {
        let mut lost = false;
        self.fail(move |call| {
            if call == "turn" && !std::mem::replace(&mut lost, true) { Fault::ReplyLost } else { Fault::None }
        });
    }

    /// The calls since the last time.
    fn take_calls(&self) -> Vec<(String, Instant)> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.unwrap();
        answer.await.unwrap()
    }

    async fn status(&self) -> ChannelStatus {
        self.ask(Command::Status).await
    }

    async fn stop(&self, force: bool) {
        self.commands.send(Command::Stop { force }).await.unwrap();
        self.settle().await;
    }

    async fn counts(&self) -> (u64, u64, u64) {
        let counts = self.store.status().await.unwrap();
        (counts.waiting, counts.reserved, counts.done)
    }
}

fn job() -> NewJob {
    NewJob::new("demo", Payload::parse("null").unwrap())
}

fn names(calls: &[(String, Instant)]) -> Vec<&str> {
    calls.iter().map(|(name, _)| name.as_str()).collect()
}

fn failed() -> Outcome {
    Outcome::Failed { error: "not yet".to_owned(), next: RetryDecision::ByPolicy }
}
