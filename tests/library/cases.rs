//! What the library promises whoever writes jobs.

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aint_queue::channel::Scope;
use aint_queue::job::{ErrorKind, FailReason, JobId, NewJob, Outcome, Priority, UniqueUntil};
use aint_queue::pool::Program;
use aint_queue::pool::plan::Plan;
use aint_queue::store::{JobState, Pushed};

use crate::jobs::LOG;
use crate::outlive::*;
use crate::rig::{Options, Rig, job, rig};

type Case = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub fn all() -> Vec<(&'static str, Case)> {
            vec![$((stringify!($name), || Box::pin($name()))),*]
        }
    };
}

cases![
    handlers_find_state_and_headers_in_every_mode,
    what_the_handler_wants_goes_before_the_channel,
    a_job_has_its_own_opinion_on_retries,
    the_failed_callback_runs_after_every_way_of_failing,
    a_poison_job_meets_its_failed_callback,
    a_failed_callback_that_fails_changes_nothing,
    one_run_by_hand_runs_the_failed_callback_too,
    a_panic_is_kept_with_its_message_and_place,
    a_payload_that_does_not_fit_fails_for_good_with_its_place,
    a_cancelled_handler_can_tidy_up_and_one_that_does_not_listen_is_dropped,
    a_run_pushes_follow_up_jobs_and_hears_of_refusals,
    many_follow_ups_inherit_the_trace,
    a_job_that_is_too_late_expires_and_is_not_run,
    a_key_that_is_unique_until_start_is_free_once_the_job_runs,
    jobs_with_one_key_do_not_overlap,
    a_rate_lets_so_many_through_and_releases_the_rest_uncounted,
    a_breaker_opens_and_closes_again,
    skipped_jobs_are_done_without_running,
    middleware_stands_around_jobs,
    blocking_jobs_do_not_delay_async_ones,
    urgent_jobs_go_first,
    what_handlers_log_reaches_the_masters_log_with_its_job,
    what_asks_after_its_run_is_told_and_harms_nobody,
    a_run_lasts_as_long_as_its_thread_whatever_its_middleware_says,
    a_blocking_handler_can_wait_for_asynchronous_code,
    a_cancelled_handler_that_panics_while_it_is_dropped_has_ended_all_the_same,
    a_breaker_does_not_wait_for_a_trial_that_was_lost,
    a_grant_that_comes_after_its_run_does_not_free_the_lock_of_the_next_run,
    what_a_run_has_claimed_is_not_freed_for_an_earlier_one,
    a_run_may_ask_any_number_of_things_at_once,
    the_callback_of_the_next_job_is_not_mistaken_for_another_next_job,
    a_suspect_that_waits_for_its_callback_waits_for_a_worker_that_knows_it,
];

pub struct World {
    pub rig: Rig,
    pub dir: tempfile::TempDir,
}

pub async fn world(plan: Plan) -> World {
    world_with(Options::new(plan)).await
}

pub async fn world_with(mut options: Options) -> World {
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    options.program = Program::Wire(vec![exe, "__worker".to_owned()]);
    let log = dir.path().join("log").to_str().unwrap().to_owned();
    // A backtrace of a debug build takes longer than the grace of these tests.
    options.env = vec![(LOG.to_owned(), log), ("RUST_BACKTRACE".to_owned(), "0".to_owned())];
    World { rig: rig(options).await, dir }
}

impl World {
    pub fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub async fn push(&self, job: NewJob) -> JobId {
        self.rig.push(&[job]).await[0]
    }

    pub async fn done(&self, jobs: u64) {
        self.rig.until("jobs are done", |s| s.done == jobs).await;
    }

    pub async fn failed(&self, jobs: u64) {
        self.rig.until("jobs have failed", |s| s.failed == jobs).await;
    }
}

fn modes() -> [Plan; 3] {
    [Plan::PROCESS, Plan::process_pool(2, 2, 0), Plan::coroutine(50, 0)]
}

pub fn with(mut job: NewJob, edit: impl FnOnce(&mut NewJob)) -> NewJob {
    edit(&mut job);
    job
}

async fn handlers_find_state_and_headers_in_every_mode() {
    for plan in modes() {
        let world = world(plan).await;
        let header = |job: &mut NewJob| drop(job.meta.headers.insert("tenant".into(), "acme".into()));
        world.push(with(job("blocking", r#"{"text":"b"}"#), header)).await;
        world.done(1).await;
        world.push(job("asynchronous", r#"{"text":"a"}"#)).await;
        world.done(2).await;
        assert_eq!(world.log(), ["hello b #0 Some(\"acme\")", "hello a None"], "{plan:?}");
        world.rig.stop(false).await;
    }
}

async fn what_the_handler_wants_goes_before_the_channel() {
    let world = world(Plan::process_pool(1, 1, 0)).await;
    world.push(job("doomed", r#"{"how":"error"}"#)).await;
    world.failed(1).await;
    assert_eq!(world.log()[..2], ["attempt 1 of 2", "attempt 2 of 2"]);
    // What the push says goes before both.
    world.push(with(job("doomed", r#"{"how":"error"}"#), |j| j.meta.max_attempts = Some(1))).await;
    world.failed(2).await;
    assert_eq!(world.log()[3], "attempt 1 of 1");
    world.rig.stop(false).await;
}

async fn a_job_has_its_own_opinion_on_retries() {
    let world = world(Plan::coroutine(5, 0)).await;
    let id = world.push(job("opinionated", r#"{"times":3}"#)).await;
    world.failed(1).await;
    assert_eq!(world.log(), ["attempt 1", "attempt 2", "attempt 3", "attempt 4"]);
    let meta = world.rig.get(id).await.meta;
    assert_eq!((meta.attempts, meta.failed), (4, Some(FailReason::Final)));
    world.rig.stop(false).await;
}

async fn the_failed_callback_runs_after_every_way_of_failing() {
    for plan in [Plan::process_pool(1, 1, 0), Plan::coroutine(5, 0)] {
        for (how, reason, error) in [
            ("error", "exhausted", "no"),
            ("never", "final", "no use"),
            ("panic", "exhausted", "panicked at tests/library/jobs.rs"),
            ("abort", "crashed", "the worker was killed by SIGABRT without a result"),
            ("sleep", "timeout", "ran longer than 200ms"),
        ] {
            let world = world(plan).await;
            let payload = format!(r#"{{"how":"{how}"}}"#);
            let limit = if how == "sleep" { 200 } else { 10_000 };
            let id = world.push(with(job("doomed", &payload), |j| j.meta.timeout_ms = Some(limit))).await;
            world.failed(1).await;
            let attempts = if how == "never" { 1 } else { 2 };
            let log = world.log();
            assert_eq!(log.len(), attempts + 1, "{plan:?}, {how}: {log:?}");
            let told = &log[attempts];
            let expected = format!("failed {how} after {attempts}: {reason}: {error}");
            assert!(told.starts_with(&expected), "{told} is not {expected}");
            let meta = world.rig.get(id).await.meta;
            assert_eq!((meta.attempts as usize, meta.failing), (attempts, None));
            assert_eq!(meta.failed.unwrap().as_str(), reason);
            world.rig.stop(false).await;
        }
    }
}

async fn a_poison_job_meets_its_failed_callback() {
    let world = world(Plan::process_pool(1, 1, 0)).await;
    let id = world.push(job("killer", "{}")).await;
    world.failed(1).await;
    assert_eq!(world.log(), ["poison"]);
    assert_eq!(world.rig.get(id).await.meta.failed, Some(FailReason::Poison));
    world.rig.stop(false).await;
}

async fn a_failed_callback_that_fails_changes_nothing() {
    // One that kills its worker may have been killed by it, and has three tries.
    for (callback, note, runs) in [("error", "neither", 1), ("abort", "SIGABRT", 3)] {
        let world = world(Plan::process_pool(1, 1, 0)).await;
        let id = world.push(job("async_doomed", &format!(r#"{{"callback":"{callback}"}}"#))).await;
        world.failed(1).await;
        assert_eq!(world.log(), vec!["failed: no"; runs]);
        let meta = world.rig.get(id).await.meta;
        assert_eq!((meta.attempts, meta.crashes, meta.failed), (1, 0, Some(FailReason::Exhausted)));
        let last = meta.errors.last().unwrap();
        assert_eq!(last.kind, ErrorKind::Callback);
        assert!(last.message.contains(note), "{}", last.message);
        world.rig.stop(false).await;
    }
}

async fn one_run_by_hand_runs_the_failed_callback_too() {
    for next in [true, false] {
        let mut options = Options::new(Plan::process_pool(1, 1, 0));
        let id = options.store.push(&[job("doomed", r#"{"how":"never"}"#)]).await.unwrap()[0].id();
        options.scope = if next { Scope::Next } else { Scope::Only(id) };
        let store = options.store.clone();
        let world = world_with(options).await;
        let log = world.dir.path().join("log");
        let stopped = world.rig.ended().await;
        assert!(matches!(stopped.outcome, Some(Outcome::Failed { .. })), "{stopped:?}");
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.lines().last(), Some("failed never after 1: final: no use"));
        assert_eq!(store.get(id).await.unwrap().unwrap().state, JobState::Failed);
    }
}

async fn a_panic_is_kept_with_its_message_and_place() {
    let world = world(Plan::coroutine(5, 0)).await;
    let id = world.push(job("panics", "{}")).await;
    world.failed(1).await;
    let meta = world.rig.get(id).await.meta;
    assert!(meta.last_error().starts_with("panicked at tests/library/jobs.rs:"), "{}", meta.last_error());
    assert!(meta.last_error().ends_with(": no way"), "{}", meta.last_error());
    world.rig.stop(false).await;
}

async fn a_payload_that_does_not_fit_fails_for_good_with_its_place() {
    let world = world(Plan::coroutine(5, 0)).await;
    let id = world.push(job("blocking", r#"{"text":7}"#)).await;
    world.failed(1).await;
    let meta = world.rig.get(id).await.meta;
    assert_eq!((meta.attempts, meta.failed), (1, Some(FailReason::Final)));
    let error = meta.last_error();
    assert!(
        error.starts_with("the payload does not fit the job at `text`: invalid type: integer `7`"),
        "{error}"
    );
    world.rig.stop(false).await;
}

async fn a_cancelled_handler_can_tidy_up_and_one_that_does_not_listen_is_dropped() {
    let world = world(Plan::coroutine(5, 0)).await;
    world.push(job("slow", r#"{"tidy":true}"#)).await;
    world.done(1).await;
    assert_eq!(world.log(), ["begins", "tidies up"]);
    let before = world.rig.report().await.pids;
    let id = world.push(job("slow", r#"{"tidy":false}"#)).await;
    world.failed(1).await;
    assert_eq!(world.rig.get(id).await.meta.failed, Some(FailReason::Timeout));
    assert_eq!(world.rig.report().await.pids, before, "the worker lives on");
    world.rig.stop(false).await;
}

async fn a_run_pushes_follow_up_jobs_and_hears_of_refusals() {
    for plan in modes() {
        let world = world(plan).await;
        world.push(job("parent", r#"{"text":"child"}"#)).await;
        world.done(2).await;
        let log = world.log();
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log.iter().any(|l| l.starts_with("hello child #") && l.ends_with("Some(\"t1\")")), "{log:?}");
        assert!(log.iter().any(|l| l.contains("unique key has 0 bytes")), "{log:?}");
        world.rig.stop(false).await;
    }
}

async fn many_follow_ups_inherit_the_trace() {
    let world = world(Plan::coroutine(50, 0)).await;
    let traced = |j: &mut NewJob| drop(j.meta.headers.insert("traceparent".into(), "00-ab-cd-01".into()));
    world.push(with(job("async_parent", r#"{"children":400}"#), traced)).await;
    world.done(401).await;
    let log = world.log();
    assert_eq!(log.len(), 400);
    assert!(log.iter().all(|line| line.ends_with("Some(\"00-ab-cd-01\")")));
    world.rig.stop(false).await;
}

async fn a_job_that_is_too_late_expires_and_is_not_run() {
    let options = Options::new(Plan::process_pool(1, 1, 0));
    let late = |name: &str, data: &str| with(job(name, data), |j| j.meta.expires_in_ms = Some(1));
    let plain = options.store.push(&[late("blocking", r#"{"text":"x"}"#)]).await.unwrap()[0].id();
    let called = options.store.push(&[late("doomed", r#"{"how":"x"}"#)]).await.unwrap()[0].id();
    options
        .store
        .push(&[with(job("ticks", r#"{"n":1}"#), |j| j.meta.expires_in_ms = Some(60_000))])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let world = world_with(options).await;
    world.rig.until("two are late", |s| s.failed == 2 && s.done == 1).await;
    for id in [plain, called] {
        let meta = world.rig.get(id).await.meta;
        assert_eq!((meta.attempts, meta.failed), (0, Some(FailReason::Expired)));
    }
    let mut log = world.log();
    log.sort();
    assert_eq!(log, ["failed x after 0: expired: not started before its expiry", "ticked"]);
    world.rig.stop(false).await;
}

async fn a_key_that_is_unique_until_start_is_free_once_the_job_runs() {
    let world = world(Plan::process_pool(1, 1, 0)).await;
    let unique = || {
        with(job("sleeps", r#"{"ms":300}"#), |j| {
            j.meta.unique = Some("k".into());
            j.meta.unique_until = UniqueUntil::Start;
        })
    };
    let first = world.push(unique()).await;
    let begun = Instant::now();
    // Once it has begun, one more can wait, and only one.
    let second = loop {
        match world.rig.store.push(&[unique()]).await.unwrap()[0] {
            Pushed::Added(id) => break id,
            Pushed::Existing(id) => assert_eq!(id, first),
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(world.rig.get(first).await.state, JobState::Reserved, "it still runs");
    assert_eq!(world.rig.store.push(&[unique()]).await.unwrap(), [Pushed::Existing(second)]);
    world.done(2).await;
    world.rig.stop(false).await;
}

async fn jobs_with_one_key_do_not_overlap() {
    let world = world(Plan::coroutine(50, 0)).await;
    for n in 0..12 {
        world.push(job("alone", &format!(r#"{{"key":{}}}"#, n % 3))).await;
    }
    world.done(12).await;
    let mut inside = HashMap::new();
    let mut together = 0;
    for line in world.log() {
        let (way, key) = line.split_once(' ').unwrap();
        let count = inside.entry(key.to_owned()).or_insert(0);
        *count += if way == "in" { 1 } else { -1 };
        assert!(*count <= 1, "two with the key {key} at once");
        together = together.max(inside.values().sum());
    }
    assert!(together > 1, "different keys run together");
    world.rig.stop(false).await;
}

async fn a_rate_lets_so_many_through_and_releases_the_rest_uncounted() {
    let world = world(Plan::coroutine(50, 0)).await;
    for _ in 0..8 {
        world.push(job("limited", "{}")).await;
    }
    let status = world.rig.until("five ran", |s| s.done == 5 && s.delayed == 3).await;
    assert_eq!((status.failed, status.reserved, status.waiting), (0, 0, 0));
    assert_eq!(world.log().len(), 5);
    let page = world.rig.store.list(JobState::Delayed, None, 10).await.unwrap();
    assert!(page.jobs.iter().all(|job| job.meta.attempts == 0));
    world.rig.stop(false).await;
}

async fn a_breaker_opens_and_closes_again() {
    let world = world(Plan::process_pool(1, 1, 0)).await;
    for _ in 0..2 {
        world.push(job("fragile", r#"{"ok":false}"#)).await;
    }
    world.failed(2).await;
    let opened = Instant::now();
    for _ in 0..3 {
        world.push(job("fragile", r#"{"ok":true}"#)).await;
    }
    world.rig.until("all three rest", |s| s.delayed == 3).await;
    assert_eq!(world.log(), ["breaks", "breaks"]);
    world.done(3).await;
    assert!(opened.elapsed() >= Duration::from_millis(350), "closed after {:?}", opened.elapsed());
    world.rig.stop(false).await;
}

async fn skipped_jobs_are_done_without_running() {
    let world = world(Plan::coroutine(5, 0)).await;
    for n in 0..4 {
        world.push(job("skipped", &format!(r#"{{"n":{n}}}"#))).await;
    }
    world.done(4).await;
    let mut log = world.log();
    log.sort();
    assert_eq!(log, ["ran 0", "ran 2"]);
    world.rig.stop(false).await;
}

async fn middleware_stands_around_jobs() {
    let world = world(Plan::PROCESS).await;
    let loud = |j: &mut NewJob| drop(j.meta.headers.insert("loud".into(), "1".into()));
    world.push(with(job("ticks", r#"{"n":1}"#), loud)).await;
    world.done(1).await;
    assert_eq!(world.log(), ["before ticks", "ticked", "after"]);
    world.rig.stop(false).await;
}

async fn blocking_jobs_do_not_delay_async_ones() {
    let world = world(Plan::coroutine(1000, 0)).await;
    let sleepers: Vec<_> = (0..500).map(|_| job("sleeps", r#"{"ms":100}"#)).collect();
    let ticks: Vec<_> = (0..200).map(|n| job("ticks", &format!(r#"{{"n":{n}}}"#))).collect();
    world.rig.push(&[sleepers, ticks].concat()).await;
    world.done(700).await;
    let log = world.log();
    // Pushed behind 500 sleepers, the others are through before the sleepers wake.
    let last_tick = log.iter().rposition(|line| line == "ticked").unwrap();
    let slept_before = log[..last_tick].iter().filter(|line| *line == "slept").count();
    assert!(slept_before < 250, "{slept_before} sleepers were through before the last of the others");
    world.rig.stop(false).await;
}

async fn urgent_jobs_go_first() {
    let options = Options::new(Plan::process_pool(1, 1, 0));
    for (text, priority) in [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)] {
        let job = with(job("blocking", &format!(r#"{{"text":"{text}"}}"#)), |j| j.meta.priority = priority);
        options.store.push(&[job]).await.unwrap();
    }
    let world = world_with(options).await;
    world.done(3).await;
    let order: Vec<_> = world.log().iter().map(|l| l.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(order, ["high", "normal", "low"]);
    world.rig.stop(false).await;
}

/// Collects what is logged on this thread.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn what_handlers_log_reaches_the_masters_log_with_its_job() {
    let collected = Collected::default();
    let writer = collected.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let world = world(Plan::coroutine(5, 0)).await;
    let async_id = world.push(job("ticks", r#"{"n":7}"#)).await;
    let blocking_id = world.push(job("skipped", r#"{"n":2}"#)).await;
    world.done(2).await;
    let text = String::from_utf8(collected.0.lock().unwrap().clone()).unwrap();
    for (line, id) in [("WARN worker: ticking n=7", async_id), ("INFO worker: running n=2", blocking_id)] {
        let found =
            text.lines().find(|l| l.contains(line)).unwrap_or_else(|| panic!("{line} is not in {text}"));
        assert!(found.ends_with(&format!("job={}", id.0)), "{found}");
    }
    world.rig.stop(false).await;
}
