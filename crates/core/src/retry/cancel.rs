//! Destinations of cancelled jobs. Pure.
//!
//! A cancelled job moves to `failed`, whatever attempts are left: its user wants no retry, but can inspect and reload it.
//! The ended run is not an attempt, because it did not end by itself. The failed callback does not run: it reports
//! unexpected failures, and this one was ordered.

use super::{Policy, failed};
use crate::job::{ErrorKind, FailReason, JobMeta, Timestamp};
use crate::store::Destination;

impl Policy {
    /// The destination of a job cancelled before a run.
    #[must_use]
    pub fn cancel(meta: JobMeta, now: Timestamp) -> Destination {
        cancelled(meta, "cancelled before its start", now)
    }
}

/// The destination of a job whose run was ended by a cancel.
pub(super) fn cancelled_run(meta: JobMeta, killed: bool, now: Timestamp) -> Destination {
    let how = if killed {
        "cancelled during its run: did not end when asked, killed"
    } else {
        "cancelled during its run: ended when asked"
    };
    cancelled(meta, how, now)
}

fn cancelled(mut meta: JobMeta, how: &str, now: Timestamp) -> Destination {
    // A job cancelled during its failed callback keeps the reason of its failure.
    if let Some(reason) = meta.failing.take() {
        let message = format!("the failed callback: {how}");
        meta.record_error(meta.attempts.max(1), now, ErrorKind::Callback, &message);
        return failed(meta, reason);
    }
    meta.record_error(meta.attempts.saturating_add(1), now, ErrorKind::Cancelled, how);
    failed(meta, FailReason::Cancelled)
}

#[cfg(test)]
mod tests {
    use super::super::SettlementFacts;
    use super::*;
    use crate::job::{JobId, JobOptions, Outcome};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn facts(options: JobOptions) -> SettlementFacts {
        SettlementFacts { id: JobId(1), options, now: NOW, chance: 0.5 }
    }

    fn rests(place: Destination) -> JobMeta {
        let Destination::Failed(meta) = place else { panic!("it goes to failed, not to {place:?}") };
        meta
    }

    #[test]
    fn cancelled_run_is_neither_attempt_nor_crash() {
        let before = JobMeta { attempts: 1, crashes: 1, max_attempts: Some(9), ..JobMeta::named("x") };
        for (killed, word) in [(true, "killed"), (false, "ended when asked")] {
            let outcome = Outcome::Cancelled { killed };
            let meta = rests(Policy::default().end(before.clone(), outcome, facts(JobOptions::default())));
            assert_eq!((meta.failed, meta.attempts, meta.crashes), (Some(FailReason::Cancelled), 1, 1));
            let noted = meta.errors.last().expect("it is noted");
            assert_eq!((noted.attempt, noted.kind), (2, ErrorKind::Cancelled));
            assert!(noted.message.contains(word), "{}", noted.message);
        }
    }

    #[test]
    fn cancelled_job_has_no_failed_callback() {
        let options = JobOptions { failed: true, ..JobOptions::default() };
        let outcome = Outcome::Cancelled { killed: false };
        let place = Policy::default().end(JobMeta::named("x"), outcome, facts(options));
        assert_eq!(rests(place).failed, Some(FailReason::Cancelled));
    }

    #[test]
    fn cancelled_callback_keeps_the_failure_reason() {
        let failing = JobMeta { failing: Some(FailReason::Exhausted), attempts: 3, ..JobMeta::named("x") };
        let ran = Policy::default().end(
            failing.clone(),
            Outcome::Cancelled { killed: true },
            facts(JobOptions::default()),
        );
        for place in [ran, Policy::cancel(failing, NOW)] {
            let meta = rests(place);
            assert_eq!((meta.failed, meta.failing, meta.attempts), (Some(FailReason::Exhausted), None, 3));
            assert_eq!(meta.errors.last().map(|e| e.kind), Some(ErrorKind::Callback));
        }
    }

    #[test]
    fn cancelled_unstarted_job_says_so() {
        let meta = rests(Policy::cancel(JobMeta { attempts: 2, ..JobMeta::named("x") }, NOW));
        assert_eq!((meta.failed, meta.attempts), (Some(FailReason::Cancelled), 2));
        assert_eq!(meta.last_error(), "cancelled before its start");
        assert_eq!(meta.errors[0].attempt, 3);
    }
}
