//! Workers and jobs that misbehave: damage is bounded, other jobs run.

use std::fs;
use std::time::{Duration, Instant};

use aint_queue::engine::channel::ChannelStatus;
use aint_queue::engine::pool::Program;
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{ErrorKind, MAX_ERROR_BYTES, NewJob, Payload};

use crate::fixture::{BINARY, Options, WAIT_DEADLINE, job, start_channel, until_async};

const SECOND: Duration = Duration::from_secs(1);
/// Time in which a channel that does not bound its queue would lease far more jobs than allowed.
const OBSERVATION: Duration = Duration::from_secs(1);

/// A worker that sends a hello with this many slots and then runs the shell commands `rest`.
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
async fn held_suspects_are_few_and_others_run_beside_them() {
    let options = Options { max_execute: None, ..Options::new(Plan::coroutine(8, 0)) };
    let fixture = start_channel(options).await;
    fixture.push(&vec![suspect("sleep", r#"{"ms":600000}"#); 1000]).await;
    fixture.push(&[job("noop", "{}")]).await;
    fixture.until("the job behind the suspects", |s| s.done == 1).await;
    // Eight wait in the channel, one per core and at most four run, and the others are delayed.
    let held = fixture.until("the others to be given back", |s| s.waiting == 0 && s.reserved <= 12).await;
    assert_eq!((held.delayed + held.reserved, held.failed), (1000, 0));
    fixture.stop(true).await;
}

#[tokio::test]
async fn worker_boot_does_not_count_as_job_time() {
    let boot = format!("sleep 1; exec {BINARY} __worker --demo-jobs");
    let mut options = wire_script(Plan::coroutine(8, 0), &boot).limit(SECOND / 2);
    options.max_attempts = 1;
    let fixture = start_channel(options).await;
    fixture.push(&[suspect("noop", "{}")]).await;
    let status = fixture.until("the job to end", |s| s.done + s.failed == 1).await;
    assert_eq!((status.done, status.failed), (1, 0));
    fixture.push(&[suspect("sleep", r#"{"ms":60000}"#)]).await;
    fixture.until("the job to reach its limit after the boot", |s| s.failed == 1).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn repaired_program_runs_the_waiting_job() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.program = Program::Exec(vec![program.to_str().unwrap().into()]);
    let fixture = start_channel(options).await;
    fixture.push(&[job("x", "{}")]).await;
    fixture.until_status("a start to fail", |status| status.worker_error.is_some()).await;
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    fixture.until("the job to be done", |s| s.done == 1).await;
    fixture.stop(false).await;
}

#[tokio::test]
async fn workers_dying_after_hello_start_with_backoff() {
    let dir = tempfile::tempdir().unwrap();
    let starts = dir.path().join("starts");
    let options =
        after_hello(Plan::process_pool(1, 1, 0), 1, &format!("echo x >> '{}'; exit 1", starts.display()));
    let fixture = start_channel(options).await;
    let count = || fs::read_to_string(&starts).map_or(0, |text| text.lines().count());
    // Pauses of at least 100, 200 and 400 ms separate the first four starts.
    let begun = Instant::now();
    until_async("four starts", async || count() >= 4).await;
    assert!(begun.elapsed() >= Duration::from_millis(600), "four starts took {:?}", begun.elapsed());
    fixture.stop(false).await;
}

#[tokio::test]
async fn worker_at_max_handle_number_is_replaced_early() {
    let options = Options { max_execute: None, ..Options::new(Plan::coroutine(8, 2)) };
    let fixture = start_channel(options).await;
    fixture.push(&[job("sleep", r#"{"ms":600000}"#), job("noop", "{}"), job("noop", "{}")]).await;
    // The long job outlasts the wait: the second short job runs in a replacement.
    fixture.until("the short jobs", |s| s.done == 2 && s.reserved == 1).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn third_worker_serves_while_two_are_stuck() {
    let fixture = start_channel(after_hello(Plan::coroutine(4, 0), 4, "exec sleep 1000")).await;
    for stuck in 1..=2 {
        fixture.push(&[limited(200), limited(0)]).await;
        fixture.until_status("a worker to retire", |r| r.workers.retiring == stuck).await;
    }
    // The jobs without a limit never end: the third worker does not wait for one of the two.
    let third_serves = |status: &ChannelStatus| (status.workers.idle, status.workers.retiring) == (1, 2);
    fixture.until_status("a third worker", third_serves).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn bytes_queued_for_unread_worker_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let read_later =
        format!("while [ ! -e '{}' ]; do sleep 0.05; done; exec cat <&3 >/dev/null", go.display());
    let options = after_hello(Plan::coroutine(200, 0), 200, &read_later);
    let fixture = start_channel(Options { max_execute: None, ..options }).await;
    let large = NewJob::new("x", Payload::of(&"x".repeat(1_000_000)).unwrap());
    for _ in 0..8 {
        fixture.push(&vec![large.clone(); 4]).await;
    }
    fixture.until("the first jobs", |s| s.reserved >= 4).await;
    tokio::time::sleep(OBSERVATION).await;
    let status = fixture.store.status().await.unwrap();
    assert!(status.reserved <= 12, "{status:?}");
    fs::write(&go, "").unwrap();
    fixture.until("all jobs to run once the worker reads", |s| s.reserved == 32).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn endless_empty_lines_stall_nothing() {
    let fixture =
        start_channel(after_hello(Plan::process_pool(1, 1, 0), 1, "exec yes '' >&3").limit(SECOND)).await;
    let ids = fixture.push(&[job("x", "{}")]).await;
    fixture.until("the job to run", |s| s.reserved == 1).await;
    let reports = async {
        for _ in 0..100 {
            fixture.report().await;
        }
    };
    tokio::time::timeout(WAIT_DEADLINE, reports).await.expect("the channel answers during the flood");
    let timed_out = async || fixture.get(ids[0]).await.meta.errors.first().map(|error| error.kind);
    until_async("the job to time out", async || timed_out().await == Some(ErrorKind::Timeout)).await;
    fixture.stop(true).await;
}

#[tokio::test]
async fn damaged_frames_end_their_runs_at_once() {
    // A run without a time limit would otherwise never end.
    let script = r#"
        n=0
        while read -r frame <&3; do
            run=${frame#*\"run\":}; run=${run%%,*}; n=$((n + 1))
            case $n in
                1) printf '{"type":"failed","run":%s,"error":"half \\ud83d","retry":false}\n' "$run" >&3 ;;
                2) printf '{"type":"failed","run":%s,"error":"caf\351.txt","retry":1.5,"unknown_job":false}\n' "$run" >&3 ;;
                3) printf '{"type":"release","run":%s,"after_ms":-1}\n' "$run" >&3 ;;
                4) printf '{"type":"failed","run":%s,"retry":false,"error":"cut' "$run" >&3
                   head -c 3000000 /dev/zero | tr '\0' x >&3; printf '"}\n' >&3 ;;
                *) printf '{"type":"done","run":%s,"took_ms":NaN}\n' "$run" >&3 ;;
            esac
        done"#;
    let options = after_hello(Plan::process_pool(1, 1, 0), 1, script);
    let fixture = start_channel(Options { max_execute: None, max_attempts: 1, ..options }).await;
    let ids = fixture.push(&vec![job("x", "{}"); 4]).await;
    let ended = fixture.until("all jobs to end", |s| s.done + s.failed == 4).await;
    assert_eq!((ended.done, ended.failed), (1, 3));
    let mut errors = Vec::new();
    for id in [ids[0], ids[1], ids[3]] {
        errors.push(fixture.get(id).await.meta.last_error().to_owned());
    }
    assert_eq!(errors[..2], ["half \u{fffd}", "caf\u{fffd}.txt"]);
    assert!(errors[2].starts_with("cutxxx") && errors[2].len() == MAX_ERROR_BYTES, "{}", errors[2].len());
    fixture.stop(false).await;
}

#[tokio::test]
async fn last_frame_without_a_line_break_counts() {
    // The second one leaves a process that holds the socket, the third one closes it and stays.
    for end in ["exit 0", "sleep 1000 & exit 0", "exec 3>&-; exec sleep 1000"] {
        let script = format!(
            r#"
            read -r frame <&3
            run=${{frame#*\"run\":}}; run=${{run%%,*}}
            case $frame in
                *good*) printf '{{"type":"done","run":%s}}' "$run" >&3 ;;
                *) printf '{{"type":"failed","run":%s,"error":"mailbox fu' "$run" >&3 ;;
            esac
            {end}"#
        );
        let options = after_hello(Plan::process_pool(1, 1, 0), 1, &script);
        let fixture = start_channel(Options { max_attempts: 1, ..options }).await;
        let ids = fixture.push(&[job("x", r#""good""#), job("x", r#""bad""#)]).await;
        let ended = fixture.until("both jobs to end", |s| s.done + s.failed == 2).await;
        assert_eq!((ended.done, ended.failed), (1, 1), "{end}");
        assert_eq!(fixture.get(ids[1]).await.meta.last_error(), "mailbox fu", "{end}");
        fixture.stop(false).await;
    }
}

#[tokio::test]
async fn aborted_channel_leaves_no_program_running() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0)).script("exec sleep 1000")).await;
    fixture.push(&[job("x", "{}")]).await;
    let running = fixture.until_status("the program to run", |r| !r.pids.is_empty()).await;
    fixture.abort();
    let program = format!("/proc/{}", running.pids[0]);
    until_async("the program to be gone", async || !fs::exists(&program).unwrap()).await;
}
