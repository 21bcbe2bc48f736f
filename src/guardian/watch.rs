//! The watch over the guardian while runs are under it, by its state in /proc. Pure.
//!
//! A signal can stop the guardian, and then nothing under it is reaped or killed. A stopped guardian is continued, and
//! replaced as dead when it does not stay awake. One that is slow is in another state and never replaced.

use std::time::Duration;

use tokio::time::Instant;

/// Interval between two looks at the state of the guardian.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a guardian may stay stopped although it is continued.
const MAX_STOPPED: Duration = Duration::from_secs(5);
/// The state letter of a process that a signal has stopped.
const STOPPED: u8 = b'T';

/// The watch over one guardian process.
#[derive(Debug)]
pub(super) struct Watch {
    check_at: Instant,
    /// Time between two beats.
    beat_interval: Duration,
    beat_at: Instant,
    /// When the guardian was first found stopped, without a break since.
    stopped_since: Option<Instant>,
}

/// The state of the guardian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuardianState {
    /// Not stopped.
    Running,
    /// Stopped, and to be continued; `is_news` at the first look.
    Stopped { is_news: bool },
    /// Stopped for so long that it is replaced.
    Dead,
}

impl Watch {
    /// A watch that checks and beats at once; the guardian has to receive a beat at least every `silence_limit`.
    pub(super) fn new(silence_limit: Duration, now: Instant) -> Self {
        Self { check_at: now, beat_interval: silence_limit / 6, beat_at: now, stopped_since: None }
    }

    /// When to look again.
    pub(super) fn next_at(&self) -> Instant {
        self.check_at.min(self.beat_at)
    }

    /// Judges the state letter of the guardian, if a look is due; `None` for a process that cannot be read.
    pub(super) fn check(&mut self, state: impl FnOnce() -> Option<u8>, now: Instant) -> GuardianState {
        if now < self.check_at {
            return GuardianState::Running;
        }
        self.check_at = now + CHECK_INTERVAL;
        if state() != Some(STOPPED) {
            self.stopped_since = None;
            return GuardianState::Running;
        }
        let is_news = self.stopped_since.is_none();
        let since = *self.stopped_since.get_or_insert(now);
        if now.duration_since(since) >= MAX_STOPPED {
            GuardianState::Dead
        } else {
            GuardianState::Stopped { is_news }
        }
    }

    /// Whether a beat is due; it then counts as sent.
    pub(super) fn take_beat(&mut self, now: Instant) -> bool {
        let is_due = now >= self.beat_at;
        if is_due {
            self.beat_at = now + self.beat_interval;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch(begin: Instant) -> Watch {
        Watch::new(30 * SECOND, begin)
    }

    #[test]
    fn guardian_that_stays_stopped_is_dead_after_five_seconds() {
        let begin = Instant::now();
        let mut watch = watch(begin);
        let mut look = |second: u32| watch.check(|| Some(STOPPED), begin + second * SECOND);
        assert_eq!(look(0), GuardianState::Stopped { is_news: true });
        for second in 1..5 {
            assert_eq!(look(second), GuardianState::Stopped { is_news: false }, "{second}");
        }
        assert_eq!(look(5), GuardianState::Dead);
    }

    #[test]
    fn continued_or_slow_guardian_is_never_dead() {
        let begin = Instant::now();
        let mut watch = watch(begin);
        for second in 0..600 {
            let now = begin + second * SECOND;
            // Sleeping, running, waiting for a disk, and a debugger's stop.
            let state = [b'S', b'R', b'D', b't', STOPPED][second as usize % 5];
            let found = watch.check(|| Some(state), now);
            assert_ne!(found, GuardianState::Dead);
            assert_eq!(found != GuardianState::Running, state == STOPPED);
        }
        assert_eq!(watch.check(|| None, begin + 900 * SECOND), GuardianState::Running);
    }

    #[test]
    fn looks_are_a_second_apart_and_beats_a_sixth_of_the_limit() {
        let begin = Instant::now();
        let mut watch = watch(begin);
        assert_eq!(watch.next_at(), begin);
        assert!(watch.take_beat(begin) && !watch.take_beat(begin + 4 * SECOND));
        watch.check(|| Some(b'S'), begin);
        assert_eq!(watch.next_at(), begin + SECOND);
        watch.check(|| panic!("no look is due"), begin + SECOND / 2);
        assert!(watch.take_beat(begin + 5 * SECOND));
    }
}
