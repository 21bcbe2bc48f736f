//! What is said about a job that was to be cancelled. Pure.

use serde_json::{Value as Json, json};

use super::one::{CancelResult, CancelledFrom};
use crate::channel::{CancelMethod, ChannelStatus};
use crate::cli::{Exit, Failure, sanitize, time};
use crate::job::{FailReason, JobId};

/// What is said of a job that is cancelled; `None` of one that is not.
pub(super) fn cancelled(id: JobId, result: &CancelResult) -> Option<String> {
    let (from, reason) = match result {
        CancelResult::AlreadyCancelled => return Some(format!("Job {id} was cancelled before.\n")),
        CancelResult::Cancelled { from, reason } => (from, *reason),
        _ => return None,
    };
    let how = match from {
        CancelledFrom::Waiting => "it was waiting".to_owned(),
        CancelledFrom::Delayed(until) => format!("it was delayed until {}", time::local(*until)),
        CancelledFrom::Held { how: CancelMethod::NotBegun, .. } => "it had not begun".to_owned(),
        CancelledFrom::Held { how: CancelMethod::Asked, ms } => format!("it ended when asked, after {ms} ms"),
        CancelledFrom::Held { how: CancelMethod::Killed, ms } => {
            format!("it did not end when asked and was killed, after {ms} ms")
        }
    };
    Some(if reason == FailReason::Cancelled {
        format!("Job {id} is cancelled; {how}.\n")
    } else {
        let reason = reason.as_str();
        format!("The failed callback of job {id} is cancelled; {how}. The job has failed: {reason}.\n")
    })
}

/// Why a job is not cancelled.
pub(super) fn failure(id: JobId, result: &CancelResult, channel: &str) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("cancel job {id}"));
    match result {
        CancelResult::Cancelled { .. } | CancelResult::AlreadyCancelled => failure,
        CancelResult::Done => failure.because("it was faster: it is done"),
        CancelResult::Failed(reason) => failure
            .because(format!("it has failed already: {}", reason.as_str()))
            .hint(format!("queue:show {id} tells why")),
        CancelResult::Gone => failure.because("it was running and is gone: it is done, or was cleared"),
        CancelResult::Unknown => failure
            .because(format!("channel \"{channel}\" does not hold it"))
            .hint("a job that is done or was removed leaves no record; is it another --channel?"),
        CancelResult::HeldElsewhere { master } => failure
            .because(match master {
                true => "it is reserved, and not by the master of this machine and pid_path",
                false => "it is reserved, and no master of this channel runs with this machine's pid_path",
            })
            .hint(
                "run queue:cancel where its master runs; a job that a queue:run holds is ended by ending that, and one \
                 whose master is gone waits again when its lease has run out, within a minute",
            ),
        CancelResult::TooDeep => failure
            .because("more than 10,000 jobs wait before it, and it cannot be taken from so deep")
            .hint("try again when fewer wait, or let queue:clear remove all that wait"),
        CancelResult::Refused(why) => failure
            .because(sanitize::lines(why))
            .hint(format!("queue:show {id} tells where it is")),
    }
}

/// What is said once to somebody who waits.
pub(super) fn slow_notice(id: JobId, report: &ChannelStatus) -> String {
    if let Some(error) = &report.store_error {
        let error = sanitize::line(error);
        return format!("job {id} is told as cancelled when its store knows, which does not answer: {error}");
    }
    format!(
        "job {id} does not end when asked: it is killed when the other jobs of its worker have ended, or \
         stop_wait_seconds are over"
    )
}

/// The same for programs.
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
            let (how, ms) = match from {
                CancelledFrom::Waiting => ("waiting", None),
                CancelledFrom::Delayed(_) => ("delayed", None),
                CancelledFrom::Held { how: CancelMethod::NotBegun, .. } => ("ready", None),
                CancelledFrom::Held { how: CancelMethod::Asked, ms } => ("asked", Some(*ms)),
                CancelledFrom::Held { how: CancelMethod::Killed, ms } => ("killed", Some(*ms)),
            };
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
        assert_eq!(said(&held(CancelMethod::NotBegun)), "Job 17 is cancelled; it had not begun.\n");
        assert_eq!(
            said(&held(CancelMethod::Asked)),
            "Job 17 is cancelled; it ended when asked, after 320 ms.\n"
        );
        assert_eq!(
            said(&held(CancelMethod::Killed)),
            "Job 17 is cancelled; it did not end when asked and was killed, after 320 ms.\n"
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
            (CancelResult::Done, "it is done"),
            (CancelResult::Failed(FailReason::Poison), "failed already: poison"),
            (CancelResult::Gone, "is gone"),
            (CancelResult::Unknown, "does not hold it"),
            (CancelResult::HeldElsewhere { master: false }, "where its master runs"),
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
        assert!(slow_notice(ID, &report).starts_with("job 17 does not end when asked: it is killed when"));
        report.store_error = Some("refused".to_owned());
        assert_eq!(
            slow_notice(ID, &report),
            "job 17 is told as cancelled when its store knows, which does not answer: refused"
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
