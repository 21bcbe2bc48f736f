//! What the pool has to look at, and when.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::guardian::handle::ChildId;
use crate::wire::RunId;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A run's limit, or the grace behind it.
    Run(RunId),
    /// A worker's boot limit, or the grace behind its stop.
    Worker(ChildId),
    /// A boot that was put off, or the end of a probation: looked after before every wait.
    Boot,
    /// A worker gets too old: looked after before every wait.
    Age,
    /// How many workers there should be.
    Flex,
    /// How much memory they use.
    Memory,
}

/// Timers in the order they fire. One that no longer matters may stay: whoever is told looks first.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn unset(&mut self, at: Instant, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// Sets a timer of which there is one, or none, in place of where it was.
    pub(super) fn replace(&mut self, was: &mut Option<Instant>, at: Option<Instant>, timer: Timer) {
        if *was == at {
            return;
        }
        if let Some(earlier) = was.take() {
            self.unset(earlier, timer);
        }
        if let Some(at) = at {
            self.set(at, timer);
        }
        *was = at;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Removes and answers what is due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Timer> {
        let later = self.0.split_off(&(now, Timer::Run(RunId::MAX)));
        std::mem::replace(&mut self.0, later).into_iter().map(|(_, timer)| timer).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rescheduled_timer_fires_once() {
        let (mut timers, begin) = (Timers::default(), Instant::now());
        let mut was = None;
        for second in 1..1_000 {
            timers.replace(&mut was, Some(begin + Duration::from_secs(second)), Timer::Age);
        }
        timers.set(begin + Duration::from_secs(998), Timer::Boot);
        assert_eq!((timers.0.len(), was), (2, Some(begin + Duration::from_secs(999))));
        timers.replace(&mut was, None, Timer::Age);
        assert_eq!((timers.due(begin + Duration::from_secs(1_000)), was), (vec![Timer::Boot], None));
    }
}
