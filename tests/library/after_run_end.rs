//! Threads, tasks, requests and locks that outlive their run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aint_queue::engine::channel::Scope;
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{FailReason, JobService, LimitClaim, LimitDecision, Outcome, Priority, Timestamp};
use aint_queue::middleware::CircuitBreaker;
use aint_queue::store::model::Model;
use aint_queue::store::{JobState, Reap, Store as _};
use aint_queue::{App, AsyncJob, Context, FailedFn, Job, JobError};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

use crate::cases::{LibraryFixture, start_app, start_app_with, with};
use crate::faulty_store::{Fault, FaultyStore};
use crate::fixture::{Options, job, until_async};
use crate::jobs::{Blocking, write};

pub fn register(app: App) -> App {
    app.async_job::<Leaves>()
        .job::<Abandoned>()
        .job::<Nested>()
        .async_job::<DropsBadly>()
        .async_job::<Trial>()
        .async_job::<Straggler>()
        .async_job::<Rival>()
        .job::<LateFailure>()
        .async_job::<Collector>()
        .async_job::<Thief>()
        .async_job::<Crowd>()
}

async fn until_logged(
    fixture: &LibraryFixture,
    what: &str,
    wanted: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    until_async(what, async || {
        let log = fixture.log();
        if wanted(&log) { Ok(log) } else { Err(log) }
    })
    .await
}

#[derive(Serialize, Deserialize)]
struct Leaves {}
impl AsyncJob for Leaves {
    const NAME: &'static str = "leaves";
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let ctx = ctx.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let asked: Vec<_> = (0..20).map(|_| ctx.push(&Blocking { text: String::new() })).collect();
            for answer in asked {
                write(&format!("{:?}", answer.await));
            }
            write("told");
        });
        Ok(())
    }
}

/// A request for a run that has ended fails at once and affects neither its worker nor the worker's other runs.
pub async fn requests_after_run_end_are_refused() {
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    fixture.push(job("leaves", "{}")).await;
    fixture.done(1).await;
    let pids = fixture.channel.report().await.pids;
    let log = until_logged(&fixture, "an answer", |log| log.last().is_some_and(|line| line == "told")).await;
    assert_eq!(log[..20], ["Err(Gone)"; 20]);
    assert_eq!(fixture.channel.report().await.pids, pids);
    fixture.channel.stop(false).await;
}

#[derive(Serialize, Deserialize)]
struct Abandoned {}
impl Job for Abandoned {
    const NAME: &'static str = "abandoned";
    const MAX_ATTEMPTS: Option<u32> = Some(2);
    fn handle(self, _: &Context) -> Result<(), JobError> {
        write("in");
        std::thread::sleep(Duration::from_millis(400));
        write("out");
        Ok(())
    }
    fn layers(service: JobService) -> JobService {
        service.wrap(|call, next| async move {
            tokio::time::timeout(Duration::from_millis(50), next.run(call)).await.map_err(JobError::from)?
        })
    }
}

/// A layer that stops waiting for a blocking handler does not end its thread: the slot stays busy until the thread ends.
pub async fn run_lasts_as_long_as_its_thread() {
    for plan in [Plan::coroutine(5, 0), Plan::process_pool(1, 1, 0)] {
        let fixture = start_app(plan).await;
        fixture.push(job("abandoned", "{}")).await;
        fixture.failed(1).await;
        assert_eq!(fixture.log(), ["in", "out", "in", "out"], "{plan:?}");
        fixture.channel.stop(false).await;
    }
}

#[derive(Serialize, Deserialize)]
struct Nested {}
impl Job for Nested {
    const NAME: &'static str = "nested";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(3));
    fn handle(self, _: &Context) -> Result<(), JobError> {
        // File access and name resolution in asynchronous code use such a thread.
        let text = tokio::runtime::Handle::current().block_on(tokio::task::spawn_blocking(|| "nested"))?;
        write(text);
        Ok(())
    }
}

pub async fn blocking_handler_can_await_async_code() {
    let fixture = start_app(Plan::process_pool(1, 1, 0)).await;
    fixture.push(job("nested", "{}")).await;
    let status = fixture.channel.until("it to end", |s| s.done + s.failed == 1).await;
    assert_eq!(status.done, 1);
    fixture.channel.stop(false).await;
}

struct PanicsAtDrop;
impl Drop for PanicsAtDrop {
    fn drop(&mut self) {
        panic!("while it was dropped");
    }
}

#[derive(Serialize, Deserialize)]
struct DropsBadly {}
impl AsyncJob for DropsBadly {
    const NAME: &'static str = "drops_badly";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    const TIMEOUT: Option<Duration> = Some(Duration::from_millis(150));
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        let _guard = PanicsAtDrop;
        std::future::pending().await
    }
}

pub async fn panic_in_drop_of_cancelled_handler_ends_run() {
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    fixture.push(job("asynchronous", r#"{"text":"a"}"#)).await;
    fixture.done(1).await;
    let pids = fixture.channel.report().await.pids;
    let id = fixture.push(job("drops_badly", "{}")).await;
    fixture.failed(1).await;
    assert_eq!(fixture.channel.get(id).await.meta.failed, Some(FailReason::Timeout));
    assert_eq!(fixture.channel.report().await.pids, pids, "its worker stays");
    fixture.channel.stop(false).await;
}

#[derive(Serialize, Deserialize)]
struct Trial {
    ok: bool,
}
impl AsyncJob for Trial {
    const NAME: &'static str = "trial";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        write("begins");
        if self.ok { std::future::pending().await } else { Err("broken".into()) }
    }
    fn layers(service: JobService) -> JobService {
        service.with(CircuitBreaker::new(1, Duration::from_millis(50)))
    }
}

/// A breaker whose trial run was lost with its owner allows another trial.
pub async fn breaker_does_not_wait_for_a_lost_trial() {
    let mut options = Options::new(Plan::coroutine(5, 0));
    let model = Arc::new(Model::ticking(Timestamp(1_790_000_000_000_000)));
    options.store = Arc::clone(&model) as _;
    let fixture = start_app_with(options).await;
    fixture.push(job("trial", r#"{"ok":false}"#)).await;
    fixture.failed(1).await;
    fixture.push(job("trial", r#"{"ok":true}"#)).await;
    until_logged(&fixture, "the trial", |log| log.len() == 2).await;
    let owner = model.owners().pop().unwrap();
    model.reap(Reap::Owner(&owner)).await.unwrap();
    // The next turn reports it; a push causes one.
    fixture.push(job("asynchronous", r#"{"text":"a"}"#)).await;
    until_logged(&fixture, "another trial", |log| log.iter().filter(|line| *line == "begins").count() == 3)
        .await;
    fixture.channel.stop(true).await;
}

fn lock() -> LimitClaim {
    LimitClaim::Lock { key: "k".into(), limit: 1 }
}

#[derive(Serialize, Deserialize)]
struct Straggler {}
impl AsyncJob for Straggler {
    const NAME: &'static str = "straggler";
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        static BEFORE: AtomicBool = AtomicBool::new(false);
        if !BEFORE.swap(true, Ordering::Relaxed) {
            drop(ctx.claim(lock()));
            return Err(JobError::release(Duration::ZERO));
        }
        assert_eq!(ctx.claim(lock()).await?, LimitDecision::Granted);
        write("in straggler");
        tokio::time::sleep(Duration::from_millis(900)).await;
        write("out straggler");
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Rival {}
impl AsyncJob for Rival {
    const NAME: &'static str = "rival";
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        if ctx.claim(lock()).await? != LimitDecision::Granted {
            return Err(JobError::release(Duration::from_millis(20)));
        }
        write("rival");
        Ok(())
    }
}

/// The response to a claim of an earlier run does not affect a later run of the same job.
pub async fn late_grant_does_not_free_the_next_runs_lock() {
    let mut first = true;
    let slow_first_claim = move |call: &str| match call {
        "claim" if std::mem::take(&mut first) => Fault::Slow(Duration::from_millis(400)),
        _ => Fault::None,
    };
    let mut options = Options::new(Plan::coroutine(5, 0));
    options.store =
        Arc::new(FaultyStore::new(Model::ticking(Timestamp(1_790_000_000_000_000)), slow_first_claim));
    let fixture = start_app_with(options).await;
    fixture.push(job("straggler", "{}")).await;
    until_logged(&fixture, "the second run", |log| !log.is_empty()).await;
    fixture.push(job("rival", "{}")).await;
    fixture.done(2).await;
    assert_eq!(fixture.log(), ["in straggler", "out straggler", "rival"]);
    fixture.channel.stop(false).await;
}

const COLLECTORS: usize = 10;
const LOCKS: usize = 60;

fn locks(of: usize) -> impl Iterator<Item = LimitClaim> {
    (0..LOCKS).map(move |n| LimitClaim::Lock { key: format!("{of}:{n}"), limit: 1 })
}

#[derive(Serialize, Deserialize)]
struct Collector {
    n: usize,
}
impl AsyncJob for Collector {
    const NAME: &'static str = "collector";
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        static BEFORE: AtomicUsize = AtomicUsize::new(0);
        static ALL: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(COLLECTORS));
        for lock in locks(self.n) {
            assert_eq!(ctx.claim(lock).await?, LimitDecision::Granted);
        }
        if BEFORE.fetch_add(1, Ordering::Relaxed) < COLLECTORS {
            ALL.wait().await;
            return Err(JobError::release(Duration::ZERO));
        }
        write("has all");
        // The locks are held until the test ends, however long the other job takes for its claims.
        std::future::pending().await
    }
}

#[derive(Serialize, Deserialize)]
struct Thief {}
impl AsyncJob for Thief {
    const NAME: &'static str = "thief";
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let mut stolen = 0;
        for lock in (0..COLLECTORS).flat_map(locks) {
            stolen += usize::from(matches!(ctx.claim(lock).await, Ok(LimitDecision::Granted)));
        }
        write(&format!("stole {stolen}"));
        Ok(())
    }
}

/// More keys are freed at once than fit in one turn, and the jobs that held them run again at once.
pub async fn claims_are_not_freed_for_an_earlier_run() {
    let slow_turns = |call: &str| match call {
        "turn" => Fault::Slow(Duration::from_millis(100)),
        _ => Fault::None,
    };
    let mut options = Options::new(Plan::coroutine(20, 0));
    options.max_execute = None;
    options.store = Arc::new(FaultyStore::new(Model::ticking(Timestamp(1_790_000_000_000_000)), slow_turns));
    let fixture = start_app_with(options).await;
    let jobs: Vec<_> = (0..COLLECTORS).map(|n| job("collector", &format!(r#"{{"n":{n}}}"#))).collect();
    fixture.channel.push(&jobs).await;
    until_logged(&fixture, "all of them", |log| log.len() == COLLECTORS).await;
    // The remaining keys are freed a few turns later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    fixture.push(job("thief", "{}")).await;
    until_logged(&fixture, "the claims of the other job", |log| log.len() > COLLECTORS).await;
    assert_eq!(fixture.log()[COLLECTORS], "stole 0");
    fixture.channel.stop(true).await;
}

#[derive(Serialize, Deserialize)]
struct Crowd {}
impl AsyncJob for Crowd {
    const NAME: &'static str = "crowd";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let asked: Vec<_> = (0..200).map(|n| ctx.push(&Blocking { text: n.to_string() })).collect();
        for id in asked {
            id.await?;
        }
        Ok(())
    }
}

pub async fn run_may_make_many_requests_at_once() {
    let fixture = start_app(Plan::process_pool(1, 1, 0)).await;
    let id = fixture.push(job("crowd", "{}")).await;
    let ended = fixture.channel.until("it to end", |s| s.failed == 1 || s.done == 201).await;
    assert_eq!(ended.failed, 0, "{:?}", fixture.channel.get(id).await.meta.last_error());
    fixture.channel.stop(false).await;
}

#[derive(Serialize, Deserialize)]
struct LateFailure {}
impl Job for LateFailure {
    const NAME: &'static str = "late_failure";
    fn handle(self, _: &Context) -> Result<(), JobError> {
        write("begins");
        std::thread::sleep(Duration::from_millis(300));
        Err(JobError::never("no use"))
    }
    fn failed() -> Option<FailedFn<Self>> {
        Some(|_, _, _| {
            write("callback");
            Ok(())
        })
    }
}

/// `queue:run` runs the next job and its failed callback, not another job in between.
pub async fn callback_does_not_count_as_the_next_job() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    let id = options.store.push(&[job("late_failure", "{}")]).await.unwrap()[0].id();
    options.scope = Scope::Next;
    let store = options.store.clone();
    let fixture = start_app_with(options).await;
    until_logged(&fixture, "the run", |log| !log.is_empty()).await;
    let urgent = with(job("asynchronous", r#"{"text":"urgent"}"#), |job| job.meta.priority = Priority::High);
    store.push(&[urgent]).await.unwrap();
    let LibraryFixture { channel, dir } = fixture;
    let stopped = channel.ended().await;
    assert_eq!(stopped.job, Some(id));
    assert!(matches!(stopped.outcome, Some(Outcome::Failed { .. })), "{stopped:?}");
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(log, "begins\ncallback\n");
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.failed), (1, 1));
}

/// The failed callbacks are unknown until the first worker has sent its hello.
pub async fn suspect_callback_waits_for_a_capable_worker() {
    let mut options = Options::new(Plan::coroutine(5, 0));
    let failing = with(job("doomed", r#"{"how":"never"}"#), |job| {
        (job.meta.suspect, job.meta.attempts, job.meta.failing) = (true, 1, Some(FailReason::Final));
    });
    let id = options.store.push(&[failing]).await.unwrap()[0].id();
    options.scope = Scope::Only(id);
    let store = options.store.clone();
    let LibraryFixture { channel, dir } = start_app_with(options).await;
    channel.ended().await;
    assert_eq!(store.get(id).await.unwrap().unwrap().state, JobState::Failed);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(log.starts_with("failed never after 1: final"), "{log:?}");
}
