//! Workers and jobs that behave as no example does, and what must not follow from it.

use std::fs;
use std::time::{Duration, Instant};

use aint_queue::engine::pool::Program;
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{NewJob, Payload};

use crate::fixture::{BINARY, Options, job, start_channel, until_async};

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

#[tokio::test]
async fn suspects_leased_are_bounded_by_plan_slots() {
    let fixture = start_channel(Options::new(Plan::coroutine(8, 0))).await;
    fixture.push(&vec![suspect("sleep", r#"{"ms":100}"#); 1000]).await;
    fixture.until("the first of them", |s| s.done >= 8).await;
    let status = fixture.store.status().await.unwrap();
    assert!(status.reserved <= 32, "{status:?}");
    fixture.stop(true).await;
}

#[tokio::test]
async fn worker_boot_does_not_count_as_job_time() {
    let boot = format!("sleep 1; exec {BINARY} __worker");
    let mut options = wire_script(Plan::coroutine(8, 0), &boot).limit(SECOND / 2);
    options.max_attempts = 1;
    let fixture = start_channel(options).await;
    fixture.push(&[suspect("noop", "{}")]).await;
    let status = fixture.until("its end", |s| s.done + s.failed == 1).await;
    assert_eq!((status.done, status.failed), (1, 0));
    fixture.push(&[suspect("sleep", r#"{"ms":60000}"#)]).await;
    fixture.until("the limit after the boot", |s| s.failed == 1).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn repaired_program_starts_soon() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.program = Program::Exec(vec![program.to_str().unwrap().into()]);
    let fixture = start_channel(options).await;
    fixture.push(&[job("x", "{}")]).await;
    fixture.until_status("a start to fail", |status| status.worker_error.is_some()).await;
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    let there = Instant::now();
    fixture.until("it is done", |s| s.done == 1).await;
    assert!(there.elapsed() < 2 * SECOND, "{:?}", there.elapsed());
    fixture.stop(false).await;
}

#[tokio::test]
async fn workers_dying_after_hello_start_with_backoff() {
    let dir = tempfile::tempdir().unwrap();
    let starts = dir.path().join("starts");
    let options =
        after_hello(Plan::process_pool(1, 1, 0), 1, &format!("echo x >> '{}'; exit 1", starts.display()));
    let fixture = start_channel(options).await;
    tokio::time::sleep(2 * SECOND).await;
    let starts = fs::read_to_string(&starts).unwrap().lines().count();
    assert!((2..=6).contains(&starts), "{starts} starts in two seconds");
    fixture.stop(false).await;
}

#[tokio::test]
async fn worker_at_max_handle_number_is_replaced_early() {
    let fixture = start_channel(Options::new(Plan::coroutine(8, 2))).await;
    fixture.push(&[job("sleep", r#"{"ms":60000}"#), job("noop", "{}"), job("noop", "{}")]).await;
    let begun = Instant::now();
    fixture.until("the short ones", |s| s.done == 2 && s.reserved == 1).await;
    assert!(begun.elapsed() < 5 * SECOND, "the long one has not ended");
    fixture.stop(true).await;
}

#[tokio::test]
async fn third_worker_serves_while_two_are_stuck() {
    let fixture = start_channel(after_hello(Plan::coroutine(4, 0), 4, "exec sleep 1000")).await;
    for stuck in 1..=2 {
        fixture.push(&[limited(200), limited(0)]).await;
        fixture.until_status("a worker to retire", |r| r.workers.retiring == stuck).await;
    }
    let retired = Instant::now();
    fixture.until_status("another worker", |r| r.workers.idle == 1).await;
    assert!(retired.elapsed() < 2 * SECOND, "{:?}", retired.elapsed());
    fixture.stop(true).await;
}

#[tokio::test]
async fn bytes_queued_for_unread_worker_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let read_later =
        format!("while [ ! -e '{}' ]; do sleep 0.05; done; exec cat <&3 >/dev/null", go.display());
    let fixture = start_channel(after_hello(Plan::coroutine(200, 0), 200, &read_later)).await;
    let large = NewJob::new("x", Payload::of(&"x".repeat(1_000_000)).unwrap());
    for _ in 0..16 {
        fixture.push(&vec![large.clone(); 4]).await;
    }
    fixture.until("the first jobs", |s| s.reserved >= 4).await;
    tokio::time::sleep(SECOND).await;
    let status = fixture.store.status().await.unwrap();
    assert!(status.reserved <= 12, "{status:?}");
    fs::write(&go, "").unwrap();
    fixture.until("all aboard once it reads", |s| s.reserved == 64).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn endless_empty_lines_stall_nothing() {
    let fixture =
        start_channel(after_hello(Plan::process_pool(1, 1, 0), 1, "exec yes '' >&3").limit(SECOND)).await;
    fixture.push(&[job("x", "{}")]).await;
    fixture.until("it to run", |s| s.reserved == 1).await;
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        fixture.report().await;
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(longest < SECOND / 2, "{longest:?}");
    fixture.until("the time-out", |s| s.delayed + s.waiting == 1).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn aborted_channel_leaves_no_program_running() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0)).script("exec sleep 1000")).await;
    fixture.push(&[job("x", "{}")]).await;
    let running = fixture.until_status("it to run", |r| !r.pids.is_empty()).await;
    fixture.abort();
    let program = format!("/proc/{}", running.pids[0]);
    until_async("the program to be gone", async || !fs::exists(&program).unwrap()).await;
}
