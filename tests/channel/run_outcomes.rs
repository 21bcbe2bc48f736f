//! Outcomes other than success: errors, time-outs, crashes, exit codes, stops.

use std::time::{Duration, Instant};

use aint_queue::engine::channel::{ChannelStatus, Command};
use aint_queue::engine::pool::Program;
use aint_queue::engine::pool::plan::Plan;
use aint_queue::job::{ErrorKind, FailReason};
use aint_queue::store::JobState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{BACKOFF, Options, WAIT_DEADLINE, job, start_channel, until_async};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn job_failing_twice_is_done_at_third_attempt() {
    let fixture = start_channel(Options::new(Plan::process_pool(2, 2, 0))).await;
    fixture.push(&[job("noop", "{}")]).await;
    fixture.until("a worker to serve", |s| s.done == 1).await;
    let pushed = Instant::now();
    fixture.push(&[job("fail", r#"{"times":2,"message":"not yet"}"#)]).await;
    fixture.until("it is done", |s| s.done == 2).await;
    assert!(pushed.elapsed() >= 2 * BACKOFF, "two waits lie between three attempts");
    fixture.stop(false).await;
}

#[tokio::test]
async fn exhausted_job_is_failed_with_its_errors() {
    let fixture = start_channel(Options::new(Plan::coroutine(10, 0))).await;
    let ids = fixture.push(&[job("fail", r#"{"message":"never works"}"#)]).await;
    fixture.until("the job to fail", |s| s.failed == 1).await;
    let meta = fixture.get(ids[0]).await.meta;
    assert_eq!((meta.failed, meta.attempts), (Some(FailReason::Exhausted), 3));
    let attempts: Vec<_> = meta.errors.iter().map(|e| (e.attempt, e.message.as_str())).collect();
    assert_eq!(attempts, [(1, "never works"), (2, "never works"), (3, "never works")]);
    fixture.stop(false).await;
}

#[tokio::test]
async fn timed_out_job_is_ended_and_next_starts() {
    for plan in [Plan::PROCESS, Plan::process_pool(1, 1, 0), Plan::coroutine(8, 0)] {
        let mut options = Options::new(plan).limit(SECOND / 2);
        options.max_attempts = 1;
        let fixture = start_channel(options).await;
        // The handler ends when it is asked to; `program_ignoring_sigterm_is_killed` covers a program that does not.
        let ids = fixture.push(&[job("sleep", r#"{"ms":60000}"#), job("noop", "{}")]).await;
        fixture.until("one job to fail and one to be done", |s| s.failed == 1 && s.done == 1).await;
        let meta = fixture.get(ids[0]).await.meta;
        assert_eq!((meta.failed, meta.errors[0].kind), (Some(FailReason::Timeout), ErrorKind::Timeout));
        fixture.stop(false).await;
    }
}

/// A worker with several slots that never ends a run with the payload "stuck", not even when asked to.
const NEVER_ENDS_STUCK: &str = r#"
printf '{"type":"hello","protocol":1,"slots":4}\n' >&3
while IFS= read -r line <&3; do
  case $line in
    *'"payload":"stuck"'*) ;;
    *'"type":"run"'*) run=${line#*'"run":'}; printf '{"type":"done","run":%s}\n' "${run%%,*}" >&3 ;;
  esac
done
"#;

#[tokio::test]
async fn stuck_job_times_out_and_siblings_finish() {
    let mut options = Options::new(Plan::coroutine(4, 0)).limit(SECOND / 4);
    options.max_attempts = 1;
    options.program =
        aint_queue::engine::pool::Program::Wire(vec!["sh".into(), "-c".into(), NEVER_ENDS_STUCK.into()]);
    let fixture = start_channel(options).await;
    let mut jobs = vec![job("x", "1"); 20];
    jobs.insert(10, job("x", "\"stuck\""));
    let ids = fixture.push(&jobs).await;
    fixture.until("all jobs to end", |s| s.done == 20 && s.failed == 1).await;
    assert_eq!(fixture.get(ids[10]).await.meta.failed, Some(FailReason::Timeout));
    fixture.push(&vec![job("x", "2"); 20]).await;
    fixture.until("the replacement to run jobs", |s| s.done == 40).await;
    assert_eq!(fixture.report().await.pids.len(), 1);
    fixture.stop(false).await;
}

#[tokio::test]
async fn program_ignoring_sigterm_is_killed() {
    let script = r#"trap '' TERM; sleep 1000 & while :; do wait; done"#;
    let mut options = Options::new(Plan::process_pool(1, 1, 0)).script(script).limit(SECOND / 2);
    options.max_attempts = 1;
    let fixture = start_channel(options).await;
    let ids = fixture.push(&[job("x", "{}")]).await;
    fixture.until("the job to fail", |s| s.failed == 1).await;
    assert_eq!(fixture.get(ids[0]).await.meta.failed, Some(FailReason::Timeout));
    fixture.stop(false).await;
}

#[tokio::test]
async fn job_killing_three_workers_is_poison() {
    for plan in [Plan::PROCESS, Plan::process_pool(2, 2, 0)] {
        let mut options = Options::new(plan);
        options.max_attempts = 10;
        let fixture = start_channel(options).await;
        let ids =
            fixture.push(&[job("crash", "{}"), job("noop", "{}"), job("crash", r#"{"signal":11}"#)]).await;
        fixture.until("two jobs to fail and one to be done", |s| s.failed == 2 && s.done == 1).await;
        for id in [ids[0], ids[2]] {
            let meta = fixture.get(id).await.meta;
            assert_eq!((meta.failed, meta.crashes, meta.attempts), (Some(FailReason::Poison), 3, 3));
        }
        fixture.stop(false).await;
    }
}

#[tokio::test]
async fn crash_error_names_the_signal() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = fixture.push(&[job("crash", "{}")]).await;
    fixture.until("the job to fail", |s| s.failed == 1).await;
    let errors = fixture.get(ids[0]).await.meta.errors;
    assert_eq!(errors[0].kind, ErrorKind::Crash);
    assert_eq!(errors[0].message, "the worker was killed by SIGKILL without a result");
    fixture.stop(false).await;
}

#[tokio::test]
async fn program_without_hello_starts_with_backoff() {
    let dir = tempfile::tempdir().unwrap();
    let starts = dir.path().join("starts");
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    let script = format!("echo x >> '{}'", starts.display());
    options.program = aint_queue::engine::pool::Program::Wire(vec!["sh".into(), "-c".into(), script]);
    let fixture = start_channel(options).await;
    let ids = fixture.push(&[job("x", "{}")]).await;
    let count = || std::fs::read_to_string(&starts).map_or(0, |text| text.lines().count());
    // Pauses of at least 100, 200 and 400 ms separate the first four starts.
    let begun = Instant::now();
    until_async("four starts", async || count() >= 4).await;
    assert!(begun.elapsed() >= Duration::from_millis(600), "four starts took {:?}", begun.elapsed());
    let job = fixture.get(ids[0]).await;
    assert_eq!((job.state, job.meta.attempts), (JobState::Waiting, 0));
    fixture.stop(false).await;
}

#[tokio::test]
async fn crash_suspects_are_isolated_and_culprit_found() {
    let fixture = start_channel(Options::new(Plan::coroutine(64, 0))).await;
    let mut jobs = vec![job("sleep", r#"{"ms":150}"#); 40];
    jobs.insert(20, job("crash", "{}"));
    let ids = fixture.push(&jobs).await;
    fixture.until("all jobs but the crashing one to be done", |s| s.done == 40 && s.failed == 1).await;
    let killer = fixture.get(ids[20]).await.meta;
    assert_eq!((killer.failed, killer.crashes), (Some(FailReason::Poison), 3));
    assert!(killer.suspect);
    fixture.stop(false).await;
}

#[tokio::test]
async fn exec_exit_codes_decide_the_outcome() {
    let script = r#"read code; echo "code $code" >&2; exit $code"#;
    let mut options = Options::new(Plan::process_pool(1, 2, 0)).script(script);
    options.max_attempts = 2;
    let fixture = start_channel(options).await;
    let ids = fixture.push(&[job("x", "0"), job("x", "3"), job("x", "65"), job("x", "75")]).await;
    fixture.until("three jobs to end", |s| s.done == 1 && s.failed == 2 && s.delayed == 1).await;
    let exhausted = fixture.get(ids[1]).await.meta;
    assert_eq!((exhausted.failed, exhausted.attempts), (Some(FailReason::Exhausted), 2));
    assert_eq!(exhausted.errors[0].message, "exited with 3: code 3");
    let never = fixture.get(ids[2]).await.meta;
    assert_eq!((never.failed, never.attempts), (Some(FailReason::Final), 1));
    let released = fixture.get(ids[3]).await;
    assert_eq!((released.state, released.meta.attempts), (JobState::Delayed, 0));
    fixture.stop(false).await;
}

#[tokio::test]
async fn exec_program_gets_job_by_env_and_stdin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen");
    let script = format!(
        r#"{{ echo "$AINT_QUEUE_CHANNEL $AINT_QUEUE_JOB $AINT_QUEUE_JOB_ID $AINT_QUEUE_ATTEMPT $AINT_QUEUE_MAX_ATTEMPTS $AINT_QUEUE_TIMEOUT_MS"; cat; }} > '{}'"#,
        file.display()
    );
    let fixture = start_channel(Options::new(Plan::PROCESS).script(&script)).await;
    let ids = fixture.push(&[job("App\\Jobs\\Render", r#"{"page": 7}"#)]).await;
    fixture.until("the job to be done", |s| s.done == 1).await;
    let seen = std::fs::read_to_string(&file).unwrap();
    assert_eq!(seen, format!("default App\\Jobs\\Render {} 1 3 10000\n{{\"page\": 7}}", ids[0]));
    fixture.stop(false).await;
}

#[tokio::test]
async fn exec_program_gets_a_valid_trace_context() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen");
    let script = format!(
        r#"echo "$AINT_QUEUE_JOB:${{TRACEPARENT-none}}:${{TRACESTATE-none}}" >> '{}'"#,
        file.display()
    );
    let fixture = start_channel(Options::new(Plan::PROCESS).script(&script)).await;
    let traced = |name: &str, parent: &str, state: &str| {
        let mut job = job(name, "{}");
        job.meta.headers.insert("traceparent".to_owned(), parent.to_owned());
        job.meta.headers.insert("tracestate".to_owned(), state.to_owned());
        job
    };
    let jobs = [
        traced("whole", PARENT, "a=1,b=2"),
        traced("odd-state", PARENT, "é"),
        traced("invalid", "00-$(id)", "a=1"),
        job("none", "{}"),
    ];
    fixture.push(&jobs).await;
    fixture.until("the jobs to be done", |s| s.done == 4).await;
    let seen = std::fs::read_to_string(&file).unwrap();
    let wanted =
        format!("whole:{PARENT}:a=1,b=2\nodd-state:{PARENT}:none\ninvalid:none:none\nnone:none:none\n");
    assert_eq!(seen, wanted);
    fixture.stop(false).await;
}

#[tokio::test]
async fn failed_spawn_costs_no_attempt() {
    let mut options = Options::new(Plan::process_pool(1, 1, 0));
    options.program = aint_queue::engine::pool::Program::Exec(vec!["/no/such/program".into()]);
    let fixture = start_channel(options).await;
    let ids = fixture.push(&[job("x", "{}")]).await;
    let status = fixture.until_status("starts to fail", |status| status.worker_error.is_some()).await;
    let error = status.worker_error.unwrap();
    assert!(error.contains("/no/such/program"), "{error}");
    // The job was leased for a start that failed, and is waiting again as it was.
    let counts = fixture.until("the job to be waiting again", |s| s.waiting == 1).await;
    assert_eq!((counts.failed, counts.delayed), (0, 0));
    let meta = fixture.get(ids[0]).await.meta;
    assert_eq!((meta.attempts, meta.crashes, meta.errors.len()), (0, 0, 0));
    fixture.stop(false).await;
}

#[tokio::test]
async fn killed_workers_job_is_leasable_at_once() {
    let options = Options { max_execute: None, ..Options::new(Plan::process_pool(1, 1, 0)) };
    let fixture = start_channel(options).await;
    let ids = fixture.push(&[job("sleep", r#"{"ms":600000}"#)]).await;
    fixture.until("the job to run", |s| s.reserved == 1).await;
    let pid = worker_pid(&fixture).await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    // The crash is settled by this owner: the job does not wait until a lease expires, which would count it as lost.
    let is_other_run = |status: &ChannelStatus| status.running == 1 && !status.pids.contains(&pid);
    fixture.until_status("the job to run again", is_other_run).await;
    let meta = fixture.get(ids[0]).await.meta;
    assert_eq!((meta.attempts, meta.crashes, meta.lost), (1, 1, 0));
    fixture.stop(true).await;
}

async fn worker_pid(fixture: &crate::fixture::Fixture) -> i32 {
    fixture.until_status("a worker", |status| !status.pids.is_empty()).await.pids[0]
}

#[tokio::test]
async fn stop_finishes_runs_and_releases_the_rest() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    fixture.push(&vec![job("sleep", r#"{"ms":300}"#); 5]).await;
    fixture.until("a job to run", |s| s.reserved == 1).await;
    let store = std::sync::Arc::clone(&fixture.store);
    let stopped = fixture.stop(false).await;
    let status = store.status().await.unwrap();
    assert!(stopped.settled);
    assert_eq!((status.done + status.waiting, status.reserved), (5, 0));
    assert!(status.done >= 1);
}

#[tokio::test]
async fn forced_stop_releases_runs_uncounted() {
    let mut options = Options::new(Plan::coroutine(8, 0));
    // A stop that waited would outlast the test.
    options.stop_wait = 10 * WAIT_DEADLINE;
    let fixture = start_channel(options).await;
    let ids = fixture.push(&vec![job("sleep", r#"{"ms":600000}"#); 5]).await;
    fixture.until("all jobs to run", |s| s.reserved == 5).await;
    let store = std::sync::Arc::clone(&fixture.store);
    let stopped = fixture.stop(true).await;
    assert_eq!((stopped.handed_back, stopped.settled), (5, true));
    let status = store.status().await.unwrap();
    assert_eq!((status.waiting, status.reserved), (5, 0));
    assert_eq!(store.get(ids[0]).await.unwrap().unwrap().meta.attempts, 0);
}

#[tokio::test]
async fn guardian_death_costs_no_attempt() {
    let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
    let ids = fixture.push(&[job("sleep", r#"{"ms":500}"#)]).await;
    fixture.until("the job to run", |s| s.reserved == 1).await;
    let worker = worker_pid(&fixture).await;
    let stat = std::fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    let guardian: i32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    until_async("the loss to be counted", async || fixture.get(ids[0]).await.meta.lost == 1).await;
    assert_eq!(fixture.get(ids[0]).await.meta.attempts, 0);
    fixture.until("the job to be done", |s| s.done == 1).await;
    fixture.stop(false).await;
}

/// A worker that runs its jobs side by side. The job "killer" kills the guardian once all others have begun.
const WORKER_WITH_KILLER: &str = r#"
import json, os, select, signal, socket, time
master = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
slots = int(os.environ["AINT_QUEUE_SLOTS"])
say = lambda **frame: master.sendall(json.dumps(frame).encode() + b"\n")
say(type="hello", protocol=1, slots=slots, jobs=["killer", "other"])
buffer, due, kill_at = b"", {}, None
while True:
    now = time.monotonic()
    if kill_at and kill_at <= now:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    for run in [run for run, at in due.items() if at <= now]:
        del due[run]
        say(type="done", run=run)
    wait = min([*due.values(), kill_at or now + 60], default=now + 60) - now
    if not select.select([master], [], [], max(wait, 0))[0]:
        continue
    data = master.recv(1 << 20)
    if not data:
        break
    *lines, buffer = (buffer + data).split(b"\n")
    for frame in map(json.loads, lines):
        if frame["type"] == "stop":
            raise SystemExit
        if frame["type"] == "run" and frame["job"] == "killer":
            kill_at = time.monotonic() + 0.2
        elif frame["type"] == "run":  # alone a job is quick; among others it outlasts the killer
            due[frame["run"]] = time.monotonic() + (0 if slots == 1 else 1)
"#;

#[tokio::test]
async fn killers_of_guardians_fail_and_all_others_are_done() {
    let mut options = Options::new(Plan::coroutine(500, 0));
    options.program = Program::Wire(["python3", "-c", WORKER_WITH_KILLER].map(str::to_owned).to_vec());
    options.max_attempts = 1;
    let fixture = start_channel(options).await;
    let mut jobs = vec![job("other", "{}"); 498];
    jobs.insert(100, job("killer", "{}"));
    jobs.insert(400, job("killer", "{}"));
    let ids = fixture.push(&jobs).await;
    let ended = fixture.until("all jobs to end", |s| s.done + s.failed == 500).await;
    assert_eq!((ended.done, ended.failed), (498, 2));
    for killer in [ids[100], ids[400]] {
        let meta = fixture.get(killer).await.meta;
        assert_eq!((meta.failed, meta.lost, meta.attempts), (Some(FailReason::Lost), 3, 0));
        assert!(meta.last_error().contains("kills or stops its parent process"), "{}", meta.last_error());
    }
    // Twice with all jobs, then once for each culprit.
    assert_eq!(fixture.guardian.deaths(), 4);
    fixture.stop(false).await;
}

#[tokio::test]
async fn program_that_kills_its_parent_runs_three_times() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    let script = format!("echo x >> '{}'; kill -9 $PPID; sleep 60", runs.display());
    let mut options = Options::new(Plan::process_pool(1, 4, 0)).script(&script);
    options.max_attempts = 1;
    let fixture = start_channel(options).await;
    let ids = fixture.push(&[job("x", "{}")]).await;
    fixture.until("the job to fail", |s| s.failed == 1).await;
    let meta = fixture.get(ids[0]).await.meta;
    assert_eq!((meta.failed, meta.lost, meta.attempts), (Some(FailReason::Lost), 3, 0));
    assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 3);
    fixture.stop(false).await;
}

#[tokio::test]
async fn second_stop_joins_first_unless_forced() {
    let sleeper = |ms: u64| [job("sleep", &format!("{{\"ms\":{ms}}}"))];
    for (ms, force) in [(1_000, false), (600_000, true)] {
        let fixture = start_channel(Options::new(Plan::process_pool(1, 1, 0))).await;
        fixture.push(&sleeper(ms)).await;
        fixture.until("the job to run", |s| s.reserved == 1).await;
        fixture.commands.send(Command::Stop { force: false }).await.unwrap();
        let store = std::sync::Arc::clone(&fixture.store);
        let stopped = fixture.stop(force).await;
        assert!(stopped.jobs_settled && stopped.settled);
        let done = store.status().await.unwrap().done;
        assert_eq!((stopped.handed_back, done), if force { (1, 0) } else { (0, 1) });
    }
}
