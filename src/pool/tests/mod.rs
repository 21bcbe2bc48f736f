//! The pool on a paused clock, against a scripted guardian and scripted workers.

mod boot;
mod recycling;
mod rollout;
mod runs;
mod shutdown;
mod sizing;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::Pool;
use super::rollout::{Generations, RolloutError, RolloutSummary};
use super::runs::{EndedRun, Run};
use super::scripted::{
    Exit, Script, ScriptedFrame, ScriptedSignal, ScriptedWorker, next_generation, pool, spec,
};
use super::sizing::autoscaler::ScaleOrder;
use super::sizing::sizer::Demand;
use super::spec::{PoolSpec, Program};
use super::status::WorkerActivity;
use crate::config::plan::{Plan, Recycling, Scaling};
use crate::job::{Failure, JobId, Outcome, Payload, RetryDecision};
use crate::wire::{self, RunId};

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_millis(300);

fn run(number: RunId) -> Run {
    Run {
        run: number,
        id: JobId(100 + number),
        job: "demo".to_owned(),
        attempt: 1,
        max_attempts: 3,
        timeout: Some(LIMIT),
        headers: BTreeMap::new(),
        failure: None::<Failure>,
        payload: Payload::parse("null").unwrap(),
    }
}

/// A pool with its script and the workers taken from it.
struct Fixture {
    pool: Pool,
    script: Script,
    /// The end of the last reload.
    reloaded: Option<Result<RolloutSummary, RolloutError>>,
}

impl Fixture {
    fn new(spec: PoolSpec) -> Self {
        let (pool, script) = pool(spec);
        Self { pool, script, reloaded: None }
    }

    /// Lets the pool handle what has arrived, without waiting.
    async fn settle(&mut self) -> Vec<EndedRun> {
        let mut ended = Vec::new();
        while let Ok(more) = tokio::time::timeout(Duration::ZERO, self.pool.next()).await {
            ended.extend(more);
            self.reloaded = self.pool.take_rollout_result().or(self.reloaded.take());
        }
        ended
    }

    /// Lets the pool work for this long; returns the ended runs.
    async fn pass(&mut self, time: Duration) -> Vec<EndedRun> {
        let until = Instant::now() + time;
        let mut ended = Vec::new();
        while let Ok(more) = tokio::time::timeout_at(until, self.pool.next()).await {
            ended.extend(more);
            self.reloaded = self.pool.take_rollout_result().or(self.reloaded.take());
        }
        ended
    }

    /// The next worker the pool has started; there must be one.
    fn started(&mut self) -> ScriptedWorker {
        self.script.started().expect("the pool has started a worker")
    }

    /// Boots the next worker.
    async fn boot(&mut self) -> ScriptedWorker {
        self.settle().await;
        let worker = self.started();
        worker.spawned().hello(self.pool.generations.spec().plan.slots);
        self.settle().await;
        worker
    }

    fn dispatch(&mut self, number: RunId) {
        assert!(self.pool.capacity(Instant::now()) > 0, "there is a free slot");
        self.pool.dispatch(run(number), Instant::now());
    }

    fn activities(&self) -> Vec<WorkerActivity> {
        self.pool.status(Instant::now()).rows.iter().map(|row| row.state).collect()
    }

    fn capacity(&self) -> usize {
        self.pool.capacity(Instant::now())
    }
}

fn kills(script: &mut Script) -> Vec<ScriptedSignal> {
    script.guardian.signals()
}

fn outcomes(ended: &[EndedRun]) -> Vec<(RunId, &Outcome)> {
    ended.iter().map(|end| (end.run, &end.outcome)).collect()
}

fn coroutine(slots: usize) -> PoolSpec {
    PoolSpec { plan: Plan::coroutine(slots, 0), ..spec() }
}

fn elastic(min: usize, max: usize) -> PoolSpec {
    PoolSpec { plan: Plan::process_pool(min, max, 0), scaling: Scaling::default(), ..spec() }
}

/// Boots every worker the pool has started.
async fn boot_all(fixture: &mut Fixture) -> Vec<ScriptedWorker> {
    let mut workers = Vec::new();
    fixture.settle().await;
    while let Some(worker) = fixture.script.started() {
        worker.spawned().hello(1);
        workers.push(worker);
        fixture.settle().await;
    }
    workers
}
