//! The delay after failed boots, how many boots are tried at once, and when the program counts as unable to start.
//! Pure.
//!
//! A hello alone does not prove that a program works: a program may exit right after it, again and again. The first worker that is ready after
//! a failure is on probation: it gets no job until it has lived for a moment, and no other is started before that. A
//! passed probation forgives failures of some time ago only: a program that exits unused a little later, again and again,
//! is no better.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The delay after the first failure.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay. With its jitter at most five seconds: a pool is at full strength ten seconds after its program was
/// repaired.
const MAX_DELAY: Duration = Duration::from_secs(4);
/// Failed boots in a row that make a crash loop: two seconds for a program that fails at once.
const CRASH_LOOP_FAILURES: u32 = 5;
/// How long the first worker after a failure lives before it gets a job and others are started.
const PROBATION: Duration = Duration::from_secs(1);
/// How long a failed boot counts although a worker has passed its probation since.
const FAILURE_MEMORY: Duration = Duration::from_secs(30);

/// A series of failed boots of a program. The delay doubles with each; a worker that was started since the last failure
/// and reports the outcome of a run ends the series.
#[derive(Debug, Default)]
pub(super) struct BootBackoff {
    failures: u32,
    /// When boots failed of late, the last failure at the end; the delays keep the list short.
    recent: VecDeque<Instant>,
    /// End of the current delay.
    until: Option<Instant>,
    /// End of the probation of the first worker that was started since.
    probation: Option<Instant>,
    /// The cause of the last failure.
    why: String,
    /// Whether the crash loop was logged.
    is_reported: bool,
}

impl BootBackoff {
    /// A boot has failed.
    pub(super) fn failed(&mut self, now: Instant, why: &str) {
        why.clone_into(&mut self.why);
        // Workers that were started together and fail together are one failure.
        if self.is_waiting(now) {
            return;
        }
        self.recent.retain(|at| now.duration_since(*at) < FAILURE_MEMORY);
        if self.is_stable(now) {
            self.failures = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        }
        self.recent.push_back(now);
        self.probation = None;
        self.failures = self.failures.saturating_add(1);
        // Up to a quarter more, so that several channels do not boot in step.
        let jitter = self.delay().mul_f64(fastrand::f64() / 4.0);
        self.until = Some(now + self.delay() + jitter);
    }

    /// Replaces the cause of the last failure, if it is `short`, by one that says more.
    pub(super) fn explain(&mut self, short: &str, whole: String) {
        if self.why == short {
            self.why = whole;
        }
    }

    /// A worker is ready.
    pub(super) fn ready(&mut self, started_at: Instant, now: Instant) {
        if self.failures > 0 && self.is_since(started_at) && self.probation.is_none() {
            (self.probation, self.until) = (Some(now + PROBATION), None);
        }
    }

    /// A worker has answered a run. Workers from before the last failure prove nothing about new ones.
    pub(super) fn succeeded(&mut self, started_at: Instant) {
        if self.failures > 0 && self.is_since(started_at) {
            self.reset();
        }
    }

    /// Forgets all failures: another program is started from now on.
    pub(super) fn reset(&mut self) {
        *self = Self { is_reported: self.is_reported, ..Self::default() };
    }

    fn is_since(&self, started_at: Instant) -> bool {
        self.recent.back().is_none_or(|last| started_at >= *last)
    }

    /// Whether a worker that was started since the last failure has passed its probation.
    fn is_stable(&self, now: Instant) -> bool {
        self.probation.is_some_and(|until| until <= now)
    }

    /// The cause of the last failure, until a worker has run for long enough.
    pub(super) fn cause(&self, now: Instant) -> Option<&str> {
        self.is_probing(now).then_some(self.why.as_str())
    }

    /// Whether boots are tried one at a time, because the last one failed and no worker has passed its probation since.
    pub(super) fn is_probing(&self, now: Instant) -> bool {
        self.failures > 0 && !self.is_stable(now)
    }

    /// Whether a worker gets no job yet.
    pub(super) fn is_on_probation(&self, started_at: Instant, now: Instant) -> bool {
        self.is_probing(now) && self.is_since(started_at)
    }

    /// Whether boots fail again and again.
    pub(super) fn is_crash_loop(&self, now: Instant) -> bool {
        self.failures >= CRASH_LOOP_FAILURES && !self.is_stable(now)
    }

    /// The delay after the last failure, without jitter.
    pub(super) fn delay(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => (FIRST_DELAY * 2u32.pow(doublings.min(10))).min(MAX_DELAY),
        }
    }

    /// When the next boot is tried, while that is delayed.
    pub(super) fn delayed_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.delayed_until(now).is_some()
    }

    /// When a delay or a probation ends.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.delayed_until(now).or(self.probation.filter(|until| *until > now))
    }

    /// Whether the pool has become degraded, or has recovered, since the last call.
    pub(super) fn degraded_change(&mut self, is_degraded: bool) -> Option<bool> {
        let was_degraded = std::mem::replace(&mut self.is_reported, is_degraded);
        (is_degraded != was_degraded).then_some(is_degraded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_up_to_its_limit_and_ends_with_success() {
        let (mut backoff, mut now) = (BootBackoff::default(), Instant::now());
        let (mut delays, mut looping) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            backoff.failed(now, "exited with 1");
            delays.push(backoff.delay().as_millis());
            looping.push(backoff.is_crash_loop(now));
            let until = backoff.delayed_until(now).unwrap();
            assert!(until >= now + backoff.delay() && until <= now + backoff.delay().mul_f64(1.25));
            now = until;
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 4000, 4000, 4000]);
        assert_eq!(looping, [false, false, false, false, true, true, true, true, true]);
        assert_eq!(backoff.cause(now), Some("exited with 1"));
        backoff.succeeded(now);
        assert!(!backoff.is_waiting(now) && !backoff.is_probing(now) && !backoff.is_crash_loop(now));
        assert_eq!(backoff.cause(now), None);
    }

    #[test]
    fn simultaneous_failures_count_once() {
        let (mut backoff, now) = (BootBackoff::default(), Instant::now());
        for _ in 0..5 {
            backoff.failed(now, "exited with 1");
        }
        assert_eq!(backoff.delay(), FIRST_DELAY);
    }

    #[test]
    fn only_a_new_worker_past_its_probation_proves_anything() {
        let (mut backoff, old) = (BootBackoff::default(), Instant::now());
        let mut now = old;
        for _ in 0..6 {
            now += Duration::from_secs(5);
            backoff.failed(now, "exited with 1");
        }
        backoff.succeeded(old);
        backoff.ready(old, now);
        assert!(backoff.is_crash_loop(now) && backoff.is_waiting(now) && !backoff.is_on_probation(old, now));

        backoff.ready(now, now);
        assert!(!backoff.is_waiting(now) && backoff.next_deadline(now) == Some(now + PROBATION));
        let before = now + PROBATION - Duration::from_millis(1);
        assert!(
            backoff.is_crash_loop(before)
                && backoff.is_probing(before)
                && backoff.is_on_probation(now, before)
        );
        // The worker exits right after its hello.
        backoff.failed(before, "exited with 1");
        assert!(backoff.is_crash_loop(before) && backoff.is_waiting(before) && backoff.delay() == MAX_DELAY);

        let started_at = before + Duration::from_secs(6);
        backoff.ready(started_at, started_at);
        let after = started_at + PROBATION;
        assert!(
            !backoff.is_crash_loop(after)
                && !backoff.is_probing(after)
                && !backoff.is_on_probation(started_at, after)
        );
        assert_eq!((backoff.cause(after), backoff.next_deadline(after)), (None, None));
        // A failure much later is the first of a new row.
        let later = after + FAILURE_MEMORY;
        backoff.failed(later, "exited with 1");
        assert!(!backoff.is_crash_loop(later) && backoff.delay() == FIRST_DELAY);
    }

    #[test]
    fn early_exits_after_probation_are_a_crash_loop() {
        let life = PROBATION + Duration::from_millis(200);
        let (mut backoff, mut now) = (BootBackoff::default(), Instant::now());
        let (mut delays, mut looping) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            backoff.ready(now, now);
            now += life;
            assert!(!backoff.is_probing(now), "a passed probation counts as recovered");
            backoff.failed(now, "exited with 1");
            delays.push(backoff.delay().as_millis());
            looping.push(backoff.is_crash_loop(now));
            now = backoff.delayed_until(now).unwrap();
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600]);
        assert_eq!(looping, [false, false, false, false, true]);
        // A worker that reports the outcome of a run ends the series.
        backoff.ready(now, now);
        backoff.succeeded(now);
        backoff.failed(now, "exited with 1");
        assert_eq!(backoff.delay(), FIRST_DELAY);
    }
}
