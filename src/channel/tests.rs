//! The actor on a paused clock, against a model store with faults and scripted workers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::config::plan::Plan;
use crate::config::{Backoff, BackoffKind};
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
#[path = "../../tests/channel/faulty_store.rs"]
mod faulty_store;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const STOP_WAIT: Duration = Duration::from_secs(30);

type FaultPlan = Box<dyn FnMut(&str) -> Fault + Send>;

/// A channel with its store, its script and what it did.
struct Fixture {
    store: FaultyStore,
    faults: Arc<Mutex<FaultPlan>>,
    /// The calls to the store, except waits for work and searches for expired leases.
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
        let backoff = Backoff { kind: BackoffKind::Fixed, base: SECOND, max: SECOND, jitter: 0.0 };
        let slots = spec.plan.slots;
        let (pool, script) = pool(spec);
        let mut setup = Setup {
            name: "demo".into(),
            store: Arc::new(store.clone()),
            pool,
            settings: ChannelSettings {
                policy: Policy { max_attempts: 3, backoff },
                max_execute: None,
                sleep: 2 * SECOND,
                stop_wait: STOP_WAIT,
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

#[tokio::test(start_paused = true)]
async fn job_is_leased_run_and_settled() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(2).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.counts().await, (1, 1, 0), "one slot, one job");
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(2)]);
    worker.ended(2, failed());
    fixture.settle().await;
    assert_eq!(fixture.counts().await, (0, 0, 1));
    sleep(SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(3)], "the retry is due");
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_dead_owner_are_returned_first() {
    let mut fixture = Fixture::with(spec(), async |setup| {
        let dead = setup.store.join().await.unwrap();
        let id = setup.store.push(&[job()]).await.unwrap()[0].id();
        setup.store.take(&dead, 1, id).await.unwrap().expect("the job is waiting");
        setup.dead = vec![dead];
    })
    .await;
    let mut worker = fixture.boot().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let owners = fixture.store.model.owners();
    assert_eq!(*fixture.owners.lock().unwrap(), owners, "the dead owner is gone");
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_at_a_third_while_workers_are_busy() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.take_calls();
    let start = Instant::now();
    sleep(65 * SECOND).await;
    let calls = fixture.take_calls();
    assert!(names(&calls).iter().all(|name| *name == "turn"), "{calls:?}");
    let times: Vec<_> = calls.iter().map(|(_, at)| at.duration_since(start).as_secs_f64().round()).collect();
    assert_eq!(times, [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    assert_eq!(fixture.store.model.reap(Reap::Expired).await.unwrap(), 0);
    assert_eq!(fixture.counts().await, (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn lost_lease_kills_runs_and_joins_as_a_new_owner() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let owner = fixture.owners.lock().unwrap()[0].clone();
    fixture.store.model.reap(Reap::Owner(&owner)).await.unwrap();
    sleep(11 * SECOND).await;
    assert_eq!(fixture.script.guardian.signals(), [ScriptedSignal::Kill(worker.child)]);
    let owners = fixture.owners.lock().unwrap().clone();
    assert!(owners.len() == 2 && owners[1] != owner, "{owners:?}");

    // The result of the killed worker does not count.
    worker.ended(1, Outcome::Done).exited(Exit::Signal(9), "");
    fixture.settle().await;
    assert_eq!(fixture.counts().await.2, 0);
    sleep(SECOND).await;
    let mut successor = fixture.boot().await;
    assert_eq!(successor.frames(), [ScriptedFrame::Run(2)]);
    let meta = fixture.store.get(ids[0]).await.unwrap().unwrap().meta;
    assert_eq!((meta.lost, meta.attempts), (1, 0));
    successor.ended(2, Outcome::Done);
    fixture.settle().await;
    assert_eq!(fixture.counts().await, (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_lost_reply_are_fetched_and_run_once() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.take_calls();
    fixture.lose_next_reply();
    fixture.push(1).await;
    sleep(SECOND).await;
    assert_eq!(names(&fixture.take_calls())[..3], ["turn", "held", "fetch"]);
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.counts().await, (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn settlement_of_a_lost_reply_is_not_repeated() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(1).await;
    fixture.lose_next_reply();
    worker.ended(1, failed());
    fixture.settle().await;
    sleep(SECOND / 2).await;
    let job = fixture.store.get(ids[0]).await.unwrap().unwrap();
    assert_eq!((job.state, job.meta.attempts, job.meta.errors.len()), (JobState::Delayed, 1, 1));
    sleep(SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Run(2)]);
}

#[tokio::test(start_paused = true)]
async fn outage_backs_off_and_work_resumes_within_two_seconds() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.fail(|_| Fault::Lost);
    fixture.push(1).await;
    fixture.take_calls();
    sleep(20 * SECOND).await;
    let calls = fixture.take_calls().len();
    assert!((10..=25).contains(&calls), "{calls} calls in 20 s of an outage");
    assert!(fixture.status().await.store_error.is_some());
    assert_eq!(worker.frames(), []);
    fixture.fail(|_| Fault::None);
    sleep(2 * SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    assert_eq!(fixture.status().await.store_error, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_the_lease_may_be_lost() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(4, 0), ..spec() }).await;
    fixture.settle().await;
    let worker = fixture.script.started().unwrap();
    worker.spawned();
    fixture.fail(|call| if call == "turn" { Fault::Slow(40 * SECOND) } else { Fault::None });
    let mut worker = worker;
    worker.hello(4);
    fixture.settle().await;
    fixture.push(1).await;
    // The slow turn leases after 40 s; the lease counts from its start.
    sleep(41 * SECOND).await;
    assert_eq!(worker.frames(), []);
    fixture.fail(|_| Fault::None);
    sleep(42 * SECOND).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
}

#[tokio::test(start_paused = true)]
async fn prefetched_jobs_are_returned_after_half_a_second() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.fail(|call| if call == "turn" { Fault::Slow(10 * MS) } else { Fault::None });
    fixture.push(400).await;
    // Short jobs: as many are leased ahead as end during a turn.
    for _ in 0..200 {
        sleep(MS).await;
        for frame in worker.frames() {
            let ScriptedFrame::Run(run) = frame else { panic!("{frame:?}") };
            worker.ended(run, Outcome::Done);
        }
    }
    sleep(50 * MS).await;
    let status = fixture.status().await;
    assert!(status.running == 1 && status.ready > 0, "{status:?}");
    // The next job turned out to be long.
    sleep(400 * MS).await;
    assert_eq!(fixture.status().await.ready, status.ready);
    sleep(100 * MS).await;
    let status = fixture.status().await;
    assert_eq!((status.running, status.ready), (1, 0));
    let (waiting, reserved, done) = fixture.counts().await;
    assert_eq!((waiting + done, reserved), (399, 1));
}

#[tokio::test(start_paused = true)]
async fn stop_drains_interrupts_kills_and_leaves() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(2).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.stop(false).await;
    fixture.take_calls();
    sleep(STOP_WAIT - SECOND).await;
    assert!(!fixture.task.is_finished());
    assert_eq!(names(&fixture.take_calls()), ["turn", "turn"], "the lease is renewed during the stop wait");
    let left = fixture.ask(Command::Heartbeat).await.stop_left.unwrap();
    assert!((SECOND - 5 * MS..=SECOND).contains(&left), "{left:?}");
    assert!(!worker.frames().contains(&ScriptedFrame::Cancel(1)));
    sleep(SECOND).await;
    assert!(worker.frames().contains(&ScriptedFrame::Cancel(1)), "asked to end after the stop wait");
    sleep(6 * SECOND).await;
    assert!(fixture.script.guardian.signals().contains(&ScriptedSignal::Kill(worker.child)));
    worker.exited(Exit::Signal(9), "");
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.handed_back, stopped.settled, stopped.jobs_settled), (1, true, true));
    assert_eq!(fixture.store.model.owners(), []);
    for id in ids {
        let job = fixture.store.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.meta.attempts), (JobState::Waiting, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn forced_stop_kills_at_once_also_after_a_plain_one() {
    let mut fixture = Fixture::new(spec()).await;
    let worker = fixture.boot().await;
    fixture.push(1).await;
    fixture.stop(false).await;
    assert_eq!(fixture.script.guardian.signals(), []);
    fixture.stop(true).await;
    assert_eq!(fixture.script.guardian.signals(), [ScriptedSignal::Kill(worker.child)]);
    worker.exited(Exit::Signal(9), "");
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.handed_back, stopped.settled), (1, true));
}

#[tokio::test(start_paused = true)]
async fn stop_without_the_store_gives_up_after_five_seconds() {
    let mut fixture = Fixture::new(spec()).await;
    let worker = fixture.boot().await;
    fixture.push(1).await;
    fixture.fail(|_| Fault::Lost);
    fixture.stop(true).await;
    worker.exited(Exit::Signal(9), "");
    let start = Instant::now();
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.settled, stopped.jobs_settled), (false, false));
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn quiet_channel_leases_nothing_until_it_resumes() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(2, 0), ..spec() }).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    let reply = fixture.ask(Command::Quiet).await;
    assert_eq!((reply.was_quiet, reply.running, reply.handed_back), (false, 1, 0));
    fixture.push(2).await;
    fixture.take_calls();
    sleep(25 * SECOND).await;
    assert_eq!(names(&fixture.take_calls()), ["turn", "turn"], "the lease is renewed");
    assert_eq!((worker.frames(), fixture.counts().await), (vec![], (2, 1, 0)));
    assert!(fixture.ask(Command::Quiet).await.was_quiet);
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(fixture.counts().await, (2, 0, 1));
    assert!(fixture.ask(Command::Resume).await && !fixture.ask(Command::Resume).await);
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(2), ScriptedFrame::Run(3)]);
}

#[tokio::test(start_paused = true)]
async fn jobs_leased_while_quiet_arrives_are_returned_uncounted() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.fail(|call| if call == "turn" { Fault::Slow(300 * MS) } else { Fault::None });
    let ids = fixture.push(1).await;
    assert_eq!(fixture.ask(Command::Quiet).await.handed_back, 0);
    sleep(2 * SECOND).await;
    assert_eq!((worker.frames(), fixture.counts().await), (vec![], (1, 0, 0)));
    let meta = fixture.store.get(ids[0]).await.unwrap().unwrap().meta;
    assert_eq!((meta.attempts, meta.lost), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn cancel_of_a_running_job_is_answered_when_settled() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(1).await;
    let (reply, mut answer) = oneshot::channel();
    fixture.commands.send(Command::Cancel(ids[0], reply)).await.unwrap();
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Cancel(1)]);
    fixture.fail(|call| if call == "turn" { Fault::Slow(SECOND) } else { Fault::None });
    sleep(100 * MS).await;
    worker.ended(1, failed());
    sleep(900 * MS).await;
    assert!(answer.try_recv().is_err(), "the store has not recorded the end");
    sleep(SECOND).await;
    let Ok(HeldCancel::Cancelled { how, ms, reason }) = answer.try_recv() else {
        panic!("the job is cancelled")
    };
    assert_eq!((how, reason), (CancelMethod::Asked, FailReason::Cancelled));
    assert!((100..110).contains(&ms), "{ms} ms");
}

#[tokio::test(start_paused = true)]
async fn cancel_of_a_ready_job_settles_it_without_a_run() {
    let mut fixture = Fixture::new(PoolSpec { plan: Plan::coroutine(8, 0), ..spec() }).await;
    let _worker = fixture.boot().await;
    // More suspects than may run alone at a time: the others stay ready.
    let mut suspect = job();
    suspect.meta.suspect = true;
    fixture.store.push(&vec![suspect; 8]).await.unwrap();
    fixture.settle().await;
    let ready = fixture.status().await.ready;
    assert!(ready > 0, "some wait for a worker without other jobs");
    let reserved = fixture.store.list(JobState::Reserved, None, 100).await.unwrap().jobs;
    let mut waiting = None;
    for job in &reserved {
        let details = fixture.ask(|reply| Command::Details(Some(job.id), reply)).await;
        if details.job == Some(HeldJobStatus::Ready { alone: true }) {
            waiting = Some(job.id);
        }
    }
    let id = waiting.expect("a ready job");
    let result = fixture.ask(|reply| Command::Cancel(id, reply)).await;
    assert!(matches!(result, HeldCancel::Cancelled { how: CancelMethod::NotBegun, .. }), "{result:?}");
    let meta = fixture.store.get(id).await.unwrap().unwrap().meta;
    assert_eq!((meta.failed, meta.attempts), (Some(FailReason::Cancelled), 0));
    assert_eq!(fixture.ask(|reply| Command::Cancel(id, reply)).await, HeldCancel::NotHeld);
}

#[tokio::test(start_paused = true)]
async fn cleared_job_is_found_by_two_recounts_and_cancelled() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    fixture.take_calls();
    fixture.store.clear(Clear { reserved: true, ..Clear::default() }).await.unwrap();
    // The renewal finds the first mismatch, a turn one second later the second.
    sleep(10 * SECOND + SECOND / 2).await;
    assert_eq!((names(&fixture.take_calls()), worker.frames()), (vec!["turn"], vec![]));
    sleep(SECOND).await;
    assert_eq!(names(&fixture.take_calls()), ["turn", "held"]);
    assert_eq!(worker.frames(), [ScriptedFrame::Cancel(1)]);
    worker.ended(1, Outcome::Done);
    sleep(SECOND).await;
    let counts = fixture.store.status().await.unwrap();
    assert_eq!((counts.done, counts.cleared, counts.failed), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn scoped_channel_runs_one_job_and_ends() {
    let mut fixture = Fixture::with(spec(), async |setup| setup.scope = Scope::Next).await;
    fixture.store.push(&vec![job(); 2]).await.unwrap();
    let mut worker = fixture.boot().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1)]);
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    worker.exited(Exit::Code(0), "");
    let stopped = fixture.task.await.unwrap();
    assert_eq!((stopped.outcome, stopped.settled), (Some(Outcome::Done), true));
    assert_eq!(fixture.store.status().await.unwrap().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn lock_is_released_by_the_turn_after_its_run() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    let ids = fixture.push(2).await;
    let claim = LimitClaim::Lock { key: "k".to_owned(), limit: 1 };
    worker.frame(FromWorker::Claim { run: 1, ask: 7, claim });
    fixture.settle().await;
    assert_eq!(worker.frames(), [ScriptedFrame::Run(1), ScriptedFrame::Answer(7)]);

    // Another owner gets the lock only after the run.
    let other = fixture.store.model.join().await.unwrap();
    fixture.store.model.take(&other, 1, ids[1]).await.unwrap().expect("the job is waiting");
    let claims = [Claim { id: ids[1], key: "k".to_owned(), kind: ClaimKind::Lock { limit: 1 } }];
    let decision = fixture.store.model.claim(&other, &claims).await.unwrap();
    assert!(matches!(decision[..], [LimitDecision::Wait(_)]), "{decision:?}");
    worker.ended(1, Outcome::Done);
    fixture.settle().await;
    assert_eq!(fixture.store.model.claim(&other, &claims).await.unwrap(), [LimitDecision::Granted]);
}

#[tokio::test(start_paused = true)]
async fn jobs_pushed_by_a_run_wait_in_its_channel() {
    let mut fixture = Fixture::new(spec()).await;
    let mut worker = fixture.boot().await;
    fixture.push(1).await;
    let jobs = vec![r#"{"job":"demo"}"#.to_owned()];
    worker.frame(FromWorker::Push { run: 1, ask: 1, channel: Some("demo".to_owned()), jobs: jobs.clone() });
    // There is no access to other channels: the request is refused, and adds no job.
    worker.frame(FromWorker::Push { run: 1, ask: 2, channel: Some("other".to_owned()), jobs });
    fixture.settle().await;
    let mut frames = worker.frames();
    frames.sort_by_key(|frame| format!("{frame:?}"));
    assert_eq!(frames, [ScriptedFrame::Answer(1), ScriptedFrame::Answer(2), ScriptedFrame::Run(1)]);
    assert_eq!(fixture.counts().await, (1, 1, 0));
}
