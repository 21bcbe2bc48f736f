//! Facts about a job and the expected explanation.

use std::time::Duration;

use super::*;
use crate::channel::ChannelStatus;
use crate::job::{JobMeta, Timestamp};
use crate::pool::{PoolStatus, SizingChange, SizingDecision, SizingInput, SizingReason, WorkerCounts};
use crate::store::JobCounts;

const ID: JobId = JobId(1_796_029_000_000_000);
const NOW: Timestamp = Timestamp(1_796_029_200_000_000);

fn view(slots: usize, free: usize) -> ChannelDetails {
    ChannelDetails { slots, free, ..ChannelDetails::default() }
}

fn facts(view: ChannelDetails) -> Facts {
    Facts {
        channel: "mail".to_owned(),
        now: NOW,
        counts: JobCounts { waiting: 3, ..JobCounts::default() },
        master: Master::Answered { pid: 42, details: Box::new(view), other: None, differences: Vec::new() },
        max_attempts: 3,
        next_due: None,
        before: None,
    }
}

fn job(state: JobState) -> JobView {
    JobView { id: ID, state, at: NOW, meta: JobMeta::named("send_email"), payload: "{}".to_owned() }
}

fn holding(held: HeldJobStatus) -> Facts {
    facts(ChannelDetails { job: Some(held), ..view(4, 0) })
}

fn run() -> RunStatus {
    let (ending, stuck) = (None, false);
    RunStatus {
        pid: Some(7),
        booting: false,
        ms: 3_200,
        limit_ms: Some(10_000),
        progress: Some(40),
        ending,
        stuck,
        attempt: Some(1),
    }
}

/// Asserts the reason, and the sentence behind the job's name; times are cut out.
#[track_caller]
fn says(job: &JobView, facts: &Facts, reason: &str, sentence: &str) {
    let explained = explain(job, facts);
    let times = [job.at, job.meta.expiry(job.id).unwrap_or(job.at)].map(time::local);
    let text = times.iter().fold(explained.text, |text, time| text.replace(time, "T"));
    let expected = format!("Job {ID} (send_email) {sentence}");
    assert_eq!((explained.reason, text), (reason, expected));
}

#[test]
fn waiting_job_of_a_working_channel() {
    let waiting = job(JobState::Waiting);
    let behind = |before, view| Facts { before: Some(before), ..facts(view) };
    says(&waiting, &facts(view(4, 0)), "no_slot", "is waiting for a slot: all 4 are busy.");
    says(
        &waiting,
        &behind(QueuePosition::Exact(12), view(4, 0)),
        "no_slot",
        "is waiting for a slot: all 4 are busy, with 12 jobs before it.",
    );
    says(
        &waiting,
        &behind(QueuePosition::AtLeast(500), view(1, 0)),
        "no_slot",
        "is waiting for a slot: the only one is busy, with at least 500 jobs before it.",
    );
    says(
        &waiting,
        &behind(QueuePosition::Exact(12), ChannelDetails { replacing: true, ..view(1, 0) }),
        "no_slot",
        "is waiting for a slot: its worker has run max_handle_number jobs and is being replaced, with 12 jobs before it.",
    );
    let first = |view| behind(QueuePosition::Exact(0), view);
    says(&waiting, &first(view(4, 1)), "next", "is next in line; 1 of 4 slots free.");
    says(&waiting, &first(view(0, 0)), "starting", "is waiting for a worker: none is ready.");
    let mut suspect = waiting;
    suspect.meta.suspect = true;
    says(
        &suspect,
        &first(view(4, 4)),
        "alone",
        "is waiting for a worker of its own, because a worker crashed while running it.",
    );
}

#[test]
fn delayed_job_tells_of_a_clock_that_was_set_back() {
    let mut stepped = facts(view(4, 4));
    stepped.counts.clock_behind = Some(Duration::from_millis(90_500));
    let delayed = JobView { at: Timestamp(stepped.now.0 + 5_000_000), ..job(JobState::Delayed) };
    let text = explain(&delayed, &stepped).text;
    let says = "; the clock of the store was set back and is 90.5 s behind, so the job may be late by this.";
    assert!(text.ends_with(says), "{text}");
}

#[test]
fn delayed_job_tells_that_it_needs_a_worker_of_its_own() {
    let mut delayed = JobView { at: Timestamp(NOW.0 + 5_000_000), ..job(JobState::Delayed) };
    delayed.meta.suspect = true;
    let text = explain(&delayed, &facts(view(4, 4))).text;
    assert!(
        text.ends_with("; it then needs a worker of its own, because a worker crashed while running it."),
        "{text}"
    );
    delayed.meta.lost = 2;
    let text = explain(&delayed, &facts(view(4, 4))).text;
    assert!(
        text.contains("its master or guardian was lost 2 times while it ran; such jobs run one at a time"),
        "{text}"
    );
}

#[test]
fn waiting_job_of_a_blocked_channel() {
    let waiting = job(JobState::Waiting);
    let mut still = facts(view(4, 4));
    still.counts.paused = true;
    says(&waiting, &still, "paused", "is waiting: the channel is paused until queue:resume.");
    still.counts.paused_until = Some(waiting.at);
    says(&waiting, &still, "paused", "is waiting: the channel is paused until T.");
    still.counts.paused_until = None;
    still.master = Master::NotRunning;
    let no_master = "no master of the channel runs on this machine (queue:listen starts one)";
    says(
        &waiting,
        &still,
        "paused",
        &format!("is waiting: the channel is paused until queue:resume; also, {no_master}."),
    );
    still.counts.paused = false;
    says(&waiting, &still, "no_master", &format!("is waiting: {no_master}."));
    still.counts.reserved = 1;
    let elsewhere = "but 1 job is reserved, so one may run on another machine";
    says(&waiting, &still, "no_master", &format!("is waiting: {no_master}, {elsewhere}."));
    still.master = Master::Silent {
        pid: Some(42),
        error: "the master did not answer within 5 seconds".to_owned(),
        is_denied: false,
        is_running: true,
    };
    says(
        &waiting,
        &still,
        "silent",
        "is waiting: master 42 is not responding: the master did not answer within 5 seconds.",
    );

    let with = |report| facts(ChannelDetails { report, ..view(0, 0) });
    let stopping = with(ChannelStatus { stopping: true, ..ChannelStatus::default() });
    says(&waiting, &stopping, "stopping", "is waiting: master 42 is stopping.");
    let quiet = with(ChannelStatus { quiet: true, ..ChannelStatus::default() });
    says(&waiting, &quiet, "quiet", "is waiting: master 42 is quiet (queue:resume ends that).");
    let store = with(ChannelStatus { store_error: Some("refused".to_owned()), ..ChannelStatus::default() });
    says(&waiting, &store, "store", "is waiting: the store is unavailable to master 42: refused.");
    let decision =
        SizingDecision { workers: 0, why: SizingReason::ManualMinimum, load: SizingInput::default() };
    let scaled = vec![SizingChange { ago_ms: 1, from: 2, decision }];
    let scaled = with(ChannelStatus {
        pool: Box::new(PoolStatus { scaled, ..PoolStatus::default() }),
        ..ChannelStatus::default()
    });
    let said = "is waiting: scaled to 0 workers by queue:scale (queue:scale +1 adds one).";
    says(&waiting, &scaled, "scaled", said);
    let pool = Box::new(PoolStatus { degraded: true, next_boot_ms: Some(3_000), ..PoolStatus::default() });
    let worker_error = Some("it exited with 1 before it was ready".to_owned());
    let degraded = with(ChannelStatus { pool, worker_error, ..ChannelStatus::default() });
    let said =
        "is waiting: workers fail to start: it exited with 1 before it was ready (next attempt in 3.0 s).";
    says(&waiting, &degraded, "degraded", said);
}

#[test]
fn first_failed_start_is_the_reason() {
    let report = |workers| ChannelStatus {
        worker_error: Some("could not run \"x\": no such file".to_owned()),
        pool: Box::new(PoolStatus { next_boot_ms: Some(100), ..PoolStatus::default() }),
        workers,
        ..ChannelStatus::default()
    };
    let failing = |slots, held| {
        facts(ChannelDetails { report: report(WorkerCounts::default()), job: held, ..view(slots, 0) })
    };
    let why = "no worker is ready, and the last one failed to start: could not run \"x\": no such file (next attempt in 100 ms).";
    says(&job(JobState::Waiting), &failing(1, None), "worker_error", &format!("is waiting: {why}"));
    let held = Some(HeldJobStatus::Ready { alone: false });
    says(
        &job(JobState::Reserved),
        &failing(1, held),
        "worker_error",
        &format!("is leased by master 42, but {why}"),
    );
    // Other workers run jobs: the channel is short of workers and not blocked.
    let workers = WorkerCounts { busy: 1, ..WorkerCounts::default() };
    let report = ChannelStatus { pids: vec![7], ..report(workers) };
    let short = facts(ChannelDetails { report, ..view(1, 0) });
    says(&job(JobState::Waiting), &short, "no_slot", "is waiting for a slot: the only one is busy.");
}

#[test]
fn job_without_a_handler() {
    let handlers = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let mut knows = facts(ChannelDetails { handlers: handlers(&["a", "b", "c"]), ..view(4, 0) });
    let said = "has no handler: the workers of the channel have handlers for a, b and c; the job fails as unknown_job when it is dispatched.";
    says(&job(JobState::Waiting), &knows, "unknown_handler", said);
    knows.counts.paused = true;
    let said = "is waiting: the channel is paused until queue:resume; the workers of the channel have no handler for it, only for a, b and c.";
    says(&job(JobState::Waiting), &knows, "paused", said);
    let known = facts(ChannelDetails { handlers: handlers(&["send_email"]), ..view(4, 0) });
    says(&job(JobState::Waiting), &known, "no_slot", "is waiting for a slot: all 4 are busy.");
    let names: Vec<_> = (0..9).map(|n| n.to_string()).collect();
    assert_eq!(list(&names), "0, 1, 2, 3, 4 and 4 more");
}

#[test]
fn job_with_an_expiry() {
    let mut waiting = job(JobState::Waiting);
    waiting.meta.expires_in_ms = Some(300_000);
    let said = "is waiting for a slot: all 4 are busy; it expires at T unless it has started by then.";
    says(&waiting, &facts(view(4, 0)), "no_slot", said);
    waiting.meta.expires_in_ms = Some(1_000);
    let said = "is waiting for a slot: all 4 are busy; it has expired and will fail instead of running.";
    says(&waiting, &facts(view(4, 0)), "no_slot", said);
}

#[test]
fn delayed_job() {
    let mut delayed = JobView { at: Timestamp(NOW.0 + 90_000_000), ..job(JobState::Delayed) };
    says(&delayed, &facts(view(4, 4)), "delayed", "is delayed until T, for 1 min.");
    delayed.meta.attempts = 1;
    delayed.meta.record_error(1, NOW, ErrorKind::Error, "no route\nto host");
    let said = "is delayed until T, for 1 min, before its next attempt: attempt 1 of 3 failed with \"no route\\nto host\".";
    says(&delayed, &facts(view(4, 4)), "retry", said);
    let mut alone = facts(view(4, 4));
    (alone.counts.paused, alone.master) = (true, Master::NotRunning);
    let answered = explain(&delayed, &alone);
    assert_eq!(answered.reason, "retry");
    assert!(
        answered.text.contains("\"; also, the channel is paused until queue:resume; also, no master"),
        "{answered:?}"
    );
    // Due, and only not yet moved.
    let due = job(JobState::Delayed);
    says(&due, &facts(view(4, 4)), "next", "is next in line; 4 of 4 slots free.");
}

#[test]
fn reserved_job() {
    let reserved = job(JobState::Reserved);
    let running = |run| holding(HeldJobStatus::Running(run));
    let said = "has been running for 3.2 s (limit 10.0 s) in worker 7 of master 42, 40 % done";
    says(&reserved, &running(run()), "running", &format!("{said}."));
    let late = RunStatus { ending: Some(CancelReason::TimedOut), ..run() };
    says(
        &reserved,
        &running(late),
        "ending",
        &format!("{said}; it exceeded its time limit and was asked to end."),
    );
    let deaf = RunStatus { ending: Some(CancelReason::Cancelled), stuck: true, ..run() };
    let waits = "but does not end: its worker is killed when the worker's other jobs have ended";
    says(&reserved, &running(deaf), "ending", &format!("{said}; it was cancelled {waits}."));
    let booting = RunStatus { booting: true, ..run() };
    says(
        &reserved,
        &running(booting),
        "starting",
        "is leased by master 42 and waiting for its worker to start.",
    );
    let ready = holding(HeldJobStatus::Ready { alone: false });
    says(&reserved, &ready, "no_slot", "is leased by master 42 and waiting for a slot.");
    let mut settling = holding(HeldJobStatus::Settling);
    says(&reserved, &settling, "settling", "has ended its run; master 42 is settling it in the store.");
    let Master::Answered { details, .. } = &mut settling.master else { unreachable!() };
    details.report.store_error = Some("refused".to_owned());
    says(
        &reserved,
        &settling,
        "settling",
        "has ended its run, but master 42 cannot settle it in the store: refused.",
    );
}

#[test]
fn reserved_job_of_another_master() {
    let reserved = job(JobState::Reserved);
    let rest = "it is held by a master on another machine, by a queue:run, or by a dead owner until its lease expires.";
    let not_ours = format!("is reserved, but not by master 42 on this machine; {rest}");
    says(&reserved, &facts(view(4, 4)), "elsewhere", &not_ours);
    let mut none = facts(view(4, 4));
    none.master = Master::NotRunning;
    says(
        &reserved,
        &none,
        "elsewhere",
        &format!("is reserved, but no master of the channel runs on this machine; {rest}"),
    );
}

#[test]
fn failed_job_and_missing_job() {
    let mut failed = job(JobState::Failed);
    (failed.meta.failed, failed.meta.attempts) = (Some(FailReason::Exhausted), 3);
    failed.meta.record_error(3, NOW, ErrorKind::Error, "no");
    let said =
        format!("failed at T, exhausted after 3 attempts: no; queue:reload-failed --id {ID} retries it.");
    says(&failed, &facts(view(4, 4)), "failed", &said);
    let unknown = unknown(JobId(17), "mail");
    assert_eq!(unknown.reason, "unknown");
    assert!(
        unknown.text.starts_with("Channel \"mail\" has no job 17: it is done, was removed, or never existed")
    );
}

#[test]
fn failed_callback_differs_from_the_job() {
    let mut callback = job(JobState::Waiting);
    callback.meta.failing = Some(FailReason::Exhausted);
    let explained = explain(&callback, &facts(view(4, 0)));
    assert!(explained.text.starts_with("The failed callback of job "), "{explained:?}");
}
