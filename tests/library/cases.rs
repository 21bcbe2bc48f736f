//! Guarantees of the library to authors of jobs.

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aint_queue::engine::channel::Scope;
use aint_queue::engine::pool::Program;
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{ErrorKind, FailReason, JobId, NewJob, Outcome, Priority, UniqueUntil};
use aint_queue::store::{JobState, Pushed};

use crate::after_run_end::*;
use crate::fixture::{Fixture, Options, job, start_channel, until_async};
use crate::jobs::LOG;
use crate::snapshots::{
    handler_with_an_unusable_name_ends_the_start, registered_handlers_get_snapshots_and_bad_ones_delay_no_job,
};

type Case = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub fn all() -> Vec<(&'static str, Case)> {
            vec![$((stringify!($name), || Box::pin($name()))),*]
        }
    };
}

cases![
    handlers_get_state_and_headers_in_every_mode,
    handler_options_precede_channel_settings,
    job_error_decides_its_retry,
    the_failed_callback_runs_after_every_way_of_failing,
    poison_job_runs_its_failed_callback,
    failing_failed_callback_changes_nothing,
    queue_run_runs_the_failed_callback,
    panic_is_kept_with_message_and_location,
    mismatched_payload_fails_with_its_path,
    cancelled_handler_can_clean_up_or_is_dropped,
    run_pushes_follow_ups_and_sees_refusals,
    many_follow_ups_inherit_the_trace,
    expired_job_is_not_run,
    key_until_start_is_free_once_job_runs,
    jobs_with_one_key_do_not_overlap,
    rate_limit_releases_excess_uncounted,
    a_breaker_opens_and_closes_again,
    skipped_jobs_are_done_without_a_run,
    middleware_wraps_jobs,
    blocking_jobs_do_not_delay_async_ones,
    high_priority_jobs_run_first,
    handler_logs_reach_master_log_with_job_id,
    requests_after_run_end_are_refused,
    run_lasts_as_long_as_its_thread,
    blocking_handler_can_await_async_code,
    panic_in_drop_of_cancelled_handler_ends_run,
    breaker_does_not_wait_for_a_lost_trial,
    late_grant_does_not_free_the_next_runs_lock,
    claims_are_not_freed_for_an_earlier_run,
    run_may_make_many_requests_at_once,
    callback_does_not_count_as_the_next_job,
    suspect_callback_waits_for_a_capable_worker,
    demo_of_an_application_runs_the_demo_jobs,
    handler_with_an_unusable_name_ends_the_start,
    registered_handlers_get_snapshots_and_bad_ones_delay_no_job,
];

pub struct LibraryFixture {
    pub channel: Fixture,
    pub dir: tempfile::TempDir,
}

pub async fn start_app(plan: Plan) -> LibraryFixture {
    start_app_with(Options::new(plan)).await
}

pub async fn start_app_with(mut options: Options) -> LibraryFixture {
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    options.program = Program::Wire(vec![exe, "__worker".to_owned()]);
    let log = dir.path().join("log").to_str().unwrap().to_owned();
    // A backtrace of a debug build takes longer than the grace of these tests.
    options.env = vec![(LOG.to_owned(), log), ("RUST_BACKTRACE".to_owned(), "0".to_owned())];
    LibraryFixture { channel: start_channel(options).await, dir }
}

impl LibraryFixture {
    pub fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub async fn push(&self, job: NewJob) -> JobId {
        self.channel.push(&[job]).await[0]
    }

    pub async fn done(&self, jobs: u64) {
        self.channel.until("jobs are done", |s| s.done == jobs).await;
    }

    pub async fn failed(&self, jobs: u64) {
        self.channel.until("jobs have failed", |s| s.failed == jobs).await;
    }
}

fn modes() -> [Plan; 3] {
    [Plan::PROCESS, Plan::process_pool(2, 2, 0), Plan::coroutine(50, 0)]
}

pub fn with(mut job: NewJob, edit: impl FnOnce(&mut NewJob)) -> NewJob {
    edit(&mut job);
    job
}

async fn handlers_get_state_and_headers_in_every_mode() {
    for plan in modes() {
        let fixture = start_app(plan).await;
        let header = |job: &mut NewJob| drop(job.meta.headers.insert("tenant".into(), "acme".into()));
        fixture.push(with(job("blocking", r#"{"text":"b"}"#), header)).await;
        fixture.done(1).await;
        fixture.push(job("asynchronous", r#"{"text":"a"}"#)).await;
        fixture.done(2).await;
        assert_eq!(fixture.log(), ["hello b #0 Some(\"acme\")", "hello a None"], "{plan:?}");
        fixture.channel.stop(false).await;
    }
}

async fn handler_options_precede_channel_settings() {
    let fixture = start_app(Plan::process_pool(1, 1, 0)).await;
    fixture.push(job("doomed", r#"{"how":"error"}"#)).await;
    fixture.failed(1).await;
    assert_eq!(fixture.log()[..2], ["attempt 1 of 2", "attempt 2 of 2"]);
    // Options of the push take precedence over both.
    fixture.push(with(job("doomed", r#"{"how":"error"}"#), |j| j.meta.max_attempts = Some(1))).await;
    fixture.failed(2).await;
    assert_eq!(fixture.log()[3], "attempt 1 of 1");
    fixture.channel.stop(false).await;
}

async fn job_error_decides_its_retry() {
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    let id = fixture.push(job("opinionated", r#"{"times":3}"#)).await;
    fixture.failed(1).await;
    assert_eq!(fixture.log(), ["attempt 1", "attempt 2", "attempt 3", "attempt 4"]);
    let meta = fixture.channel.get(id).await.meta;
    assert_eq!((meta.attempts, meta.failed), (4, Some(FailReason::Final)));
    fixture.channel.stop(false).await;
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
            let fixture = start_app(plan).await;
            let payload = format!(r#"{{"how":"{how}"}}"#);
            let limit = if how == "sleep" { 200 } else { 10_000 };
            let id = fixture.push(with(job("doomed", &payload), |j| j.meta.timeout_ms = Some(limit))).await;
            fixture.failed(1).await;
            let attempts = if how == "never" { 1 } else { 2 };
            let log = fixture.log();
            assert_eq!(log.len(), attempts + 1, "{plan:?}, {how}: {log:?}");
            let told = &log[attempts];
            let expected = format!("failed {how} after {attempts}: {reason}: {error}");
            assert!(told.starts_with(&expected), "{told} is not {expected}");
            let meta = fixture.channel.get(id).await.meta;
            assert_eq!((meta.attempts as usize, meta.failing), (attempts, None));
            assert_eq!(meta.failed.unwrap().as_str(), reason);
            fixture.channel.stop(false).await;
        }
    }
}

async fn poison_job_runs_its_failed_callback() {
    let fixture = start_app(Plan::process_pool(1, 1, 0)).await;
    let id = fixture.push(job("killer", "{}")).await;
    fixture.failed(1).await;
    assert_eq!(fixture.log(), ["poison"]);
    assert_eq!(fixture.channel.get(id).await.meta.failed, Some(FailReason::Poison));
    fixture.channel.stop(false).await;
}

async fn failing_failed_callback_changes_nothing() {
    // A job that crashes its worker has three tries, because the worker may be the cause.
    for (callback, note, runs) in [("error", "neither", 1), ("abort", "SIGABRT", 3)] {
        let fixture = start_app(Plan::process_pool(1, 1, 0)).await;
        let id = fixture.push(job("async_doomed", &format!(r#"{{"callback":"{callback}"}}"#))).await;
        fixture.failed(1).await;
        assert_eq!(fixture.log(), vec!["failed: no"; runs]);
        let meta = fixture.channel.get(id).await.meta;
        assert_eq!((meta.attempts, meta.crashes, meta.failed), (1, 0, Some(FailReason::Exhausted)));
        let last = meta.errors.last().unwrap();
        assert_eq!(last.kind, ErrorKind::Callback);
        assert!(last.message.contains(note), "{}", last.message);
        fixture.channel.stop(false).await;
    }
}

async fn queue_run_runs_the_failed_callback() {
    for next in [true, false] {
        let mut options = Options::new(Plan::process_pool(1, 1, 0));
        let id = options.store.push(&[job("doomed", r#"{"how":"never"}"#)]).await.unwrap()[0].id();
        options.scope = if next { Scope::Next } else { Scope::Only(id) };
        let store = options.store.clone();
        let fixture = start_app_with(options).await;
        let log = fixture.dir.path().join("log");
        let stopped = fixture.channel.ended().await;
        assert!(matches!(stopped.outcome, Some(Outcome::Failed { .. })), "{stopped:?}");
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.lines().last(), Some("failed never after 1: final: no use"));
        assert_eq!(store.get(id).await.unwrap().unwrap().state, JobState::Failed);
    }
}

async fn demo_of_an_application_runs_the_demo_jobs() {
    let exe = std::env::current_exe().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let run = move || {
        let mut command = std::process::Command::new(exe);
        command.arg("demo").current_dir(dir.path()).stdin(std::process::Stdio::null()).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{said:?}");
    assert!(said[0].contains("Every job is accounted for"), "{said:?}");
}

async fn panic_is_kept_with_message_and_location() {
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    let id = fixture.push(job("panics", "{}")).await;
    fixture.failed(1).await;
    let meta = fixture.channel.get(id).await.meta;
    assert!(meta.last_error().starts_with("panicked at tests/library/jobs.rs:"), "{}", meta.last_error());
    assert!(meta.last_error().ends_with(": no way"), "{}", meta.last_error());
    fixture.channel.stop(false).await;
}

async fn mismatched_payload_fails_with_its_path() {
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    let id = fixture.push(job("blocking", r#"{"text":7}"#)).await;
    fixture.failed(1).await;
    let meta = fixture.channel.get(id).await.meta;
    assert_eq!((meta.attempts, meta.failed), (1, Some(FailReason::Final)));
    let error = meta.last_error();
    assert!(
        error.starts_with("the payload does not fit the job at `text`: invalid type: an integer"),
        "{error}"
    );
    fixture.channel.stop(false).await;
}

async fn cancelled_handler_can_clean_up_or_is_dropped() {
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    fixture.push(job("slow", r#"{"tidy":true}"#)).await;
    fixture.done(1).await;
    assert_eq!(fixture.log(), ["begins", "tidies up"]);
    let before = fixture.channel.report().await.pids;
    let id = fixture.push(job("slow", r#"{"tidy":false}"#)).await;
    fixture.failed(1).await;
    assert_eq!(fixture.channel.get(id).await.meta.failed, Some(FailReason::Timeout));
    assert_eq!(fixture.channel.report().await.pids, before, "the worker lives on");
    fixture.channel.stop(false).await;
}

async fn run_pushes_follow_ups_and_sees_refusals() {
    for plan in modes() {
        let fixture = start_app(plan).await;
        fixture.push(job("parent", r#"{"text":"child"}"#)).await;
        fixture.done(2).await;
        let log = fixture.log();
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log.iter().any(|l| l.starts_with("hello child #") && l.ends_with("Some(\"t1\")")), "{log:?}");
        assert!(log.iter().any(|l| l.contains("unique key has 0 bytes")), "{log:?}");
        fixture.channel.stop(false).await;
    }
}

async fn many_follow_ups_inherit_the_trace() {
    let fixture = start_app(Plan::coroutine(50, 0)).await;
    let traced = |j: &mut NewJob| drop(j.meta.headers.insert("traceparent".into(), "00-ab-cd-01".into()));
    fixture.push(with(job("async_parent", r#"{"children":400}"#), traced)).await;
    fixture.done(401).await;
    let log = fixture.log();
    assert_eq!(log.len(), 400);
    assert!(log.iter().all(|line| line.ends_with("Some(\"00-ab-cd-01\")")));
    fixture.channel.stop(false).await;
}

async fn expired_job_is_not_run() {
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
    let fixture = start_app_with(options).await;
    fixture.channel.until("two are late", |s| s.failed == 2 && s.done == 1).await;
    for id in [plain, called] {
        let meta = fixture.channel.get(id).await.meta;
        assert_eq!((meta.attempts, meta.failed), (0, Some(FailReason::Expired)));
    }
    let mut log = fixture.log();
    log.sort();
    assert_eq!(log, ["failed x after 0: expired: not started before its expiry", "ticked"]);
    fixture.channel.stop(false).await;
}

async fn key_until_start_is_free_once_job_runs() {
    let fixture = start_app(Plan::process_pool(1, 1, 0)).await;
    let unique = || {
        with(job("sleeps", r#"{"ms":300}"#), |j| {
            j.meta.unique = Some("k".into());
            j.meta.unique_until = UniqueUntil::Start;
        })
    };
    let first = fixture.push(unique()).await;
    // Once it has begun, one more can wait, and only one.
    let second = until_async("the key to be free", async || {
        match fixture.channel.store.push(&[unique()]).await.unwrap()[0] {
            Pushed::Added(id) => Some(id),
            Pushed::Existing(id) => {
                assert_eq!(id, first);
                None
            }
        }
    })
    .await;
    assert_eq!(fixture.channel.get(first).await.state, JobState::Reserved, "it still runs");
    assert_eq!(fixture.channel.store.push(&[unique()]).await.unwrap(), [Pushed::Existing(second)]);
    fixture.done(2).await;
    fixture.channel.stop(false).await;
}

async fn jobs_with_one_key_do_not_overlap() {
    let fixture = start_app(Plan::coroutine(50, 0)).await;
    for n in 0..12 {
        fixture.push(job("alone", &format!(r#"{{"key":{}}}"#, n % 3))).await;
    }
    fixture.done(12).await;
    let mut inside = HashMap::new();
    let mut together = 0;
    for line in fixture.log() {
        let (way, key) = line.split_once(' ').unwrap();
        let count = inside.entry(key.to_owned()).or_insert(0);
        *count += if way == "in" { 1 } else { -1 };
        assert!(*count <= 1, "two with the key {key} at once");
        together = together.max(inside.values().sum());
    }
    assert!(together > 1, "different keys run together");
    fixture.channel.stop(false).await;
}

async fn rate_limit_releases_excess_uncounted() {
    let fixture = start_app(Plan::coroutine(50, 0)).await;
    for _ in 0..8 {
        fixture.push(job("limited", "{}")).await;
    }
    let status = fixture.channel.until("five ran", |s| s.done == 5 && s.delayed == 3).await;
    assert_eq!((status.failed, status.reserved, status.waiting), (0, 0, 0));
    assert_eq!(fixture.log().len(), 5);
    let page = fixture.channel.store.list(JobState::Delayed, None, 10).await.unwrap();
    assert!(page.jobs.iter().all(|job| job.meta.attempts == 0));
    fixture.channel.stop(false).await;
}

async fn a_breaker_opens_and_closes_again() {
    let fixture = start_app(Plan::process_pool(1, 1, 0)).await;
    for _ in 0..2 {
        fixture.push(job("fragile", r#"{"ok":false}"#)).await;
    }
    fixture.failed(2).await;
    let opened = Instant::now();
    for _ in 0..3 {
        fixture.push(job("fragile", r#"{"ok":true}"#)).await;
    }
    fixture.channel.until("all three rest", |s| s.delayed == 3).await;
    assert_eq!(fixture.log(), ["breaks", "breaks"]);
    fixture.done(3).await;
    assert!(opened.elapsed() >= Duration::from_millis(350), "closed after {:?}", opened.elapsed());
    fixture.channel.stop(false).await;
}

async fn skipped_jobs_are_done_without_a_run() {
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    for n in 0..4 {
        fixture.push(job("skipped", &format!(r#"{{"n":{n}}}"#))).await;
    }
    fixture.done(4).await;
    let mut log = fixture.log();
    log.sort();
    assert_eq!(log, ["ran 0", "ran 2"]);
    fixture.channel.stop(false).await;
}

async fn middleware_wraps_jobs() {
    let fixture = start_app(Plan::PROCESS).await;
    let loud = |j: &mut NewJob| drop(j.meta.headers.insert("loud".into(), "1".into()));
    fixture.push(with(job("ticks", r#"{"n":1}"#), loud)).await;
    fixture.done(1).await;
    assert_eq!(fixture.log(), ["before ticks", "ticked", "after"]);
    fixture.channel.stop(false).await;
}

async fn blocking_jobs_do_not_delay_async_ones() {
    let fixture = start_app(Plan::coroutine(1000, 0)).await;
    let sleepers: Vec<_> = (0..500).map(|_| job("sleeps", r#"{"ms":100}"#)).collect();
    let ticks: Vec<_> = (0..200).map(|n| job("ticks", &format!(r#"{{"n":{n}}}"#))).collect();
    fixture.channel.push(&[sleepers, ticks].concat()).await;
    fixture.done(700).await;
    let log = fixture.log();
    // Jobs pushed after 500 sleeping jobs are done before those wake up.
    let last_tick = log.iter().rposition(|line| line == "ticked").unwrap();
    let slept_before = log[..last_tick].iter().filter(|line| *line == "slept").count();
    assert!(slept_before < 250, "{slept_before} sleepers were through before the last of the others");
    fixture.channel.stop(false).await;
}

async fn high_priority_jobs_run_first() {
    let options = Options::new(Plan::process_pool(1, 1, 0));
    for (text, priority) in [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)] {
        let job = with(job("blocking", &format!(r#"{{"text":"{text}"}}"#)), |j| j.meta.priority = priority);
        options.store.push(&[job]).await.unwrap();
    }
    let fixture = start_app_with(options).await;
    fixture.done(3).await;
    let order: Vec<_> = fixture.log().iter().map(|l| l.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(order, ["high", "normal", "low"]);
    fixture.channel.stop(false).await;
}

/// Collects the log lines of this thread.
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

async fn handler_logs_reach_master_log_with_job_id() {
    let collected = Collected::default();
    let writer = collected.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let fixture = start_app(Plan::coroutine(5, 0)).await;
    let async_id = fixture.push(job("ticks", r#"{"n":7}"#)).await;
    let blocking_id = fixture.push(job("skipped", r#"{"n":2}"#)).await;
    fixture.done(2).await;
    let text = String::from_utf8(collected.0.lock().unwrap().clone()).unwrap();
    for (line, id) in [("WARN worker: ticking n=7", async_id), ("INFO worker: running n=2", blocking_id)] {
        let found =
            text.lines().find(|l| l.contains(line)).unwrap_or_else(|| panic!("{line} is not in {text}"));
        assert!(found.ends_with(&format!("job={}", id.0)), "{found}");
    }
    fixture.channel.stop(false).await;
}
