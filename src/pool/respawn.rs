//! How long to wait before the next boot after boots that failed.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles the wait with every failed boot in a row; a worker that answers a run ends it.
#[derive(Debug, Default)]
pub(super) struct Respawn {
    failures: u32,
    until: Option<Instant>,
    /// What the last failed boot died of, for people.
    why: String,
}

impl Respawn {
    pub(super) fn failed(&mut self, now: Instant, why: &str) {
        why.clone_into(&mut self.why);
        // Several that were started together and failed together are one failure.
        if self.is_waiting(now) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        // Up to a quarter more, so that several channels do not boot in step.
        let jitter = self.delay().mul_f64(fastrand::f64() / 4.0);
        self.until = Some(now + self.delay() + jitter);
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Why no worker can be started, as long as none has been of use since.
    pub(super) fn trouble(&self) -> Option<&str> {
        (self.failures > 0).then_some(self.why.as_str())
    }

    pub(super) fn delay(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => (FIRST * 2u32.pow(doublings.min(10))).min(LONGEST),
        }
    }

    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.waits_until(now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_ends_with_a_success() {
        let (mut respawn, mut now) = (Respawn::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..9 {
            respawn.failed(now, "exited with 1");
            delays.push(respawn.delay().as_millis());
            let until = respawn.waits_until(now).unwrap();
            assert!(until >= now + respawn.delay() && until <= now + respawn.delay().mul_f64(1.25));
            now = until;
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(respawn.trouble(), Some("exited with 1"));
        respawn.succeeded();
        assert!(!respawn.is_waiting(now));
        assert_eq!(respawn.trouble(), None);
    }

    #[test]
    fn those_that_fail_together_are_one_failure() {
        let (mut respawn, now) = (Respawn::default(), Instant::now());
        for _ in 0..5 {
            respawn.failed(now, "exited with 1");
        }
        assert_eq!(respawn.delay(), FIRST);
    }
}
