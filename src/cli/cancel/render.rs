//! Text and JSON for the result of a cancel. Pure.

use serde_json::{Value as Json, json};

use super::job_cancel::{CancelResult, CancelledFrom};
use crate::channel::{CancelMethod, ChannelStatus};
use crate::cli::{Exit, Failure, sanitize, time};
use crate::job::{FailReason, JobId};

/// Text for a cancelled job; `None` when the job was not cancelled.
pub(super) fn cancelled(id: JobId, result: &CancelResult) -> Option<String> {
    let (from, reason) = match result {
        CancelResult::AlreadyCancelled => return Some(format!("Job {id} was already cancelled.\n")),
        CancelResult::Cancelled { from, reason } => (from, *reason),
        _ => return None,
    };
    let (.., how) = described(*from);
    Some(if reason == FailReason::Cancelled {
        format!("Job {id} is cancelled; {how}.\n")
    } else {
        let reason = reason.as_str();
        format!("The failed callback of job {id} is cancelled; {how}. The job has failed: {reason}.\n")
    })
}

/// How a job was cancelled: the word in JSON, the milliseconds until its run had ended, and a clause.
fn described(from: CancelledFrom) -> (&'static str, Option<u64>, String) {
    match from {
        CancelledFrom::Waiting => ("waiting", None, "it was waiting".to_owned()),
        CancelledFrom::Delayed(until) => {
            ("delayed", None, format!("it was delayed until {}", time::local(until)))
        }
        CancelledFrom::Held { how: CancelMethod::NotBegun, .. } => {
            ("ready", None, "it had not started".to_owned())
        }
        CancelledFrom::Held { how: CancelMethod::Asked, ms } => {
            ("asked", Some(ms), format!("it ended on request after {ms} ms"))
        }
        CancelledFrom::Held { how: CancelMethod::Killed, ms } => {
            ("killed", Some(ms), format!("it did not end on request and was killed after {ms} ms"))
        }
    }
}

/// The failure for a job that was not cancelled.
pub(super) fn failure(id: JobId, result: &CancelResult, channel: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("cancel job {id}"));
    match result {
        CancelResult::Cancelled { .. } | CancelResult::AlreadyCancelled => failure,
        CancelResult::Done => failure.because("it was done before the cancel"),
        CancelResult::Failed(reason) => failure
            .because(format!("it has already failed: {}", reason.as_str()))
            .hint(format!("queue:show {id} shows its errors")),
        CancelResult::Gone => failure.because("it was running and no longer exists: it is done or was cleared"),
        CancelResult::Unknown => failure
            .because(format!("channel \"{channel}\" has no such job"))
            .hint("jobs that are done or were removed leave no record"),
        CancelResult::HeldElsewhere { master } => failure
            .because(match master {
                true => "it is reserved, but not by the master of this machine and pid_path",
                false => "it is reserved, but no master of the channel runs on this machine with this pid_path",
            })
            .hint(
                "run queue:cancel on the machine of its master; stop the queue:run that holds it; or, if its master died, \
                 wait up to a minute until the lease expires",
            ),
        CancelResult::TooDeep => failure
            .because("more than 10,000 jobs wait before it, too many to lease it by its id")
            .hint("try again when fewer jobs are waiting, or remove all waiting jobs with queue:clear"),
        CancelResult::Refused(why) => failure
            .because(sanitize::lines(why))
            .hint(format!("queue:show {id} shows its state")),
    }
}

/// Notice printed once when a cancel takes long.
pub(super) fn slow_notice(id: JobId, report: &ChannelStatus) -> String {
    if let Some(error) = &report.store_error {
        let error = sanitize::line(error);
        return format!("job {id}: waiting for the store, which does not respond: {error}");
    }
    format!(
        "job {id} does not end on request: it is killed when the other jobs of its worker have ended, or after \
         stop_wait_seconds"
    )
}

/// JSON for the result of a cancel.
pub(super) fn json(id: JobId, result: &CancelResult) -> Json {
    let word = match result {
        CancelResult::Cancelled { .. } | CancelResult::AlreadyCancelled => "cancelled",
        CancelResult::Done => "done",
        CancelResult::Failed(_) => "failed",
        CancelResult::Gone => "gone",
        CancelResult::Unknown => "unknown",
        CancelResult::HeldElsewhere { .. } => "elsewhere",
        CancelResult::TooDeep | CancelResult::Refused(_) => "refused",
    };
    let (how, ms, reason) = match result {
        CancelResult::Cancelled { from, reason } => {
            let (how, ms, _) = described(*from);
            (Some(how), ms, Some(*reason))
        }
        CancelResult::AlreadyCancelled => (Some("before"), None, Some(FailReason::Cancelled)),
        CancelResult::Failed(reason) => (None, None, Some(*reason)),
        _ => (None, None, None),
    };
    json!({ "id": id, "result": word, "how": how, "after_ms": ms, "reason": reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: JobId = JobId(17);

    fn held(how: CancelMethod) -> CancelResult {
        CancelResult::Cancelled { from: CancelledFrom::Held { how, ms: 320 }, reason: FailReason::Cancelled }
    }

    #[test]
    fn cancel_text_reports_how_the_run_ended() {
        let said = |result: &CancelResult| cancelled(ID, result).unwrap();
        assert_eq!(said(&held(CancelMethod::NotBegun)), "Job 17 is cancelled; it had not started.\n");
        assert_eq!(
            said(&held(CancelMethod::Asked)),
            "Job 17 is cancelled; it ended on request after 320 ms.\n"
        );
        assert_eq!(
            said(&held(CancelMethod::Killed)),
            "Job 17 is cancelled; it did not end on request and was killed after 320 ms.\n"
        );
        let callback =
            CancelResult::Cancelled { from: CancelledFrom::Waiting, reason: FailReason::Exhausted };
        assert_eq!(
            said(&callback),
            "The failed callback of job 17 is cancelled; it was waiting. The job has failed: exhausted.\n"
        );
    }

    #[test]
    fn uncancelled_job_is_a_failure_with_reason() {
        for (result, says) in [
            (CancelResult::Done, "it was done"),
            (CancelResult::Failed(FailReason::Poison), "already failed: poison"),
            (CancelResult::Gone, "no longer exists"),
            (CancelResult::Unknown, "has no such job"),
            (CancelResult::HeldElsewhere { master: false }, "on the machine of its master"),
            (CancelResult::TooDeep, "10,000"),
            (CancelResult::Refused("no\x1b".to_owned()), "no\\u{1b}"),
        ] {
            assert_eq!(cancelled(ID, &result), None);
            let failure = failure(ID, &result, "default");
            assert_eq!(failure.exit(), Exit::Failed);
            assert!(failure.to_string().contains(says), "{failure}");
        }
    }

    #[test]
    fn cancel_wait_text_names_the_reason() {
        let mut report = ChannelStatus::default();
        assert!(slow_notice(ID, &report).starts_with("job 17 does not end on request: it is killed when"));
        report.store_error = Some("refused".to_owned());
        assert_eq!(
            slow_notice(ID, &report),
            "job 17: waiting for the store, which does not respond: refused"
        );
    }

    #[test]
    fn cancel_json_has_a_code_and_numbers() {
        let shown = json(ID, &held(CancelMethod::Killed));
        let expected = json!({ "id": 17, "result": "cancelled", "how": "killed", "after_ms": 320, "reason": "cancelled" });
        assert_eq!(shown, expected);
        assert_eq!(json(ID, &CancelResult::Unknown)["result"], "unknown");
    }
}
