//! What follows from boots that failed: how long to wait before the next one, how many to try at once, and when to say
//! that the program does not start at all. Pure.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
/// With the jitter, five seconds at most: a program that was repaired is found in time to be at full speed within ten.
const LONGEST: Duration = Duration::from_secs(4);
/// So many failed boots in a row are a crash loop. With these pauses a program that fails at once gets there in two
/// seconds.
const LOOP: u32 = 5;

/// Doubles the wait with every failed boot in a row; a worker that answers a run ends it, if it was started since.
#[derive(Debug, Default)]
pub(super) struct Respawn {
    failures: u32,
    until: Option<Instant>,
    /// When the last boot failed.
    last: Option<Instant>,
    /// A worker that was started since the last failure is ready.
    proved: bool,
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
        (self.last, self.proved) = (Some(now), false);
        self.failures = self.failures.saturating_add(1);
        // Up to a quarter more, so that several channels do not boot in step.
        let jitter = self.delay().mul_f64(fastrand::f64() / 4.0);
        self.until = Some(now + self.delay() + jitter);
    }

    /// A worker that was born then is ready. That alone proves little: a program may die right behind its hello, again
    /// and again.
    pub(super) fn ready(&mut self, born: Instant) {
        if self.is_since(born) {
            (self.proved, self.until) = (true, None);
        }
    }

    /// A worker that was born then has been of use.
    pub(super) fn succeeded(&mut self, born: Instant) {
        // What old workers do says nothing about new ones.
        if self.failures > 0 && self.is_since(born) {
            *self = Self::default();
        }
    }

    fn is_since(&self, born: Instant) -> bool {
        self.last.is_none_or(|last| born >= last)
    }

    /// Why no worker can be started, as long as none has been of use since.
    pub(super) fn trouble(&self) -> Option<&str> {
        (self.failures > 0).then_some(self.why.as_str())
    }

    /// Whether one boot at a time is enough: the last one failed, and it is not known that the next will not.
    pub(super) fn is_probing(&self) -> bool {
        self.failures > 0 && !self.proved
    }

    /// Whether boots fail again and again.
    pub(super) fn is_looping(&self) -> bool {
        self.failures >= LOOP && !self.proved
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
        let (mut delays, mut looping) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            respawn.failed(now, "exited with 1");
            delays.push(respawn.delay().as_millis());
            looping.push(respawn.is_looping());
            let until = respawn.waits_until(now).unwrap();
            assert!(until >= now + respawn.delay() && until <= now + respawn.delay().mul_f64(1.25));
            now = until;
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 4000, 4000, 4000]);
        assert_eq!(looping, [false, false, false, false, true, true, true, true, true]);
        assert_eq!(respawn.trouble(), Some("exited with 1"));
        respawn.succeeded(now);
        assert!(!respawn.is_waiting(now) && !respawn.is_probing() && !respawn.is_looping());
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

    #[test]
    fn old_workers_prove_nothing_and_a_hello_only_that_more_may_be_tried() {
        let (mut respawn, old) = (Respawn::default(), Instant::now());
        let mut now = old;
        for _ in 0..6 {
            now += Duration::from_secs(5);
            respawn.failed(now, "exited with 1");
        }
        respawn.succeeded(old);
        respawn.ready(old);
        assert!(respawn.is_looping() && respawn.is_waiting(now));
        respawn.ready(now);
        assert!(!respawn.is_looping() && !respawn.is_probing() && !respawn.is_waiting(now));
        assert!(respawn.trouble().is_some());
        // It died behind its hello.
        respawn.failed(now, "exited with 1");
        assert!(respawn.is_looping());
    }
}
