//! Decides whether a leased job runs, and with which terms. Pure.

use std::time::Duration;

use super::Policy;
use crate::job::{Failure, JobId, JobMeta, JobOptions, Timestamp, UniqueUntil};
use crate::store::KeyRelease;

/// The treatment of a held job.
#[derive(Debug, PartialEq)]
pub enum StartDecision {
    /// Run the job.
    Run(RunTerms),
    /// Settle the job as expired: [`Policy::expire`].
    Expired,
    /// Settle the job: its handler no longer has the failed callback that the job was waiting for.
    NoCallback,
}

/// The terms of a run.
#[derive(Debug, PartialEq)]
pub struct RunTerms {
    pub attempt: u32,
    /// [`u32::MAX`] if only a retry window limits the attempts.
    pub max_attempts: u32,
    pub timeout: Option<Duration>,
    /// Set when the failed callback runs instead of the job.
    pub failure: Option<Failure>,
}

/// The key that the store must release before the start of a job: a push made after the start counts on adding another
/// job.
pub fn release_before_start(id: JobId, meta: &JobMeta) -> Option<KeyRelease> {
    match (meta.unique_until, &meta.unique) {
        (UniqueUntil::Start, Some(key)) => Some(KeyRelease::Unique { id, key: key.clone() }),
        _ => None,
    }
}

impl Policy {
    /// Decides on a job held at `now`. `options` are those of its handler; `max_execute` is the time limit of runs that set
    /// none.
    pub fn begin(
        &self,
        id: JobId,
        meta: &JobMeta,
        options: JobOptions,
        max_execute: Option<Duration>,
        now: Timestamp,
    ) -> StartDecision {
        let failure = meta.failing.map(|reason| Failure { reason, error: meta.last_error().to_owned() });
        if failure.is_none() && meta.expiry(id).is_some_and(|expiry| expiry <= now) {
            return StartDecision::Expired;
        }
        if failure.is_some() && !options.failed {
            return StartDecision::NoCallback;
        }
        let limit = |millis| (millis > 0).then(|| Duration::from_millis(millis));
        StartDecision::Run(RunTerms {
            attempt: if failure.is_some() { meta.attempts } else { meta.attempts.saturating_add(1) },
            max_attempts: self.max_attempts(meta, options),
            timeout: match (meta.timeout_ms, options.timeout) {
                (Some(ms), _) => limit(ms),
                (None, Some(timeout)) => (!timeout.is_zero()).then_some(timeout),
                (None, None) => max_execute,
            },
            failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::FailReason;

    const ID: JobId = JobId(1_000_000);
    const NOW: Timestamp = Timestamp(2_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn begin(meta: &JobMeta, options: JobOptions) -> StartDecision {
        Policy::default().begin(ID, meta, options, Some(10 * SECOND), NOW)
    }

    fn timeout(of_push: Option<u64>, of_handler: Option<Duration>) -> Option<Duration> {
        let meta = JobMeta { timeout_ms: of_push, ..JobMeta::named("x") };
        let StartDecision::Run(terms) =
            begin(&meta, JobOptions { timeout: of_handler, ..JobOptions::default() })
        else {
            panic!("it runs")
        };
        terms.timeout
    }

    #[test]
    fn timeout_precedence_is_push_handler_channel() {
        assert_eq!(timeout(None, None), Some(10 * SECOND));
        assert_eq!(timeout(None, Some(SECOND)), Some(SECOND));
        assert_eq!(timeout(None, Some(Duration::ZERO)), None);
        assert_eq!(timeout(Some(5), Some(SECOND)), Some(Duration::from_millis(5)));
        assert_eq!(timeout(Some(0), Some(SECOND)), None);
    }

    #[test]
    fn expired_job_runs_its_callback_only() {
        let late = JobMeta { expires_in_ms: Some(1_000), ..JobMeta::named("x") };
        assert_eq!(begin(&late, JobOptions::default()), StartDecision::Expired);
        let in_time = JobMeta { expires_in_ms: Some(1_001), ..JobMeta::named("x") };
        assert!(matches!(begin(&in_time, JobOptions::default()), StartDecision::Run(_)));

        let failing = JobMeta { failing: Some(FailReason::Expired), attempts: 2, ..late };
        assert_eq!(begin(&failing, JobOptions::default()), StartDecision::NoCallback);
        let with_callback = JobOptions { failed: true, ..JobOptions::default() };
        let StartDecision::Run(terms) = begin(&failing, with_callback) else { panic!("the callback runs") };
        assert_eq!((terms.attempt, terms.failure.map(|f| f.reason)), (2, Some(FailReason::Expired)));
    }

    #[test]
    fn only_keys_until_start_are_freed_first() {
        let start =
            JobMeta { unique: Some("k".into()), unique_until: UniqueUntil::Start, ..JobMeta::named("x") };
        assert_eq!(release_before_start(ID, &start), Some(KeyRelease::Unique { id: ID, key: "k".into() }));
        let end = JobMeta { unique_until: UniqueUntil::End, ..start };
        assert_eq!(release_before_start(ID, &end), None);
    }
}
