//! Workers and jobs that behave as no example does, and what must not follow from it.

use std::fs;
use std::time::{Duration, Instant};

use aint_queue::job::{NewJob, Payload};
use aint_queue::pool::Program;
use aint_queue::pool::plan::Plan;

use crate::rig::{BINARY, Options, PATIENCE, Rig, job, rig};

const SECOND: Duration = Duration::from_secs(1);

/// A worker that says hello for this many slots and then goes on as `rest` says.
fn after_hello(plan: Plan, slots: usize, rest: &str) -> Options {
    let hello = format!(r#"{{"type":"hello","protocol":1,"slots":{slots}}}"#);
    wire_script(plan, &format!("echo '{hello}' >&3; {rest}"))
}

fn wire_script(plan: Plan, script: &str) -> Options {
    Options { program: Program::Wire(vec!["sh".into(), "-c".into(), script.into()]), ..Options::new(plan) }
}

fn suspect(name: &str, payload: &str) -> NewJob {
    let mut job = job(name, payload);
    job.meta.suspect = true;
    job
}

fn limited(ms: u64) -> NewJob {
    let mut job = job("x", "{}");
    job.meta.timeout_ms = Some(ms);
    job
}

async fn eventually(
    rig: &Rig,
    what: &str,
    wanted: impl Fn(&aint_queue::channel::ChannelStatus) -> bool,
) -> Duration {
    let begun = Instant::now();
    loop {
        let report = rig.report().await;
        if wanted(&report) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long for {what}: {report:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn no_more_suspects_are_leased_than_the_plan_has_slots() {
    let rig = rig(Options::new(Plan::coroutine(8, 0))).await;
    rig.push(&vec![suspect("sleep", r#"{"ms":100}"#); 1000]).await;
    rig.until("the first of them", |s| s.done >= 8).await;
    let status = rig.store.status().await.unwrap();
    assert!(status.reserved <= 32, "{status:?}");
    rig.stop(true).await;
}

#[tokio::test]
async fn the_boot_of_a_worker_is_not_counted_into_the_time_of_a_job() {
    let boot = format!("sleep 1; exec {BINARY} __worker");
    let mut options = wire_script(Plan::coroutine(8, 0), &boot).limit(SECOND / 2);
    options.max_attempts = 1;
    let rig = rig(options).await;
    rig.push(&[suspect("noop", "{}")]).await;
    let status = rig.until("its end", |s| s.done + s.failed == 1).await;
    assert_eq!((status.done, status.failed), (1, 0));
    rig.push(&[suspect("sleep", r#"{"ms":60000}"#)]).await;
    rig.until("the limit after the boot", |s| s.failed == 1).await;
    rig.stop(true).await;
}

#[tokio::test]
async fn a_program_that_can_be_started_again_is_started_soon() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.program = Program::Exec(vec![program.to_str().unwrap().into()]);
    let rig = rig(options).await;
    rig.push(&[job("x", "{}")]).await;
    tokio::time::sleep(SECOND / 2).await;
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    let there = Instant::now();
    rig.until("it is done", |s| s.done == 1).await;
    assert!(there.elapsed() < 2 * SECOND, "{:?}", there.elapsed());
    rig.stop(false).await;
}

#[tokio::test]
async fn workers_that_die_right_after_their_hello_are_started_ever_less_often() {
    let dir = tempfile::tempdir().unwrap();
    let starts = dir.path().join("starts");
    let options =
        after_hello(Plan::process_pool(1, 1, 0), 1, &format!("echo x >> '{}'; exit 1", starts.display()));
    let rig = rig(options).await;
    tokio::time::sleep(2 * SECOND).await;
    let starts = fs::read_to_string(&starts).unwrap().lines().count();
    assert!((2..=6).contains(&starts), "{starts} starts in two seconds");
    rig.stop(false).await;
}

#[tokio::test]
async fn a_worker_at_its_number_of_jobs_is_replaced_before_the_last_of_them_ends() {
    let rig = rig(Options::new(Plan::coroutine(8, 2))).await;
    rig.push(&[job("sleep", r#"{"ms":60000}"#), job("noop", "{}"), job("noop", "{}")]).await;
    let begun = Instant::now();
    rig.until("the short ones", |s| s.done == 2 && s.reserved == 1).await;
    assert!(begun.elapsed() < 5 * SECOND, "the long one has not ended");
    rig.stop(true).await;
}

#[tokio::test]
async fn with_two_workers_stuck_a_third_one_serves() {
    let rig = rig(after_hello(Plan::coroutine(4, 0), 4, "exec sleep 1000")).await;
    for stuck in 1..=2 {
        rig.push(&[limited(200), limited(0)]).await;
        eventually(&rig, "a worker to retire", |r| r.workers.retiring == stuck).await;
    }
    let took = eventually(&rig, "another worker", |r| r.workers.idle == 1).await;
    assert!(took < 2 * SECOND, "{took:?}");
    rig.stop(true).await;
}

#[tokio::test]
async fn what_waits_for_a_worker_that_does_not_read_is_bounded_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let read_later =
        format!("while [ ! -e '{}' ]; do sleep 0.05; done; exec cat <&3 >/dev/null", go.display());
    let rig = rig(after_hello(Plan::coroutine(200, 0), 200, &read_later)).await;
    let large = NewJob::new("x", Payload::of(&"x".repeat(1_000_000)).unwrap());
    for _ in 0..16 {
        rig.push(&vec![large.clone(); 4]).await;
    }
    rig.until("the first jobs", |s| s.reserved >= 4).await;
    tokio::time::sleep(SECOND).await;
    let status = rig.store.status().await.unwrap();
    assert!(status.reserved <= 12, "{status:?}");
    fs::write(&go, "").unwrap();
    rig.until("all aboard once it reads", |s| s.reserved == 64).await;
    rig.stop(true).await;
}

#[tokio::test]
async fn a_worker_that_sends_empty_lines_without_end_stalls_nothing() {
    let rig = rig(after_hello(Plan::process_pool(1, 1, 0), 1, "exec yes '' >&3").limit(SECOND)).await;
    rig.push(&[job("x", "{}")]).await;
    rig.until("it to run", |s| s.reserved == 1).await;
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        rig.report().await;
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(longest < SECOND / 2, "{longest:?}");
    rig.until("the time-out", |s| s.delayed + s.waiting == 1).await;
    rig.stop(true).await;
}

#[tokio::test]
async fn a_channel_that_breaks_off_leaves_no_program_running() {
    let rig = rig(Options::new(Plan::process_pool(1, 1, 0)).script("exec sleep 1000")).await;
    rig.push(&[job("x", "{}")]).await;
    eventually(&rig, "it to run", |r| !r.pids.is_empty()).await;
    let pid = rig.report().await.pids[0];
    rig.break_off();
    let begun = Instant::now();
    while fs::exists(format!("/proc/{pid}")).unwrap() {
        assert!(begun.elapsed() < PATIENCE, "it still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
