//! Explains the state of a job. Pure.

use std::fmt::Display;

use super::blockers::{blockers, failed_start, joined, without_room};
use super::facts::{Facts, Master, QueuePosition};
use super::reasons::{self, Explanation, Reason};
use crate::channel::{ChannelDetails, DoneRun, HeldJobStatus};
use crate::job::{ErrorKind, FailReason, Isolation, JobId};
use crate::pool::{CancelReason, RunStatus};
use crate::sanitize;
use crate::store::{JobState, JobView};
use crate::wording::{render, time};

/// Most characters of an error in a sentence.
const MAX_ERROR_CHARS: usize = 120;
/// Most characters of a job name in a sentence.
const MAX_NAME_CHARS: usize = 60;
/// Most names of handlers in a sentence.
const MAX_HANDLER_NAMES: usize = 5;

/// The reason for the state of `job`.
pub(crate) fn explain(job: &JobView, facts: &Facts) -> Explanation {
    match job.state {
        JobState::Waiting => waiting(job, facts),
        JobState::Delayed if job.at <= facts.now => waiting(job, facts),
        JobState::Delayed => delayed(job, facts),
        JobState::Reserved => reserved(job, facts),
        JobState::Failed => failed(job),
    }
}

/// The explanation for a job that is done.
pub(crate) fn done(run: &DoneRun) -> Explanation {
    reasons::DONE.explain(&[
        ("id", &run.id),
        ("job", &sanitize::truncated(&run.job, MAX_NAME_CHARS)),
        ("at", &time::local(run.at)),
        ("took", &render::duration(run.took_ms)),
        ("attempt", &run.attempt),
    ])
}

/// The explanation for a job that the store does not have.
pub(crate) fn unknown(id: JobId, channel: &str) -> Explanation {
    reasons::UNKNOWN.explain(&[("id", &id), ("channel", &channel)])
}

fn subject(job: &JobView) -> String {
    let name = sanitize::truncated(&job.meta.job, MAX_NAME_CHARS);
    match job.meta.failing {
        Some(_) => format!("The failed callback of job {} ({name})", job.id),
        None => format!("Job {} ({name})", job.id),
    }
}

fn waiting(job: &JobView, facts: &Facts) -> Explanation {
    let job_name = subject(job);
    let blockers = blockers(facts);
    if let Some(first) = blockers.first() {
        let caveats = format!("{}{}", no_handler(job, facts), expiry(job, facts));
        let blocked = reasons::JOB_BLOCKED.explain(&[
            ("job", &job_name),
            ("blockers", &joined(&blockers)),
            ("caveats", &caveats),
        ]);
        return Explanation { reason: first.reason, ..blocked };
    }
    let caveats = expiry(job, facts);
    if let Some(names) = missing_handler(job, facts) {
        let values = &[("job", &job_name as &dyn Display), ("names", &list(names)), ("caveats", &caveats)];
        return reasons::NO_HANDLER.explain(values);
    }
    let before = match facts.before {
        None | Some(QueuePosition::Exact(0)) => String::new(),
        Some(QueuePosition::Exact(n)) => format!(", with {} before it", render::jobs(n)),
        Some(QueuePosition::AtLeast(n)) => format!(", with at least {} before it", render::jobs(n)),
    };
    let ChannelDetails { slots, free, replacing, report, .. } = facts.details().cloned().unwrap_or_default();
    let detail = match (report.workers.booting, &report.worker_error) {
        (_, Some(error)) => format!(" ({})", sanitize::line(error)),
        (0, None) => String::new(),
        (booting, None) => format!(" ({booting} starting)"),
    };
    let reason = match (slots, free) {
        _ if job.meta.isolation() == Isolation::Master => reasons::EXCLUSIVE,
        _ if job.meta.isolation() == Isolation::Worker => reasons::ALONE,
        (_, 0) if replacing => reasons::WORKER_REPLACED,
        (0, 0) => reasons::NO_WORKER,
        (1, 0) => reasons::SLOT_BUSY,
        (_, 0) => reasons::SLOTS_BUSY,
        _ if before.is_empty() => reasons::NEXT,
        _ => reasons::IN_LINE,
    };
    reason.explain(&[
        ("job", &job_name),
        ("before", &before),
        ("detail", &detail),
        ("lost", &job.meta.lost),
        ("slots", &slots.max(free)),
        ("free", &free),
        ("caveats", &caveats),
    ])
}

fn delayed(job: &JobView, facts: &Facts) -> Explanation {
    let left = u64::try_from(job.at.since(facts.now).as_millis()).unwrap_or(u64::MAX);
    let blockers = blockers(facts);
    let also = if blockers.is_empty() { String::new() } else { format!("; also, {}", joined(&blockers)) };
    let caveats =
        format!("{}{}{}{}", isolation(job), no_handler(job, facts), expiry(job, facts), clock(facts));
    let last_error = job.meta.errors.last().map(|error| error.kind);
    let retried = job.meta.attempts > 0
        && matches!(last_error, Some(ErrorKind::Error | ErrorKind::Timeout | ErrorKind::Crash));
    let (attempt, max_attempts) = (job.meta.attempts, job.meta.max_attempts.unwrap_or(facts.max_attempts));
    let max_attempts = match job.meta.retry_end(job.id) {
        Some(end) => format!(", with retries until {},", time::local(end)),
        // The handler may have its own limit, which is not known here: show a limit only if it can be the right one.
        None if max_attempts > attempt => format!(" of {max_attempts}"),
        None => String::new(),
    };
    let reason = if retried { reasons::RETRY } else { reasons::DELAYED };
    reason.explain(&[
        ("job", &subject(job)),
        ("due", &time::local(job.at)),
        ("left", &render::duration(left)),
        ("attempt", &attempt),
        ("max_attempts", &max_attempts),
        ("error", &sanitize::truncated(job.meta.last_error(), MAX_ERROR_CHARS)),
        ("also", &also),
        ("caveats", &caveats),
    ])
}

fn reserved(job: &JobView, facts: &Facts) -> Explanation {
    let job_name = subject(job);
    let (pid, details) = match &facts.master {
        Master::NotRunning | Master::Elsewhere(_) => {
            return reasons::RESERVED_NO_MASTER.explain(&[("job", &job_name)]);
        }
        Master::Silent { is_denied, .. } => {
            let clauses = joined(&blockers(facts));
            let reason =
                if *is_denied { reasons::RESERVED_NO_PERMISSION } else { reasons::RESERVED_NOT_RESPONDING };
            return reason.explain(&[("job", &job_name), ("blockers", &clauses)]);
        }
        Master::Answered { pid, details, .. } => (*pid, details),
    };
    let error = sanitize::line(details.report.store_error.as_deref().unwrap_or_default());
    let is_without_worker = match &details.job {
        Some(HeldJobStatus::Ready { alone: false }) => true,
        Some(HeldJobStatus::Running(run)) => run.booting || run.pid.is_none(),
        _ => false,
    };
    if let Some((error, next)) = failed_start(&details.report).filter(|_| is_without_worker) {
        return reasons::LEASED_FAILING.explain(&[
            ("job", &job_name),
            ("pid", &pid),
            ("error", &error),
            ("next", &next),
        ]);
    }
    if let Some(error) = without_room(details).filter(|_| is_without_worker) {
        return reasons::LEASED_NO_ROOM.explain(&[("job", &job_name), ("pid", &pid), ("error", &error)]);
    }
    let reason = match &details.job {
        None => reasons::RESERVED_ELSEWHERE,
        Some(HeldJobStatus::Ready { alone: true }) if job.meta.isolation() == Isolation::Master => {
            reasons::LEASED_EXCLUSIVE
        }
        Some(HeldJobStatus::Ready { alone: true }) => reasons::LEASED_ALONE,
        Some(HeldJobStatus::Ready { alone: false }) => reasons::LEASED,
        Some(HeldJobStatus::Settling) if error.is_empty() => reasons::SETTLING,
        Some(HeldJobStatus::Settling) => reasons::SETTLING_FAILED,
        Some(HeldJobStatus::Running(run)) if run.booting => reasons::LEASED_STARTING,
        Some(HeldJobStatus::Running(run)) => return running(&job_name, pid, run),
    };
    reason.explain(&[("job", &job_name), ("pid", &pid), ("error", &error), ("lost", &job.meta.lost)])
}

fn running(job_name: &str, master: i32, run: &RunStatus) -> Explanation {
    let worker = run.pid.map_or("a worker".to_owned(), |pid| format!("worker {pid}"));
    let progress = run.progress.map_or(String::new(), |percent| format!(", {percent} % done"));
    let limit = run.limit_ms.map_or(String::new(), |ms| format!(" (limit {})", render::duration(ms)));
    let cause = match run.ending {
        Some(CancelReason::TimedOut) => "it exceeded its time limit",
        Some(CancelReason::Cancelled) => "it was cancelled",
        None => "",
    };
    let reason: Reason = match (run.ending, run.stuck) {
        (None, _) => reasons::RUNNING,
        (Some(_), false) => reasons::ENDING,
        (Some(_), true) => reasons::ENDING_STUCK,
    };
    reason.explain(&[
        ("job", &job_name),
        ("time", &render::duration(run.ms)),
        ("limit", &limit),
        ("worker", &worker),
        ("pid", &master),
        ("progress", &progress),
        ("cause", &cause),
    ])
}

fn failed(job: &JobView) -> Explanation {
    let attempts = match job.meta.attempts {
        0 => String::new(),
        1 => " after 1 attempt".to_owned(),
        n => format!(" after {n} attempts"),
    };
    let error = match job.meta.last_error() {
        "" => String::new(),
        error => format!(": {}", sanitize::truncated(error, MAX_ERROR_CHARS)),
    };
    reasons::FAILED.explain(&[
        ("job", &subject(job)),
        ("at", &time::local(job.at)),
        ("reason", &job.meta.failed.map_or("unknown", FailReason::as_str)),
        ("attempts", &attempts),
        ("error", &error),
        ("id", &job.id),
    ])
}

/// Caveat for a job whose name no worker of the channel has a handler for.
fn no_handler(job: &JobView, facts: &Facts) -> String {
    missing_handler(job, facts).map_or(String::new(), |names| {
        format!("; the workers of the channel have no handler for it, only for {}", list(names))
    })
}

/// Caveat for a delayed job that will need a worker of its own. A master delays such jobs itself when it has more than a few.
fn isolation(job: &JobView) -> String {
    let lost = job.meta.lost;
    match job.meta.isolation() {
        Isolation::None => String::new(),
        Isolation::Worker => {
            "; it then needs a worker of its own, because a worker crashed while running it".to_owned()
        }
        Isolation::Master => format!(
            "; it then needs a worker of its own, because its master or guardian was lost {lost} times while it ran; such jobs run one at a time per master"
        ),
    }
}

/// Caveat for a job that waits for a time of a clock that was set back.
fn clock(facts: &Facts) -> String {
    facts.clock_behind().map_or(String::new(), |step| {
        let seconds = step.as_secs_f64();
        format!("; the clock of the store was set back and is {seconds:.1} s behind, so the job may be late by this")
    })
}

/// Caveat for a job with an expiry. The failed callback of a job does not expire.
fn expiry(job: &JobView, facts: &Facts) -> String {
    match job.meta.expiry(job.id).filter(|_| job.meta.failing.is_none()) {
        None => String::new(),
        Some(time) if time <= facts.now => "; it has expired and will fail instead of running".to_owned(),
        Some(time) => format!("; it expires at {} unless it has started by then", time::local(time)),
    }
}

/// The names of the handlers of the workers, if none is for this job. A failed callback needs no handler.
fn missing_handler<'a>(job: &JobView, facts: &'a Facts) -> Option<&'a [String]> {
    let names = facts.details()?.handlers.as_deref()?;
    let is_known = job.meta.failing.is_some() || names.contains(&job.meta.job);
    (!is_known).then_some(names)
}

/// The first few names as text: `a, b and 3 more`.
fn list(names: &[String]) -> String {
    let first = names.iter().take(MAX_HANDLER_NAMES);
    let mut shown: Vec<_> = first.map(|name| sanitize::truncated(name, MAX_NAME_CHARS)).collect();
    if names.len() > MAX_HANDLER_NAMES {
        shown.push(format!("{} more", names.len() - MAX_HANDLER_NAMES));
    }
    render::listed(&shown)
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
