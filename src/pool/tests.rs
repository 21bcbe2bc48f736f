//! The pool on a paused clock, against a scripted guardian and scripted workers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::Pool;
use super::rollout::generation::{RolloutError, RolloutSummary};
use super::runs::{EndedRun, Run};
use super::scripted::{
    Exit, Script, ScriptedFrame, ScriptedSignal, ScriptedWorker, next_generation, pool, spec,
};
use super::sizing::autoscaler::ScaleOrder;
use super::sizing::sizer::Demand;
use super::spec::{PoolSpec, Program};
use super::status::WorkerActivity;
use crate::config::plan::{Plan, Recycling, Scaling};
use crate::job::{Failure, JobId, Outcome, Payload};
use crate::wire::RunId;

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

    /// Lets the pool work for this long; answers the ended runs.
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

#[tokio::test(start_paused = true)]
async fn worker_takes_runs_after_its_hello() {
    let mut fixture = Fixture::new(spec());
    fixture.settle().await;
    let mut worker = fixture.started();
    assert!(fixture.script.started().is_none(), "the plan asks for one worker");
    assert_eq!((fixture.activities(), fixture.capacity()), (vec![WorkerActivity::Booting], 0));
    // The hello may arrive before the guardian reports the process.
    worker.hello(1);
    fixture.settle().await;
    assert_eq!(fixture.activities(), [WorkerActivity::Booting]);
    worker.spawned();
    fixture.settle().await;
    assert_eq!((fixture.activities(), fixture.capacity()), (vec![WorkerActivity::Idle], 1));

    fixture.dispatch(1);
    assert_eq!(fixture.capacity(), 0);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let ended = {
        tokio::time::advance(SECOND).await;
        worker.ended(1, Outcome::Done);
        fixture.settle().await
    };
    assert_eq!(ended, [EndedRun { run: 1, id: JobId(101), outcome: Outcome::Done, took: SECOND }]);
    assert_eq!((fixture.activities(), fixture.capacity()), (vec![WorkerActivity::Idle], 1));
}

#[tokio::test(start_paused = true)]
async fn worker_without_hello_is_killed_at_the_boot_timeout() {
    let mut fixture = Fixture::new(spec());
    fixture.settle().await;
    let worker = fixture.started();
    worker.spawned();
    fixture.pass(10 * SECOND - GRACE).await;
    assert_eq!(kills(&mut fixture.script), []);
    fixture.pass(2 * GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    assert!(fixture.pool.start_error(Instant::now()).unwrap().contains("no hello within 10s"));
}

#[tokio::test(start_paused = true)]
async fn failed_boots_back_off_degrade_and_recover() {
    let mut fixture = Fixture::new(spec());
    let mut starts = Vec::new();
    for _ in 0..5 {
        fixture.pass(6 * SECOND).await;
        let worker = fixture.started();
        assert!(fixture.script.started().is_none(), "one boot at a time");
        starts.push(Instant::now());
        worker.spawned().exited(Exit::Code(1), "no such module");
        fixture.settle().await;
    }
    let status = fixture.pool.status(Instant::now());
    assert!(
        status.degraded && status.next_boot_ms.is_some_and(|ms| (1_600..=2_000).contains(&ms)),
        "{status:?}"
    );
    let error = "it exited with 1 before it was ready: no such module";
    assert_eq!(fixture.pool.start_error(Instant::now()), Some(error));

    // The program works again: its first worker takes jobs only after a probation.
    fixture.pass(2 * SECOND).await;
    let worker = fixture.started();
    worker.spawned().hello(1);
    fixture.settle().await;
    assert!(fixture.pool.is_degraded(Instant::now()) && fixture.capacity() == 0);
    fixture.pass(SECOND).await;
    assert!(!fixture.pool.is_degraded(Instant::now()) && fixture.capacity() == 1);
}

#[tokio::test(start_paused = true)]
async fn program_that_cannot_be_started_is_a_failed_boot() {
    let mut fixture = Fixture::new(spec());
    fixture.settle().await;
    fixture.started().spawn_failed("could not run \"worker\": no such file");
    fixture.settle().await;
    assert!(fixture.pool.is_empty() && fixture.script.started().is_none());
    assert_eq!(fixture.pool.start_error(Instant::now()), Some("could not run \"worker\": no such file"));
    fixture.pass(SECOND / 4).await;
    fixture.started();
}

#[tokio::test(start_paused = true)]
async fn timed_out_run_is_cancelled_then_its_worker_killed() {
    let mut fixture = Fixture::new(spec());
    let mut worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.pass(LIMIT - GRACE).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.pass(GRACE).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Cancel(1)]);
    assert_eq!(kills(&mut fixture.script), []);
    fixture.pass(GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    let ended = fixture.settle().await;
    assert_eq!(outcomes(&ended), [(1, &Outcome::TimedOut { limit: LIMIT })]);
    assert_eq!(ended[0].took, LIMIT + GRACE);
}

#[tokio::test(start_paused = true)]
async fn stuck_run_lets_its_siblings_finish() {
    let mut fixture = Fixture::new(coroutine(3));
    let mut worker = fixture.boot().await;
    for number in 1..=3 {
        fixture.dispatch(number);
    }
    fixture.pool.cancel(1, Instant::now());
    fixture.pass(GRACE).await;
    assert_eq!(fixture.activities()[0], WorkerActivity::Retiring);
    assert_eq!(fixture.pool.worker_counts().stuck_slots, 1);
    assert_eq!(
        worker.frames(),
        [1, 2, 3].map(ScriptedFrame::Run).into_iter().chain([ScriptedFrame::Cancel(1)]).collect::<Vec<_>>()
    );
    // A replacement boots while the siblings finish.
    let replacement = fixture.started();
    replacement.spawned().hello(3);
    fixture.settle().await;
    assert_eq!(fixture.capacity(), 0, "the runs of the retiring worker count, the stuck one too");
    worker.ended(2, Outcome::Done);
    assert_eq!(outcomes(&fixture.settle().await), [(2, &Outcome::Done)]);
    assert_eq!((fixture.capacity(), kills(&mut fixture.script)), (1, vec![]));
    worker.ended(3, Outcome::Done);
    fixture.settle().await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    let ended = fixture.settle().await;
    assert_eq!(outcomes(&ended), [(1, &Outcome::Cancelled { killed: true })]);
}

#[tokio::test(start_paused = true)]
async fn crash_is_counted_only_for_a_run_that_was_alone() {
    let mut fixture = Fixture::new(coroutine(2));
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.dispatch(2);
    worker.exited(Exit::Signal(11), "");
    let mut ended = fixture.settle().await;
    ended.sort_by_key(|end| end.run);
    assert_eq!(outcomes(&ended), [(1, &Outcome::CrashedInCompany), (2, &Outcome::CrashedInCompany)]);
    let worker = fixture.boot().await;
    fixture.dispatch(3);
    worker.exited(Exit::Signal(11), "");
    let how = "was killed by SIGSEGV without a result".to_owned();
    assert_eq!(outcomes(&fixture.settle().await), [(3, &Outcome::Crashed { how })]);
}

#[tokio::test(start_paused = true)]
async fn suspect_waits_for_a_worker_of_its_own() {
    let mut fixture = Fixture::new(coroutine(2));
    assert!(!fixture.pool.can_dispatch_alone(Instant::now()), "no handler is known yet");
    fixture.boot().await;
    assert!(fixture.pool.can_dispatch_alone(Instant::now()));
    fixture.pool.dispatch_alone(run(1), Instant::now());
    let mut isolated = fixture.started();
    fixture.pass(SECOND).await;
    assert_eq!(isolated.frames(), [], "frames wait for the hello");
    isolated.spawned().hello(2);
    fixture.settle().await;
    assert_eq!(isolated.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.capacity(), 2, "the worker of the plan is free");
    tokio::time::advance(SECOND).await;
    isolated.ended(1, Outcome::Done);
    let ended = fixture.settle().await;
    assert_eq!((outcomes(&ended), ended[0].took), (vec![(1, &Outcome::Done)], SECOND));
    assert_eq!(isolated.frames(), [ScriptedFrame::Stop], "without a suspect it stops");
}

#[tokio::test(start_paused = true)]
async fn worker_is_replaced_after_its_number_of_jobs() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::process_pool(1, 1, 2), ..spec() });
    let mut worker = fixture.boot().await;
    for number in 1..=2 {
        fixture.dispatch(number);
        fixture.settle().await;
        worker.ended(number, Outcome::Done);
        fixture.settle().await;
    }
    let successor = fixture.started();
    successor.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Run(2), ScriptedFrame::Stop]);
    fixture.pass(5 * SECOND).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)], "it ignored the stop");
    worker.exited(Exit::Signal(9), "");
    fixture.settle().await;
    assert_eq!(fixture.activities(), [WorkerActivity::Idle]);
}

#[tokio::test(start_paused = true)]
async fn worker_is_replaced_at_its_age_limit() {
    let recycling = Recycling { max_life: Some(100 * SECOND), ..Recycling::default() };
    let mut fixture = Fixture::new(PoolSpec { recycling, ..spec() });
    let mut worker = fixture.boot().await;
    fixture.pass(89 * SECOND).await;
    assert!(fixture.script.started().is_none(), "each limit is lowered by a tenth at most");
    fixture.pass(11 * SECOND).await;
    let successor = fixture.started();
    assert_eq!(worker.frames(), [], "it serves until its successor is ready");
    successor.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Stop]);
    assert_eq!(fixture.pool.status(Instant::now()).recycled.life, 1);
}

#[tokio::test(start_paused = true)]
async fn memory_limits_replace_and_kill() {
    const MIB: u64 = 1 << 20;
    let recycling = Recycling {
        memory_limit: Some(100 * MIB),
        memory_hard_limit: Some(200 * MIB),
        ..Recycling::default()
    };
    let mut fixture = Fixture::new(PoolSpec { recycling, ..spec() });
    let mut worker = fixture.boot().await;
    fixture.dispatch(1);
    worker.uses(150 * MIB);
    fixture.settle().await;
    let successor = fixture.started();
    assert_eq!(fixture.pool.status(Instant::now()).recycled.memory, 1);
    worker.ended(1, Outcome::Done);
    successor.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Stop]);
    worker.exited(Exit::Code(0), "");
    fixture.settle().await;

    fixture.dispatch(2);
    successor.uses(201 * MIB);
    fixture.settle().await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(successor.child)]);
    successor.exited(Exit::Signal(9), "");
    let ended = fixture.settle().await;
    assert!(
        matches!(&ended[0].outcome, Outcome::Crashed { how } if how.contains("more than memory_hard_limit = 200 MiB")),
        "{ended:?}"
    );
    assert_eq!(fixture.pool.status(Instant::now()).recycled.memory_hard, 1);
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

#[tokio::test(start_paused = true)]
async fn backlog_raises_the_pool_at_once_and_cool_down_lowers_it() {
    let mut fixture = Fixture::new(elastic(1, 4));
    assert_eq!(boot_all(&mut fixture).await.len(), 1);
    let demand = Demand { waiting: 1_000, job: Some(SECOND) };
    fixture.pool.set_demand(demand, Instant::now());
    let mut added = boot_all(&mut fixture).await;
    assert_eq!((added.len(), fixture.capacity()), (3, 4));
    fixture.pool.set_demand(Demand { waiting: 0, job: Some(SECOND) }, Instant::now());
    fixture.pass(29 * SECOND).await;
    assert_eq!(fixture.capacity(), 4, "the cool-down takes 30 s");
    fixture.pass(2 * SECOND).await;
    assert_eq!(fixture.capacity(), 1);
    for worker in &mut added {
        assert_eq!(worker.frames(), [ScriptedFrame::Stop], "the youngest stop");
    }
    let status = fixture.pool.status(Instant::now());
    assert_eq!((status.scaled_up, status.scaled_down), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn manual_minimum_is_kept_until_it_is_changed() {
    let mut fixture = Fixture::new(elastic(1, 4));
    boot_all(&mut fixture).await;
    let minimum = fixture.pool.scale(ScaleOrder::Exactly(3), Instant::now()).unwrap();
    assert_eq!((minimum.fewest, minimum.before, minimum.clamped), (3, 1, false));
    assert_eq!(boot_all(&mut fixture).await.len(), 2);
    fixture.pass(120 * SECOND).await;
    assert_eq!((fixture.capacity(), fixture.pool.manual_minimum()), (3, Some(3)));
    fixture.pool.scale(ScaleOrder::Change(-2), Instant::now()).unwrap();
    fixture.pass(31 * SECOND).await;
    assert_eq!((fixture.capacity(), fixture.pool.manual_minimum()), (1, None));
    let exec = PoolSpec { program: Program::Exec(vec!["job".to_owned()]), ..spec() };
    assert!(Fixture::new(exec).pool.scale(ScaleOrder::Exactly(1), Instant::now()).is_err());
}

#[tokio::test(start_paused = true)]
async fn reload_replaces_workers_after_the_canary() {
    let mut fixture = Fixture::new(elastic(2, 2));
    let mut old = boot_all(&mut fixture).await;
    fixture.dispatch(1);
    fixture.settle().await;
    let next = next_generation(&fixture.pool, elastic(2, 2));
    fixture.pool.reload(next, Instant::now());
    let canary = fixture.started();
    assert_eq!((canary.generation, fixture.pool.status(Instant::now()).generation), (2, 1));
    canary.spawned().hello(1);
    fixture.settle().await;
    let status = fixture.pool.status(Instant::now());
    assert!(status.generation == 2 && status.reload.is_some_and(|reload| reload.proved), "{status:?}");
    assert_eq!(old[1].frames(), [ScriptedFrame::Stop], "the idle worker goes first");
    old[1].exited(Exit::Code(0), "");
    boot_all(&mut fixture).await;
    assert_eq!(old[0].frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.activities()[0], WorkerActivity::Draining);
    assert!(fixture.reloaded.take().is_none());
    old[0].ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(old[0].frames(), [ScriptedFrame::Stop]);
    old[0].exited(Exit::Code(0), "");
    fixture.settle().await;
    let summary = fixture.reloaded.take().unwrap().unwrap();
    assert_eq!((summary.generation, summary.workers.len(), summary.handed_back), (2, 2, 0));
    assert!(summary.workers.iter().all(|pair| pair.old.is_some() && pair.new.is_some()), "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn reload_interrupts_jobs_that_outlast_the_stop_wait() {
    let mut fixture = Fixture::new(spec());
    let mut old = fixture.boot().await;
    fixture.pool.dispatch(Run { timeout: None, ..run(1) }, Instant::now());
    let next = next_generation(&fixture.pool, spec());
    fixture.pool.reload(next, Instant::now());
    fixture.started().spawned().hello(1);
    fixture.pass(30 * SECOND - GRACE).await;
    assert_eq!(old.frames(), [ScriptedFrame::Run(1)]);
    fixture.pass(2 * GRACE).await;
    assert_eq!(old.frames(), [ScriptedFrame::Cancel(1), ScriptedFrame::Stop]);
    fixture.pass(5 * SECOND).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(old.child)]);
    old.exited(Exit::Signal(9), "");
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Interrupted)]);
    assert_eq!(fixture.reloaded.take().unwrap().unwrap().handed_back, 1);
}

#[tokio::test(start_paused = true)]
async fn failed_canary_keeps_the_old_generation() {
    let mut fixture = Fixture::new(spec());
    let mut old = fixture.boot().await;
    let next = next_generation(&fixture.pool, spec());
    fixture.pool.reload(next, Instant::now());
    fixture.started().spawned().exited(Exit::Code(3), "syntax error");
    fixture.settle().await;
    let error = fixture.reloaded.take().unwrap().unwrap_err();
    let why = "it exited with 3 before it was ready: syntax error".to_owned();
    assert_eq!(error, RolloutError::Failed(why));
    let status = fixture.pool.status(Instant::now());
    assert!(status.generation == 1 && status.reload.is_none() && fixture.capacity() == 1);
    assert_eq!(old.frames(), []);
    assert!(fixture.script.started().is_none(), "the failure delays no boot of the old generation");
}

#[tokio::test(start_paused = true)]
async fn boot_failure_during_replacement_rolls_back() {
    let mut fixture = Fixture::new(elastic(3, 3));
    let mut old = boot_all(&mut fixture).await;
    for number in 1..=3 {
        fixture.dispatch(number);
    }
    let next = next_generation(&fixture.pool, elastic(3, 3));
    fixture.pool.reload(next, Instant::now());
    let mut canary = fixture.started();
    canary.spawned().hello(1);
    fixture.settle().await;
    old[0].ended(1, Outcome::Done);
    fixture.settle().await;
    old[0].exited(Exit::Code(0), "");
    fixture.settle().await;
    let second = fixture.started();
    assert_eq!(second.generation, 2);
    second.spawned().exited(Exit::Code(1), "");
    fixture.settle().await;
    assert!(matches!(fixture.reloaded.take(), Some(Err(RolloutError::Failed(_)))));
    let third = fixture.started();
    assert_eq!((third.generation, fixture.pool.status(Instant::now()).generation), (1, 1));
    third.spawned().hello(1);
    fixture.settle().await;
    assert_eq!(canary.frames(), [ScriptedFrame::Stop], "the worker of the failed generation is replaced");
    for worker in &mut old[1..] {
        assert!(!worker.frames().contains(&ScriptedFrame::Stop), "the old workers stay");
    }
}

#[tokio::test(start_paused = true)]
async fn stop_ladder_waits_interrupts_and_kills() {
    let mut fixture = Fixture::new(coroutine(2));
    let mut worker = fixture.boot().await;
    fixture.pool.dispatch(Run { timeout: None, ..run(1) }, Instant::now());
    fixture.pool.dispatch(Run { timeout: None, ..run(2) }, Instant::now());
    fixture.pool.close(Instant::now());
    fixture.pass(60 * SECOND).await;
    assert_eq!(fixture.capacity(), 0);
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Run(2)], "runs may finish");
    fixture.pool.interrupt(Instant::now());
    fixture.settle().await;
    let frames = worker.frames();
    assert!(
        frames.contains(&ScriptedFrame::Cancel(1)) && frames.ends_with(&[ScriptedFrame::Stop]),
        "{frames:?}"
    );
    let error = Outcome::Failed { error: "cancelled".to_owned(), next: crate::job::RetryDecision::ByPolicy };
    worker.ended(1, error);
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Interrupted)], "not the job's fault");
    fixture.pass(5 * SECOND).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    assert_eq!(outcomes(&fixture.settle().await), [(2, &Outcome::Interrupted)]);
    assert!(fixture.pool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closed_pool_stops_idle_workers_and_ends_a_reload() {
    let mut fixture = Fixture::new(spec());
    let mut worker = fixture.boot().await;
    let next = next_generation(&fixture.pool, spec());
    fixture.pool.reload(next, Instant::now());
    let canary = fixture.started();
    fixture.pool.close(Instant::now());
    fixture.settle().await;
    assert_eq!(fixture.reloaded.take(), Some(Err(RolloutError::Stopping)));
    assert_eq!(worker.frames(), [ScriptedFrame::Stop]);
    assert_eq!(
        kills(&mut fixture.script),
        [ScriptedSignal::Kill(canary.child)],
        "a booting worker is killed"
    );
}

#[tokio::test(start_paused = true)]
async fn lost_lease_drops_runs_and_kills_workers() {
    let mut fixture = Fixture::new(spec());
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    fixture.pool.kill_all(true);
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    assert_eq!(fixture.settle().await, [], "the job belongs to another owner");
    fixture.started();
}

#[tokio::test(start_paused = true)]
async fn dead_guardian_interrupts_runs_without_a_failed_boot() {
    let mut fixture = Fixture::new(spec());
    let worker = fixture.boot().await;
    fixture.dispatch(1);
    worker.abandoned();
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Interrupted)]);
    assert_eq!(fixture.pool.start_error(Instant::now()), None);
    fixture.started();
}

#[tokio::test(start_paused = true)]
async fn worker_that_closes_its_socket_and_stays_is_killed() {
    let mut fixture = Fixture::new(spec());
    let worker = fixture.boot().await;
    worker.hung_up();
    fixture.pass(SECOND - GRACE).await;
    assert_eq!((fixture.capacity(), kills(&mut fixture.script)), (0, vec![]));
    fixture.pass(2 * GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(worker.child)]);
}

#[tokio::test(start_paused = true)]
async fn programs_per_job_start_with_their_run() {
    let exec = PoolSpec { program: Program::Exec(vec!["job".to_owned()]), ..elastic(1, 2) };
    let mut fixture = Fixture::new(exec);
    fixture.settle().await;
    assert!(fixture.script.started().is_none() && fixture.capacity() == 2);
    fixture.dispatch(1);
    fixture.dispatch(2);
    let (first, second) = (fixture.started(), fixture.started());
    first.spawned().exited(Exit::Code(0), "");
    second.spawned();
    assert_eq!(outcomes(&fixture.settle().await), [(1, &Outcome::Done)]);
    fixture.pass(LIMIT).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Terminate(second.child)]);
    fixture.pass(GRACE).await;
    assert_eq!(kills(&mut fixture.script), [ScriptedSignal::Kill(second.child)]);
    second.exited(Exit::Signal(9), "");
    assert_eq!(outcomes(&fixture.settle().await), [(2, &Outcome::TimedOut { limit: LIMIT })]);
}
