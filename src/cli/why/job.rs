//! Why a job does not run, or how it runs, in a sentence. Pure.

use super::blockers::{Explanation, blockers, joined};
use super::facts::{Facts, JobFacts, MasterFacts, QueuePosition, REPLACING_WORKER};
use crate::channel::HeldJobStatus;
use crate::cli::workers::span;
use crate::cli::{sanitize, time};
use crate::job::{ErrorKind, FailReason, JobId};
use crate::pool::{CancelReason, RunStatus};
use crate::store::JobState;

/// Most characters of an error that are shown.
const MAX_ERROR_CHARS: usize = 120;
/// Most names of handlers that are shown.
const MAX_HANDLER_NAMES: usize = 5;

/// Why `job` is where it is.
pub(super) fn answer(job: &JobFacts, facts: &Facts) -> Explanation {
    match job.state {
        JobState::Waiting => waits(job, facts),
        JobState::Delayed if job.at <= facts.now => waits(job, facts),
        JobState::Delayed => delayed(job, facts),
        JobState::Reserved => reserved(job, facts),
        JobState::Failed => failed(job),
    }
}

/// Why there is nothing to say about a job.
pub(super) fn unknown(id: JobId, channel: &str) -> Explanation {
    Explanation::new(
        "unknown",
        format!(
            "Channel \"{channel}\" has no job {id}: it is done, was removed, or never was; nothing is kept of jobs that \
             are done, so these cannot be told apart."
        ),
    )
}

fn subject(job: &JobFacts) -> String {
    let name = sanitize::truncated(&job.meta.job, 60);
    match job.meta.failing {
        Some(_) => format!("The failed callback of job {} ({name})", job.id),
        None => format!("Job {} ({name})", job.id),
    }
}

fn waits(job: &JobFacts, facts: &Facts) -> Explanation {
    let blockers = blockers(facts);
    if let Some(first) = blockers.first() {
        let text = format!("{} waits: {}{}.", subject(job), joined(&blockers), caveats(job, facts, true));
        return Explanation::new(first.reason, text);
    }
    if let Some(names) = without_handler(job, facts) {
        let (subject, names) = (subject(job), list(names));
        let text = format!(
            "{subject} has no handler: the workers of the channel name {names}; it fails as unknown_job when its turn \
             comes{}.",
            caveats(job, facts, false)
        );
        return Explanation::new("unknown_handler", text);
    }
    let Explanation { reason, text } = turn(job, facts);
    Explanation::new(reason, format!("{} {text}{}.", subject(job), caveats(job, facts, false)))
}

/// What a job of a channel that works waits for.
fn turn(job: &JobFacts, facts: &Facts) -> Explanation {
    let Some(view) = facts.view() else { return Explanation::new("next", "waits for its turn") };
    let before = match job.before {
        None | Some(QueuePosition::Exact(0)) => String::new(),
        Some(QueuePosition::Exact(n)) => format!("{} before it", sanitize::jobs(n)),
        Some(QueuePosition::AtLeast(n)) => format!("at least {} before it", sanitize::jobs(n)),
    };
    let and = |before: &str| if before.is_empty() { String::new() } else { format!(", with {before}") };
    if job.meta.suspect {
        let text = format!("waits for a worker of its own, for one crashed with it aboard{}", and(&before));
        return Explanation::new("alone", text);
    }
    match (view.slots, view.free) {
        (_, 0) if view.replacing => {
            Explanation::new("no_slot", format!("waits for a slot: {REPLACING_WORKER}{}", and(&before)))
        }
        (0, 0) => {
            let booting = view.report.workers.booting;
            let starts = match (booting, &view.report.worker_error) {
                (_, Some(error)) => format!(" ({})", sanitize::line(error)),
                (0, None) => String::new(),
                (n, None) => format!(", {n} of them being started"),
            };
            let text = format!("waits for a worker: none is ready{starts}{}", and(&before));
            Explanation::new("starting", text)
        }
        (slots, 0) => {
            let all = if slots == 1 { "the only one is".to_owned() } else { format!("all {slots} are") };
            Explanation::new("no_slot", format!("waits for a slot: {all} busy{}", and(&before)))
        }
        (slots, free) => {
            let slots = slots.max(free);
            let text =
                format!("waits for nothing but its turn: {free} of {slots} slots are free{}", and(&before));
            Explanation::new("next", text)
        }
    }
}

fn delayed(job: &JobFacts, facts: &Facts) -> Explanation {
    let (subject, due) = (subject(job), time::local(job.at));
    let left = u64::try_from(job.at.since(facts.now).as_millis()).unwrap_or(u64::MAX);
    let when = format!("until {due}, for {}", span(left));
    let also = blockers(facts);
    let also = if also.is_empty() { String::new() } else { format!("; also, {}", joined(&also)) };
    let also = format!("{also}{}", caveats(job, facts, true));
    let tried = matches!(
        job.meta.errors.last().map(|error| error.kind),
        Some(ErrorKind::Error | ErrorKind::Timeout | ErrorKind::Crash)
    );
    if job.meta.attempts == 0 || !tried {
        return Explanation::new("delayed", format!("{subject} is delayed {when}{also}."));
    }
    let (attempt, of) = (job.meta.attempts, job.meta.max_attempts.unwrap_or(facts.max_attempts));
    let error = sanitize::truncated(job.meta.last_error(), MAX_ERROR_CHARS);
    // The handler may allow others than push and channel say.
    let of = if of > attempt { format!(" of {of}") } else { String::new() };
    let text = format!(
        "{subject} waits {when}, to be tried again: attempt {attempt}{of} failed with \"{error}\"{also}."
    );
    Explanation::new("retry", text)
}

fn reserved(job: &JobFacts, facts: &Facts) -> Explanation {
    let subject = subject(job);
    let (pid, held) = match &facts.master {
        MasterFacts::None => {
            let text = format!(
                "{subject} is reserved, and no master of the channel runs here: one elsewhere or a queue:run has it, or one \
                 that is gone, and then it waits again when that one's lease has run out."
            );
            return Explanation::new("elsewhere", text);
        }
        MasterFacts::Silent { .. } => {
            let why = joined(&blockers(facts));
            return Explanation::new("silent", format!("{subject} is reserved, and {why}."));
        }
        MasterFacts::Answers { pid, view } => (pid, view.job.as_ref()),
    };
    match held {
        None => {
            let text = format!(
                "{subject} is reserved, and not by master {pid} of this machine: one elsewhere or a queue:run has it, or one \
                 that is gone, and then it waits again when that one's lease has run out."
            );
            Explanation::new("elsewhere", text)
        }
        Some(HeldJobStatus::Ready { alone: true }) => {
            let text = format!(
                "{subject} is leased by master {pid} and waits for a worker of its own, for one crashed with it aboard."
            );
            Explanation::new("alone", text)
        }
        Some(HeldJobStatus::Ready { alone: false }) => {
            Explanation::new("no_slot", format!("{subject} is leased by master {pid} and waits for a slot."))
        }
        Some(HeldJobStatus::Settling) => {
            let trouble = facts.view().and_then(|view| view.report.store_error.as_deref());
            let text = match trouble {
                Some(error) => format!(
                    "{subject} has ended its run, and master {pid} cannot tell the store: {}.",
                    sanitize::line(error)
                ),
                None => format!("{subject} has ended its run, and master {pid} tells the store."),
            };
            Explanation::new("settling", text)
        }
        Some(HeldJobStatus::Running(aboard)) => running(&subject, *pid, aboard),
    }
}

fn running(subject: &str, master: i32, aboard: &RunStatus) -> Explanation {
    if aboard.booting {
        let text = format!("{subject} is leased by master {master} and waits for its worker to start.");
        return Explanation::new("starting", text);
    }
    let worker = aboard.pid.map_or("a worker".to_owned(), |pid| format!("worker {pid}"));
    let progress = aboard.progress.map_or(String::new(), |percent| format!(", {percent} % done"));
    let limit = aboard.limit_ms.map_or(String::new(), |ms| format!(" of at most {}", span(ms)));
    let (reason, ending) = match aboard.ending {
        None => ("running", String::new()),
        Some(ending) => {
            let why = match ending {
                CancelReason::TimedOut => "its time is up",
                CancelReason::Cancelled => "it was cancelled",
            };
            let asked = if aboard.stuck {
                ", it was asked to end and does not: its worker is killed when the worker's other jobs have ended"
            } else {
                " and it was asked to end"
            };
            ("ending", format!("; {why}{asked}"))
        }
    };
    let for_ = span(aboard.ms);
    let text =
        format!("{subject} is running for {for_}{limit} in {worker} of master {master}{progress}{ending}.");
    Explanation::new(reason, text)
}

fn failed(job: &JobFacts) -> Explanation {
    let reason = job.meta.failed.map_or("unknown", FailReason::as_str);
    let (subject, at) = (subject(job), time::local(job.at));
    let after = match job.meta.attempts {
        0 => String::new(),
        1 => " after 1 attempt".to_owned(),
        n => format!(" after {n} attempts"),
    };
    let error = match job.meta.last_error() {
        "" => String::new(),
        error => format!(": {}", sanitize::truncated(error, MAX_ERROR_CHARS)),
    };
    let id = job.id;
    Explanation::new(
        "failed",
        format!(
            "{subject} has failed for good at {at}, {reason}{after}{error}; queue:reload-failed --id {id} runs it again."
        ),
    )
}

/// What else is to be known of a job that has not begun. `handler`: also whether it has one.
fn caveats(job: &JobFacts, facts: &Facts, handler: bool) -> String {
    let mut shown = String::new();
    if handler && let Some(names) = without_handler(job, facts) {
        let names = list(names);
        shown.push_str(&format!("; the workers of the channel name no handler for it, but {names}"));
    }
    match job.meta.expiry(job.id) {
        Some(time) if job.meta.failing.is_none() && time <= facts.now => {
            shown.push_str("; its expiry has passed, so it goes to failed instead of running");
        }
        Some(time) if job.meta.failing.is_none() => {
            let time = time::local(time);
            shown.push_str(&format!("; it expires at {time} if it has not begun by then"));
        }
        _ => {}
    }
    shown
}

/// The handlers there are, when the job's own is not among them. A failed callback without one is over when its turn comes.
fn without_handler<'a>(job: &JobFacts, facts: &'a Facts) -> Option<&'a [String]> {
    if job.meta.failing.is_some() { None } else { facts.without_handler(&job.meta.job) }
}

/// A few names.
fn list(names: &[String]) -> String {
    let mut shown: Vec<_> =
        names.iter().take(MAX_HANDLER_NAMES).map(|name| sanitize::truncated(name, 60)).collect();
    if names.len() > MAX_HANDLER_NAMES {
        shown.push(format!("{} more", names.len() - MAX_HANDLER_NAMES));
    }
    match shown.pop() {
        None => String::new(),
        Some(last) if shown.is_empty() => last,
        Some(last) => format!("{} and {last}", shown.join(", ")),
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
