//! A table of what is known, and what is said.

use super::*;
use crate::channel::{ChannelDetails, ChannelStatus};
use crate::job::{JobMeta, Timestamp};
use crate::pool::{PoolStatus, SizingChange, SizingDecision, SizingInput, SizingReason};
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
        master: MasterFacts::Answers { pid: 42, view: Box::new(view) },
        max_attempts: 3,
        next_due: None,
    }
}

fn job(state: JobState) -> JobFacts {
    JobFacts { id: ID, state, at: NOW, meta: JobMeta::named("send_email"), before: None }
}

fn holding(held: HeldJobStatus) -> Facts {
    facts(ChannelDetails { job: Some(held), ..view(4, 0) })
}

fn aboard() -> RunStatus {
    let (ending, stuck) = (None, false);
    RunStatus {
        pid: Some(7),
        booting: false,
        ms: 3_200,
        limit_ms: Some(10_000),
        progress: Some(40),
        ending,
        stuck,
    }
}

/// Asserts the reason, and the sentence behind the job's name; times are cut out.
#[track_caller]
fn says(job: &JobFacts, facts: &Facts, reason: &str, sentence: &str) {
    let answer = answer(job, facts);
    let times = [job.at, job.meta.expiry(job.id).unwrap_or(job.at)].map(time::local);
    let text = times.iter().fold(answer.text, |text, time| text.replace(time, "T"));
    let expected = format!("Job {ID} (send_email) {sentence}");
    assert_eq!((answer.reason, text), (reason, expected));
}

#[test]
fn waiting_job_of_a_working_channel() {
    let waiting = job(JobState::Waiting);
    let behind = |before| JobFacts { before: Some(before), ..waiting.clone() };
    says(&waiting, &facts(view(4, 0)), "no_slot", "waits for a slot: all 4 are busy.");
    let at_12 = behind(QueuePosition::Exact(12));
    says(&at_12, &facts(view(4, 0)), "no_slot", "waits for a slot: all 4 are busy, with 12 jobs before it.");
    let deep = behind(QueuePosition::AtLeast(500));
    says(
        &deep,
        &facts(view(1, 0)),
        "no_slot",
        "waits for a slot: the only one is busy, with at least 500 jobs before it.",
    );
    says(
        &at_12,
        &facts(ChannelDetails { replacing: true, ..view(1, 0) }),
        "no_slot",
        "waits for a slot: its worker has run max_handle_number jobs and is being replaced, with 12 jobs before it.",
    );
    let next = behind(QueuePosition::Exact(0));
    says(&next, &facts(view(4, 1)), "next", "waits for nothing but its turn: 1 of 4 slots are free.");
    says(&next, &facts(view(0, 0)), "starting", "waits for a worker: none is ready.");
    let mut suspect = next;
    suspect.meta.suspect = true;
    says(
        &suspect,
        &facts(view(4, 4)),
        "alone",
        "waits for a worker of its own, for one crashed with it aboard.",
    );
}

#[test]
fn waiting_job_of_a_blocked_channel() {
    let waiting = job(JobState::Waiting);
    let mut still = facts(view(4, 4));
    still.counts.paused = true;
    says(&waiting, &still, "paused", "waits: the channel is paused until somebody runs queue:resume.");
    still.counts.paused_until = Some(waiting.at);
    says(&waiting, &still, "paused", "waits: the channel is paused until T.");
    still.counts.paused_until = None;
    still.master = MasterFacts::None;
    let no_master = "no master of the channel runs here (queue:listen starts one)";
    says(
        &waiting,
        &still,
        "paused",
        &format!("waits: the channel is paused until somebody runs queue:resume; also, {no_master}."),
    );
    still.counts.paused = false;
    says(&waiting, &still, "no_master", &format!("waits: {no_master}."));
    still.counts.reserved = 1;
    let elsewhere = "though 1 job is reserved, so one may run elsewhere";
    says(&waiting, &still, "no_master", &format!("waits: {no_master}, {elsewhere}."));
    still.master = MasterFacts::Silent { pid: Some(42), why: "timed out".to_owned() };
    says(&waiting, &still, "silent", "waits: its master 42 does not answer: timed out.");

    let with = |report| facts(ChannelDetails { report, ..view(0, 0) });
    let stopping = with(ChannelStatus { stopping: true, ..ChannelStatus::default() });
    says(&waiting, &stopping, "stopping", "waits: its master 42 is stopping.");
    let quiet = with(ChannelStatus { quiet: true, ..ChannelStatus::default() });
    says(
        &waiting,
        &quiet,
        "quiet",
        "waits: its master 42 was told to take no jobs (queue:resume ends that).",
    );
    let store = with(ChannelStatus { store_error: Some("refused".to_owned()), ..ChannelStatus::default() });
    says(&waiting, &store, "store", "waits: its master 42 cannot use the store: refused.");
    let decision =
        SizingDecision { workers: 0, why: SizingReason::ManualMinimum, load: SizingInput::default() };
    let scaled = vec![SizingChange { ago_ms: 1, from: 2, decision }];
    let scaled = with(ChannelStatus {
        pool: Box::new(PoolStatus { scaled, ..PoolStatus::default() }),
        ..ChannelStatus::default()
    });
    let said = "waits: somebody has scaled it to no workers (queue:scale +1 brings one).";
    says(&waiting, &scaled, "scaled", said);
    let pool = Box::new(PoolStatus { degraded: true, next_boot_ms: Some(3_000), ..PoolStatus::default() });
    let worker_error = Some("it exited with 1 before it was ready".to_owned());
    let degraded = with(ChannelStatus { pool, worker_error, ..ChannelStatus::default() });
    let said =
        "waits: no worker can be started: it exited with 1 before it was ready (the next try is in 3.0 s).";
    says(&waiting, &degraded, "degraded", said);
}

#[test]
fn job_without_a_handler() {
    let handlers = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let mut knows = facts(ChannelDetails { handlers: handlers(&["a", "b", "c"]), ..view(4, 0) });
    let said = "has no handler: the workers of the channel name a, b and c; it fails as unknown_job when its turn comes.";
    says(&job(JobState::Waiting), &knows, "unknown_handler", said);
    knows.counts.paused = true;
    let said = "waits: the channel is paused until somebody runs queue:resume; the workers of the channel name no handler for it, but a, b and c.";
    says(&job(JobState::Waiting), &knows, "paused", said);
    let known = facts(ChannelDetails { handlers: handlers(&["send_email"]), ..view(4, 0) });
    says(&job(JobState::Waiting), &known, "no_slot", "waits for a slot: all 4 are busy.");
    let names: Vec<_> = (0..9).map(|n| n.to_string()).collect();
    assert_eq!(list(&names), "0, 1, 2, 3, 4 and 4 more");
}

#[test]
fn job_with_an_expiry() {
    let mut waiting = job(JobState::Waiting);
    waiting.meta.expires_in_ms = Some(300_000);
    let said = "waits for a slot: all 4 are busy; it expires at T if it has not begun by then.";
    says(&waiting, &facts(view(4, 0)), "no_slot", said);
    waiting.meta.expires_in_ms = Some(1_000);
    let said =
        "waits for a slot: all 4 are busy; its expiry has passed, so it goes to failed instead of running.";
    says(&waiting, &facts(view(4, 0)), "no_slot", said);
}

#[test]
fn delayed_job() {
    let mut delayed = JobFacts { at: Timestamp(NOW.0 + 90_000_000), ..job(JobState::Delayed) };
    says(&delayed, &facts(view(4, 4)), "delayed", "is delayed until T, for 1 min.");
    delayed.meta.attempts = 1;
    delayed.meta.record_error(1, NOW, ErrorKind::Error, "no route\nto host");
    let said =
        "waits until T, for 1 min, to be tried again: attempt 1 of 3 failed with \"no route\\nto host\".";
    says(&delayed, &facts(view(4, 4)), "retry", said);
    let mut alone = facts(view(4, 4));
    (alone.counts.paused, alone.master) = (true, MasterFacts::None);
    let answered = answer(&delayed, &alone);
    assert_eq!(answered.reason, "retry");
    assert!(
        answered
            .text
            .contains("\"; also, the channel is paused until somebody runs queue:resume; also, no master"),
        "{answered:?}"
    );
    // Due, and only not yet moved.
    let due = job(JobState::Delayed);
    says(&due, &facts(view(4, 4)), "next", "waits for nothing but its turn: 4 of 4 slots are free.");
}

#[test]
fn reserved_job() {
    let reserved = job(JobState::Reserved);
    let running = |aboard| holding(HeldJobStatus::Running(aboard));
    let said = "is running for 3.2 s of at most 10.0 s in worker 7 of master 42, 40 % done";
    says(&reserved, &running(aboard()), "running", &format!("{said}."));
    let late = RunStatus { ending: Some(CancelReason::TimedOut), ..aboard() };
    says(&reserved, &running(late), "ending", &format!("{said}; its time is up and it was asked to end."));
    let deaf = RunStatus { ending: Some(CancelReason::Cancelled), stuck: true, ..aboard() };
    let waits = "and does not: its worker is killed when the worker's other jobs have ended";
    says(
        &reserved,
        &running(deaf),
        "ending",
        &format!("{said}; it was cancelled, it was asked to end {waits}."),
    );
    let booting = RunStatus { booting: true, ..aboard() };
    says(
        &reserved,
        &running(booting),
        "starting",
        "is leased by master 42 and waits for its worker to start.",
    );
    let ready = holding(HeldJobStatus::Ready { alone: false });
    says(&reserved, &ready, "no_slot", "is leased by master 42 and waits for a slot.");
    let mut settling = holding(HeldJobStatus::Settling);
    says(&reserved, &settling, "settling", "has ended its run, and master 42 tells the store.");
    let MasterFacts::Answers { view, .. } = &mut settling.master else { unreachable!() };
    view.report.store_error = Some("refused".to_owned());
    says(
        &reserved,
        &settling,
        "settling",
        "has ended its run, and master 42 cannot tell the store: refused.",
    );
}

#[test]
fn reserved_job_of_another_master() {
    let reserved = job(JobState::Reserved);
    let rest = "one elsewhere or a queue:run has it, or one that is gone, and then it waits again when that one's lease has \
                run out.";
    let not_ours = format!("is reserved, and not by master 42 of this machine: {rest}");
    says(&reserved, &facts(view(4, 4)), "elsewhere", &not_ours);
    let mut none = facts(view(4, 4));
    none.master = MasterFacts::None;
    says(
        &reserved,
        &none,
        "elsewhere",
        &format!("is reserved, and no master of the channel runs here: {rest}"),
    );
}

#[test]
fn failed_job_and_missing_job() {
    let mut failed = job(JobState::Failed);
    (failed.meta.failed, failed.meta.attempts) = (Some(FailReason::Exhausted), 3);
    failed.meta.record_error(3, NOW, ErrorKind::Error, "no");
    let said = format!(
        "has failed for good at T, exhausted after 3 attempts: no; queue:reload-failed --id {ID} runs it again."
    );
    says(&failed, &facts(view(4, 4)), "failed", &said);
    let unknown = unknown(JobId(17), "mail");
    assert_eq!(unknown.reason, "unknown");
    assert!(
        unknown.text.starts_with("Channel \"mail\" has no job 17: it is done, was removed, or never was")
    );
}

#[test]
fn failed_callback_differs_from_the_job() {
    let mut callback = job(JobState::Waiting);
    callback.meta.failing = Some(FailReason::Exhausted);
    let answer = answer(&callback, &facts(view(4, 0)));
    assert!(answer.text.starts_with("The failed callback of job "), "{answer:?}");
}
