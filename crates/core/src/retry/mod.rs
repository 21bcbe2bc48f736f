//! The consequence of an outcome: done, retried or failed. Pure.
//!
//! A run counts as an attempt when it ends in an error, a time-out, or a crash of a worker that ran only this job. Three
//! such crashes fail the job as poison, whatever the policy says.

mod cancel;
mod start;

use std::time::Duration;

use crate::config::{Backoff, BackoffKind, Channel};
use crate::job::{
    ErrorKind, FailReason, JobId, JobMeta, JobOptions, MAX_CRASHES, MAX_DELAY, Outcome, RetryDecision,
    Timestamp,
};
use crate::store::Destination;
pub use start::{RunTerms, StartDecision, release_before_start};

/// Shortest release of a failed callback; an immediate one would loop.
const MIN_CALLBACK_RELEASE: Duration = Duration::from_secs(1);

/// A channel's retry policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Attempts of a job that sets neither a number nor a retry window itself.
    pub max_attempts: u32,
    /// The wait before the next attempt.
    pub backoff: Backoff,
}

impl Default for Policy {
    /// The policy of a channel with default settings.
    fn default() -> Self {
        let second = Duration::from_secs(1);
        let kind = BackoffKind::Exponential;
        Self {
            max_attempts: 3,
            backoff: Backoff { kind, base: second, max: 3600 * second, delays: Vec::new(), jitter: 0.2 },
        }
    }
}

/// The facts of a settlement besides the job and its outcome.
#[derive(Clone, Copy, Debug)]
pub struct SettlementFacts {
    /// The id of the job.
    pub id: JobId,
    /// The options of its handler.
    pub options: JobOptions,
    /// The store's time.
    pub now: Timestamp,
    /// A random number from 0 to 1, for the jitter.
    pub chance: f64,
}

impl Policy {
    /// The policy of a channel.
    #[must_use]
    pub fn of(channel: &Channel) -> Self {
        Self { max_attempts: channel.max_attempts, backoff: channel.backoff.clone() }
    }

    /// The number of attempts of a job; `options` are those of its handler. A job with a retry window has only the limit that
    /// its push sets, if any.
    #[must_use]
    pub fn max_attempts(&self, meta: &JobMeta, options: JobOptions) -> u32 {
        let inherited = match meta.has_retry_window() {
            true => u32::MAX,
            false => options.max_attempts.unwrap_or(self.max_attempts),
        };
        meta.max_attempts.unwrap_or(inherited).max(1)
    }

    /// The destination of a job after a run of it, or of its failed callback.
    #[must_use]
    pub fn end(&self, meta: JobMeta, outcome: Outcome, facts: SettlementFacts) -> Destination {
        let options = facts.options;
        if meta.failing.is_some() {
            return Self::settle_callback(meta, outcome, facts.now);
        }
        match self.settle(meta, outcome, facts) {
            Destination::Failed(meta) if options.failed && has_callback(&meta) => {
                Self::via_callback(Destination::Failed(meta))
            }
            destination => destination,
        }
    }

    /// The destination of a job after a run.
    fn settle(&self, mut meta: JobMeta, outcome: Outcome, facts: SettlementFacts) -> Destination {
        let now = facts.now;
        let again = |meta, reason, after| self.again(meta, reason, after, facts);
        match outcome {
            Outcome::Done => Destination::Done,
            Outcome::Interrupted => Destination::Front(meta),
            Outcome::Cancelled { killed } => cancel::cancelled_run(meta, killed, now),
            Outcome::Released { after } if after.is_zero() => Destination::Back(ready(meta, now)),
            Outcome::Released { after } => delayed(meta, after.min(MAX_DELAY), now),
            Outcome::CrashedWithOthers => {
                meta.suspect = true;
                Destination::Front(meta)
            }
            Outcome::Lost => lost(meta, now),
            Outcome::Failed { error, next } => {
                self.count(&mut meta, now, ErrorKind::Error, &error);
                match next {
                    RetryDecision::Never => failed(meta, FailReason::Final),
                    RetryDecision::UnknownJob => failed(meta, FailReason::UnknownJob),
                    RetryDecision::ByPolicy => again(meta, FailReason::Exhausted, None),
                    RetryDecision::After(delay) => again(meta, FailReason::Exhausted, Some(delay)),
                }
            }
            Outcome::TimedOut { limit, how } => {
                let message = Outcome::time_out_text(limit, &how);
                self.count(&mut meta, now, ErrorKind::Timeout, &message);
                again(meta, FailReason::Timeout, None)
            }
            Outcome::Crashed { how } => {
                meta.crashes = meta.crashes.saturating_add(1);
                self.count(&mut meta, now, ErrorKind::Crash, &format!("the worker {how}"));
                if meta.crashes >= MAX_CRASHES {
                    failed(meta, FailReason::Poison)
                } else if meta.crashes == 1 && self.has_attempt_left(&meta, facts, now) {
                    // The worker may be to blame for a first crash, so another worker retries immediately.
                    Destination::Front(meta)
                } else {
                    again(meta, FailReason::Crashed, None)
                }
            }
        }
    }

    /// The destination of a held job that has expired.
    #[must_use]
    pub fn expire(mut meta: JobMeta, options: JobOptions, now: Timestamp) -> Destination {
        let attempt = meta.attempts.saturating_add(1);
        meta.record_error(attempt, now, ErrorKind::Expired, "not started before its expiry");
        let destination = failed(meta, FailReason::Expired);
        if options.failed { Self::via_callback(destination) } else { destination }
    }

    /// The destination of a job after its failed callback. The callback is not an attempt; its errors are recorded and change
    /// nothing. If its worker dies, the callback runs again, up to [`MAX_CRASHES`] times: a crash of the worker alone must
    /// not suppress the notification.
    #[must_use]
    pub fn settle_callback(mut meta: JobMeta, outcome: Outcome, now: Timestamp) -> Destination {
        let crashed = matches!(outcome, Outcome::Crashed { .. });
        let wrong = match outcome {
            Outcome::Interrupted => return Destination::Front(meta),
            Outcome::Cancelled { killed } => return cancel::cancelled_run(meta, killed, now),
            Outcome::CrashedWithOthers => {
                meta.suspect = true;
                return Destination::Front(meta);
            }
            Outcome::Lost => return lost(meta, now),
            Outcome::Released { after } => {
                return delayed(meta, after.clamp(MIN_CALLBACK_RELEASE, MAX_DELAY), now);
            }
            Outcome::Done => None,
            Outcome::Failed { error, .. } => Some(error),
            Outcome::TimedOut { limit, how } => Some(Outcome::time_out_text(limit, &how)),
            Outcome::Crashed { how } => Some(format!("the worker {how}")),
        };
        if let Some(wrong) = wrong {
            let message = format!("the failed callback: {wrong}");
            meta.record_error(meta.attempts.max(1), now, ErrorKind::Callback, &message);
        }
        // Before the end of a callback only crashes are recorded with this kind.
        let noted = meta.errors.iter().filter(|error| error.kind == ErrorKind::Callback).count();
        if crashed && noted < MAX_CRASHES as usize {
            return Destination::Front(meta);
        }
        let reason = meta.failing.take().unwrap_or(FailReason::Exhausted);
        failed(meta, reason)
    }

    /// Redirects a job from `failed` to a worker, for its failed callback.
    #[must_use]
    pub fn via_callback(destination: Destination) -> Destination {
        match destination {
            Destination::Failed(mut meta) => {
                meta.failing = meta.failed.take();
                Destination::Front(meta)
            }
            other => other,
        }
    }

    fn count(&self, meta: &mut JobMeta, now: Timestamp, kind: ErrorKind, message: &str) {
        meta.attempts = meta.attempts.saturating_add(1);
        meta.record_error(meta.attempts, now, kind, message);
    }

    /// Whether another attempt may begin at `start`.
    fn has_attempt_left(&self, meta: &JobMeta, facts: SettlementFacts, start: Timestamp) -> bool {
        self.has_attempt_after(meta, meta.attempts, (facts.id, facts.options), start)
    }

    /// Whether an attempt may begin at `start`, after this many.
    fn has_attempt_after(
        &self,
        meta: &JobMeta,
        attempts: u32,
        (id, options): (JobId, JobOptions),
        start: Timestamp,
    ) -> bool {
        attempts < self.max_attempts(meta, options) && meta.retry_end(id).is_none_or(|end| start <= end)
    }

    /// Whether the attempt that begins at `start` is the last one: even the shortest wait after it passes the limits of the job.
    /// A handler may still choose another wait, and a run without attempt, such as an interrupted one, does not count.
    #[must_use]
    pub fn is_last_attempt(&self, meta: &JobMeta, id: JobId, options: JobOptions, start: Timestamp) -> bool {
        let attempts = meta.attempts.saturating_add(1);
        !self.has_attempt_after(meta, attempts, (id, options), start.after(self.delay(attempts)))
    }

    fn again(
        &self,
        meta: JobMeta,
        reason: FailReason,
        after: Option<Duration>,
        facts: SettlementFacts,
    ) -> Destination {
        let delay = after.unwrap_or_else(|| self.delay(meta.attempts));
        let jitter = delay.mul_f64(self.backoff.jitter.clamp(0.0, 1.0) * facts.chance.clamp(0.0, 1.0));
        // A delay chosen by the handler is exact: jitter spreads the policy's own delays only.
        let delay = if after.is_some() { delay } else { delay + jitter }.min(MAX_DELAY);
        match self.has_attempt_left(&meta, facts, facts.now.after(delay)) {
            true => delayed(meta, delay, facts.now),
            false => failed(meta, reason),
        }
    }

    /// The wait after this many attempts, before jitter.
    fn delay(&self, attempts: u32) -> Duration {
        let Backoff { kind, base, max, ref delays, .. } = self.backoff;
        if let Some(last) = delays.last() {
            return *delays.get(attempts.saturating_sub(1) as usize).unwrap_or(last);
        }
        let factor = match kind {
            BackoffKind::Fixed => 1,
            BackoffKind::Linear => attempts.max(1),
            BackoffKind::Exponential => 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX),
        };
        base.saturating_mul(factor).min(max)
    }
}

/// Whether the failed callback runs for this failure. A job without a handler has no callback to run, the failure of a
/// cancelled job is expected, and another run of a job that kills guardians would end them again.
fn has_callback(meta: &JobMeta) -> bool {
    !matches!(meta.failed, Some(FailReason::UnknownJob | FailReason::Cancelled | FailReason::Lost))
}

/// The destination of a job whose guardian died.
fn lost(meta: JobMeta, now: Timestamp) -> Destination {
    let meta = meta.after_lost(now);
    if meta.failed.is_some() { Destination::Failed(meta) } else { Destination::Front(meta) }
}

/// The destination of a job that is ready again after `delay`.
fn delayed(meta: JobMeta, delay: Duration, now: Timestamp) -> Destination {
    Destination::Delayed(delay, ready(meta, now.after(delay)))
}

/// The meta of a job that is ready from `at` on.
fn ready(meta: JobMeta, at: Timestamp) -> JobMeta {
    JobMeta { ready_at: Some(at), delay_ms: None, ..meta }
}

fn failed(mut meta: JobMeta, reason: FailReason) -> Destination {
    meta.failed = Some(reason);
    Destination::Failed(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: Timestamp = Timestamp(1_000_000);

    fn policy(kind: BackoffKind) -> Policy {
        let backoff = Backoff { kind, base: SECOND, max: 60 * SECOND, delays: Vec::new(), jitter: 0.2 };
        Policy { max_attempts: 3, backoff }
    }

    /// A job pushed at [`NOW`].
    const ID: JobId = JobId(NOW.0);

    fn facts(options: JobOptions, now: Timestamp) -> SettlementFacts {
        SettlementFacts { id: ID, options, now, chance: 0.0 }
    }

    /// The destination of a job whose handler sets no options.
    fn settle(policy: &Policy, meta: JobMeta, outcome: Outcome) -> Destination {
        policy.settle(meta, outcome, facts(JobOptions::default(), NOW))
    }

    fn after(attempts: u32, crashes: u32, outcome: Outcome) -> Destination {
        let meta = JobMeta { attempts, crashes, ..JobMeta::named("x") };
        settle(&policy(BackoffKind::Exponential), meta, outcome)
    }

    fn error(next: RetryDecision) -> Outcome {
        Outcome::Failed { error: "no".into(), next }
    }

    fn reason(destination: &Destination) -> Option<FailReason> {
        if let Destination::Failed(meta) = destination { meta.failed } else { None }
    }

    #[test]
    fn error_is_retried_until_attempts_are_used() {
        let Destination::Delayed(delay, meta) = after(0, 0, error(RetryDecision::ByPolicy)) else { panic!() };
        assert_eq!((delay, meta.attempts, meta.errors.len()), (SECOND, 1, 1));
        let Destination::Delayed(delay, _) = after(1, 0, error(RetryDecision::ByPolicy)) else { panic!() };
        assert_eq!(delay, 2 * SECOND);
        assert_eq!(reason(&after(2, 0, error(RetryDecision::ByPolicy))), Some(FailReason::Exhausted));
        assert_eq!(reason(&after(0, 0, error(RetryDecision::Never))), Some(FailReason::Final));
        assert_eq!(reason(&after(0, 0, error(RetryDecision::UnknownJob))), Some(FailReason::UnknownJob));
        let asked = error(RetryDecision::After(7 * SECOND));
        assert!(matches!(after(0, 0, asked.clone()), Destination::Delayed(d, _) if d == 7 * SECOND));
        assert_eq!(reason(&after(2, 0, asked)), Some(FailReason::Exhausted));
    }

    #[test]
    fn failed_callback_always_ends_in_failed() {
        let Destination::Front(failing) = Policy::via_callback(after(2, 0, error(RetryDecision::ByPolicy)))
        else {
            panic!()
        };
        assert_eq!((failing.failing, failing.failed), (Some(FailReason::Exhausted), None));
        let end = |outcome| Policy::settle_callback(failing.clone(), outcome, NOW);
        for outcome in [
            Outcome::Done,
            error(RetryDecision::ByPolicy),
            Outcome::TimedOut { limit: SECOND, how: String::new() },
        ] {
            let destination = end(outcome);
            assert_eq!(reason(&destination), Some(FailReason::Exhausted));
            let Destination::Failed(meta) = destination else { unreachable!() };
            assert_eq!((meta.attempts, meta.failing), (3, None));
        }
        assert_eq!(end(Outcome::Interrupted), Destination::Front(failing.clone()));
        assert!(matches!(end(Outcome::CrashedWithOthers), Destination::Front(meta) if meta.suspect));
        let Destination::Failed(meta) = end(error(RetryDecision::Never)) else { panic!() };
        assert_eq!(meta.errors.last().map(|e| e.kind), Some(ErrorKind::Callback));
        assert!(matches!(
            Policy::via_callback(after(0, 0, error(RetryDecision::ByPolicy))),
            Destination::Delayed(..)
        ));
    }

    #[test]
    fn crashing_failed_callback_reruns_until_third_crash() {
        let Destination::Front(failing) = Policy::via_callback(after(2, 0, error(RetryDecision::ByPolicy)))
        else {
            panic!()
        };
        let crash = |meta| Policy::settle_callback(meta, Outcome::Crashed { how: "died".into() }, NOW);
        let Destination::Front(once) = crash(failing) else { panic!("it runs again") };
        let Destination::Front(twice) = crash(once) else { panic!("it runs again") };
        assert_eq!(
            reason(&Policy::settle_callback(twice.clone(), Outcome::Done, NOW)),
            Some(FailReason::Exhausted)
        );
        let Destination::Failed(meta) = crash(twice) else { panic!("three are enough") };
        assert_eq!((meta.failed, meta.crashes, meta.attempts), (Some(FailReason::Exhausted), 0, 3));
    }

    #[test]
    fn expired_job_is_no_attempt() {
        let with_callback = JobOptions { failed: true, ..JobOptions::default() };
        let destination = Policy::expire(JobMeta::named("x"), with_callback, NOW);
        assert!(matches!(destination, Destination::Front(meta) if meta.failing == Some(FailReason::Expired)));
        let destination = Policy::expire(JobMeta::named("x"), JobOptions::default(), NOW);
        assert_eq!(reason(&destination), Some(FailReason::Expired));
        assert!(
            matches!(destination, Destination::Failed(meta) if meta.attempts == 0 && meta.errors.len() == 1)
        );
    }

    #[test]
    fn retry_options_precedence_is_push_handler_channel() {
        let policy = policy(BackoffKind::Fixed);
        let of_handler = JobOptions { max_attempts: Some(7), ..Default::default() };
        let of_push = JobMeta { max_attempts: Some(2), ..JobMeta::named("x") };
        assert_eq!(policy.max_attempts(&JobMeta::named("x"), JobOptions::default()), 3);
        assert_eq!(policy.max_attempts(&JobMeta::named("x"), of_handler), 7);
        assert_eq!(policy.max_attempts(&of_push, of_handler), 2);
    }

    #[test]
    fn time_out_counts_like_an_error() {
        let late = || Outcome::TimedOut { limit: 2 * SECOND, how: String::new() };
        assert!(matches!(after(0, 0, late()), Destination::Delayed(_, m) if m.attempts == 1));
        assert_eq!(reason(&after(2, 0, late())), Some(FailReason::Timeout));
    }

    #[test]
    fn crashes_go_front_then_delayed_then_poison() {
        let crash = || Outcome::Crashed { how: "was killed".into() };
        assert!(matches!(after(0, 0, crash()), Destination::Front(m) if (m.attempts, m.crashes) == (1, 1)));
        assert!(matches!(after(1, 1, crash()), Destination::Delayed(_, m) if m.crashes == 2));
        assert_eq!(reason(&after(2, 2, crash())), Some(FailReason::Poison));
        // Earlier errors used up the attempts, so the reason is the crash, not poison.
        assert_eq!(reason(&after(2, 0, crash())), Some(FailReason::Crashed));
        // Many remaining attempts do not prevent poison.
        let meta = JobMeta { attempts: 2, crashes: 2, max_attempts: Some(100), ..JobMeta::named("x") };
        let destination = settle(&policy(BackoffKind::Fixed), meta, crash());
        assert_eq!(reason(&destination), Some(FailReason::Poison));
    }

    #[test]
    fn counts_at_their_limit_stay_there() {
        let most = JobMeta { attempts: u32::MAX, crashes: u32::MAX, lost: u32::MAX, ..JobMeta::named("x") };
        let destination =
            settle(&policy(BackoffKind::Fixed), most.clone(), Outcome::Crashed { how: "x".into() });
        assert_eq!(reason(&destination), Some(FailReason::Poison));
        assert_eq!(most.after_lost(NOW).failed, Some(FailReason::Lost));
    }

    #[test]
    fn external_causes_are_not_counted() {
        let destination = after(1, 1, Outcome::Interrupted);
        assert!(matches!(destination, Destination::Front(m) if (m.attempts, m.crashes) == (1, 1)));
        let destination = after(1, 0, Outcome::CrashedWithOthers);
        assert!(matches!(destination, Destination::Front(m) if m.attempts == 1 && m.suspect));
        assert!(
            matches!(after(2, 0, Outcome::Released { after: Duration::ZERO }), Destination::Back(m) if m.attempts == 2)
        );
        let destination = after(2, 0, Outcome::Released { after: SECOND });
        assert!(matches!(destination, Destination::Delayed(d, m) if d == SECOND && m.attempts == 2));
    }

    #[test]
    fn lost_run_is_no_attempt_and_the_third_fails_without_callback() {
        let with_callback = JobOptions { failed: true, ..JobOptions::default() };
        let end = |lost| {
            let meta = JobMeta { lost, max_attempts: Some(1), ..JobMeta::named("x") };
            Policy::default().end(meta, Outcome::Lost, facts(with_callback, NOW))
        };
        for lost in [0, 1] {
            assert!(matches!(end(lost), Destination::Front(m) if (m.attempts, m.lost) == (0, lost + 1)));
        }
        let destination = end(2);
        assert_eq!(reason(&destination), Some(FailReason::Lost));
        assert!(matches!(destination, Destination::Failed(m) if (m.attempts, m.failing) == (0, None)));
        // A callback that kills its guardian keeps the reason of the failure.
        let failing = JobMeta { lost: 2, failing: Some(FailReason::Exhausted), ..JobMeta::named("x") };
        let destination = Policy::default().end(failing, Outcome::Lost, facts(with_callback, NOW));
        assert_eq!(reason(&destination), Some(FailReason::Exhausted));
    }

    #[test]
    fn default_policy_matches_the_configuration() {
        let config = crate::config::Config::built_in(std::path::Path::new("/"));
        assert_eq!(Policy::of(&config.channels["default"]), Policy::default());
    }

    #[test]
    fn backoff_grows_as_its_kind_says() {
        let delays = |kind| [1, 2, 3, 4, 40].map(|n| policy(kind).delay(n).as_secs());
        assert_eq!(delays(BackoffKind::Fixed), [1, 1, 1, 1, 1]);
        assert_eq!(delays(BackoffKind::Linear), [1, 2, 3, 4, 40]);
        assert_eq!(delays(BackoffKind::Exponential), [1, 2, 4, 8, 60]);
    }

    #[test]
    fn listed_delays_replace_growth_and_the_last_repeats() {
        let delays = vec![10 * SECOND, 60 * SECOND, Duration::ZERO];
        let mut policy = policy(BackoffKind::Exponential);
        policy.backoff.delays = delays;
        assert_eq!([1, 2, 3, 4, 40].map(|n| policy.delay(n).as_secs()), [10, 60, 0, 0, 0]);
    }

    #[test]
    fn retry_window_replaces_the_attempts_of_handler_and_channel() {
        let policy = policy(BackoffKind::Fixed);
        let handler = JobOptions { max_attempts: Some(2), ..JobOptions::default() };
        let end = |meta: &JobMeta, now| {
            policy.settle(meta.clone(), error(RetryDecision::ByPolicy), facts(handler, now))
        };
        let window = JobMeta { attempts: 500, retry_for_ms: Some(10_000), ..JobMeta::named("x") };
        assert_eq!(policy.max_attempts(&window, handler), u32::MAX);
        // The next attempt would begin a second after `now`: at the end of the window, then behind it.
        assert!(matches!(end(&window, NOW.after(9 * SECOND)), Destination::Delayed(SECOND, _)));
        let late = end(&window, NOW.after(9 * SECOND + Duration::from_micros(1)));
        assert_eq!(reason(&late), Some(FailReason::Exhausted));
        // A window that ends at a time, and a number of attempts beside it: the first limit reached ends the job.
        let until = JobMeta { retry_until: Some(NOW.after(10 * SECOND)), ..JobMeta::named("x") };
        assert!(matches!(end(&until, NOW), Destination::Delayed(..)));
        assert_eq!(reason(&end(&until, NOW.after(10 * SECOND))), Some(FailReason::Exhausted));
        let both = JobMeta { max_attempts: Some(1), ..until.clone() };
        assert_eq!(reason(&end(&both, NOW)), Some(FailReason::Exhausted));
        // A first crash is retried at once within the window only.
        let crash =
            |now| policy.settle(until.clone(), Outcome::Crashed { how: "x".into() }, facts(handler, now));
        assert!(matches!(crash(NOW), Destination::Front(_)));
        assert_eq!(reason(&crash(NOW.after(11 * SECOND))), Some(FailReason::Crashed));
        // A job that a user retries has no window any more.
        assert!(!until.clone().reloaded().has_retry_window());
    }

    #[test]
    fn last_attempt_is_known_by_the_wait_after_it() {
        let policy = policy(BackoffKind::Fixed);
        let is_last = |meta: &JobMeta, start| {
            policy.is_last_attempt(meta, facts(JobOptions::default(), start).id, JobOptions::default(), start)
        };
        let window = JobMeta { retry_until: Some(NOW.after(10 * SECOND)), ..JobMeta::named("x") };
        assert!(!is_last(&window, NOW.after(9 * SECOND)));
        assert!(is_last(&window, NOW.after(9 * SECOND + Duration::from_micros(1))));
        let counted = JobMeta { max_attempts: Some(3), attempts: 1, ..JobMeta::named("x") };
        assert!(!is_last(&counted, NOW));
        assert!(is_last(&JobMeta { attempts: 2, ..counted }, NOW));
    }

    proptest! {
        #[test]
        fn attempts_are_bounded_and_every_chain_ends(
            max in 1u32..20, endings in proptest::collection::vec(0u8..6, 1..60), chance in 0.0f64..1.0,
        ) {
            let policy = policy(BackoffKind::Exponential);
            let mut meta = JobMeta { max_attempts: Some(max), ..JobMeta::named("x") };
            for ending in endings {
                let outcome = match ending {
                    0 => error(RetryDecision::ByPolicy),
                    1 => Outcome::TimedOut { limit: SECOND, how: String::new() },
                    2 => Outcome::Crashed { how: "died".into() },
                    3 => Outcome::Interrupted,
                    4 => Outcome::Lost,
                    _ => Outcome::CrashedWithOthers,
                };
                match policy.settle(meta.clone(), outcome, SettlementFacts { chance, ..facts(JobOptions::default(), NOW) }) {
                    Destination::Front(m) | Destination::Back(m) => meta = m,
                    Destination::Delayed(delay, m) => {
                        prop_assert!(delay >= SECOND && delay <= 72 * SECOND);
                        meta = m;
                    }
                    Destination::Failed(m) => {
                        prop_assert!(m.attempts <= max && m.failed.is_some());
                        return Ok(());
                    }
                    Destination::Done | Destination::Kept(_) => unreachable!("no ending here is a success"),
                }
                prop_assert!(meta.attempts < max && meta.crashes < MAX_CRASHES);
            }
        }
    }
}
