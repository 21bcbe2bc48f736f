//! What follows from boots that failed: how long to wait before the next one, how many to try at once, and when to say
//! that the program does not start at all. Pure.
//!
//! A hello proves little: a program may die right behind it, again and again. So the first worker that is ready after a
//! failure is on probation: it gets no job until it has lived for a moment, and nobody else is started until then.
//! That forgives what is some time ago and nothing else: a program that dies unused a little later, again and again, is no
//! better.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const FIRST_DELAY: Duration = Duration::from_millis(100);
/// With the jitter, five seconds at most: a program that was repaired is found in time to be at full speed within ten.
const MAX_DELAY: Duration = Duration::from_secs(4);
/// So many failed boots in a row are a crash loop. With these pauses a program that fails at once gets there in two
/// seconds.
const CRASH_LOOP_FAILURES: u32 = 5;
/// How long a worker lives before it gets a job, and others are started beside it.
const PROBATION: Duration = Duration::from_secs(1);
/// A worker that dies sooner than this behind its hello, and without having had a job, has not booted.
pub(super) const MIN_USEFUL_LIFE: Duration = Duration::from_secs(10);
/// For how long a failed boot counts when the next fails although one has lived through its probation in between.
const FAILURE_MEMORY: Duration = Duration::from_secs(30);

/// Doubles the wait with every failed boot in a row; a worker that answers a run ends it, if it was started since.
#[derive(Debug, Default)]
pub(super) struct BootBackoff {
    failures: u32,
    /// When boots failed of late: few, for there are pauses in between.
    recent: VecDeque<Instant>,
    until: Option<Instant>,
    /// When the last boot failed.
    last: Option<Instant>,
    /// When the first worker that was started since will have lived long enough.
    probation: Option<Instant>,
    /// What the last failed boot died of, for people.
    why: String,
}

impl BootBackoff {
    pub(super) fn failed(&mut self, now: Instant, why: &str) {
        why.clone_into(&mut self.why);
        // Several that were started together and failed together are one failure.
        if self.is_waiting(now) {
            return;
        }
        self.recent.retain(|at| now.duration_since(*at) < FAILURE_MEMORY);
        if self.is_proved(now) {
            self.failures = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        }
        self.recent.push_back(now);
        (self.last, self.probation) = (Some(now), None);
        self.failures = self.failures.saturating_add(1);
        // Up to a quarter more, so that several channels do not boot in step.
        let jitter = self.delay().mul_f64(fastrand::f64() / 4.0);
        self.until = Some(now + self.delay() + jitter);
    }

    /// A worker that was born then is ready.
    pub(super) fn ready(&mut self, started_at: Instant, now: Instant) {
        if self.failures > 0 && self.is_since(started_at) && self.probation.is_none() {
            (self.probation, self.until) = (Some(now + PROBATION), None);
        }
    }

    /// A worker that was born then has been of use.
    pub(super) fn succeeded(&mut self, started_at: Instant) {
        // What old workers do says nothing about new ones.
        if self.failures > 0 && self.is_since(started_at) {
            *self = Self::default();
        }
    }

    fn is_since(&self, started_at: Instant) -> bool {
        self.last.is_none_or(|last| started_at >= last)
    }

    /// Whether one that was started since the last failure has lived long enough.
    fn is_proved(&self, now: Instant) -> bool {
        self.probation.is_some_and(|until| until <= now)
    }

    /// Why no worker can be started, as long as that is so.
    pub(super) fn trouble(&self, now: Instant) -> Option<&str> {
        self.is_probing(now).then_some(self.why.as_str())
    }

    /// Whether one boot at a time is enough: the last one failed, and it is not known that the next will not.
    pub(super) fn is_probing(&self, now: Instant) -> bool {
        self.failures > 0 && !self.is_proved(now)
    }

    /// Whether a worker that was born then shall have no job yet.
    pub(super) fn is_on_probation(&self, started_at: Instant, now: Instant) -> bool {
        self.is_probing(now) && self.is_since(started_at)
    }

    /// Whether boots fail again and again.
    pub(super) fn is_looping(&self, now: Instant) -> bool {
        self.failures >= CRASH_LOOP_FAILURES && !self.is_proved(now)
    }

    pub(super) fn delay(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => (FIRST_DELAY * 2u32.pow(doublings.min(10))).min(MAX_DELAY),
        }
    }

    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.waits_until(now).is_some()
    }

    /// When something changes although nothing happens: a boot may be tried, a probation is over.
    pub(super) fn next_timer(&self, now: Instant) -> Option<Instant> {
        self.waits_until(now).or(self.probation.filter(|until| *until > now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_backoff_doubles_to_limit_and_resets() {
        let (mut respawn, mut now) = (BootBackoff::default(), Instant::now());
        let (mut delays, mut looping) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            respawn.failed(now, "exited with 1");
            delays.push(respawn.delay().as_millis());
            looping.push(respawn.is_looping(now));
            let until = respawn.waits_until(now).unwrap();
            assert!(until >= now + respawn.delay() && until <= now + respawn.delay().mul_f64(1.25));
            now = until;
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 4000, 4000, 4000]);
        assert_eq!(looping, [false, false, false, false, true, true, true, true, true]);
        assert_eq!(respawn.trouble(now), Some("exited with 1"));
        respawn.succeeded(now);
        assert!(!respawn.is_waiting(now) && !respawn.is_probing(now) && !respawn.is_looping(now));
        assert_eq!(respawn.trouble(now), None);
    }

    #[test]
    fn simultaneous_failures_count_once() {
        let (mut respawn, now) = (BootBackoff::default(), Instant::now());
        for _ in 0..5 {
            respawn.failed(now, "exited with 1");
        }
        assert_eq!(respawn.delay(), FIRST_DELAY);
    }

    #[test]
    fn only_a_lasting_hello_resets_backoff() {
        let (mut respawn, old) = (BootBackoff::default(), Instant::now());
        let mut now = old;
        for _ in 0..6 {
            now += Duration::from_secs(5);
            respawn.failed(now, "exited with 1");
        }
        respawn.succeeded(old);
        respawn.ready(old, now);
        assert!(respawn.is_looping(now) && respawn.is_waiting(now) && !respawn.is_on_probation(old, now));

        respawn.ready(now, now);
        assert!(!respawn.is_waiting(now) && respawn.next_timer(now) == Some(now + PROBATION));
        let before = now + PROBATION - Duration::from_millis(1);
        assert!(
            respawn.is_looping(before) && respawn.is_probing(before) && respawn.is_on_probation(now, before)
        );
        // It died behind its hello.
        respawn.failed(before, "exited with 1");
        assert!(respawn.is_looping(before) && respawn.is_waiting(before) && respawn.delay() == MAX_DELAY);

        let started_at = before + Duration::from_secs(6);
        respawn.ready(started_at, started_at);
        let after = started_at + PROBATION;
        assert!(
            !respawn.is_looping(after)
                && !respawn.is_probing(after)
                && !respawn.is_on_probation(started_at, after)
        );
        assert_eq!((respawn.trouble(after), respawn.next_timer(after)), (None, None));
        // Much later, what fails is the first of a new row.
        let later = after + FAILURE_MEMORY;
        respawn.failed(later, "exited with 1");
        assert!(!respawn.is_looping(later) && respawn.delay() == FIRST_DELAY);
    }

    #[test]
    fn early_deaths_after_probation_count_as_failures() {
        let life = PROBATION + Duration::from_millis(200);
        let (mut respawn, mut now) = (BootBackoff::default(), Instant::now());
        let (mut delays, mut looping) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            respawn.ready(now, now);
            now += life;
            assert!(!respawn.is_probing(now), "no later than others it counts as recovered");
            respawn.failed(now, "exited with 1");
            delays.push(respawn.delay().as_millis());
            looping.push(respawn.is_looping(now));
            now = respawn.waits_until(now).unwrap();
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600]);
        assert_eq!(looping, [false, false, false, false, true]);
        // One that is of use ends it.
        respawn.ready(now, now);
        respawn.succeeded(now);
        respawn.failed(now, "exited with 1");
        assert_eq!(respawn.delay(), FIRST_DELAY);
    }
}
