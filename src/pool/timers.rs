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
    /// A boot that was put off, or a worker that gets too old: looked after before every wait.
    Boot,
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

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Removes and answers what is due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Timer> {
        let later = self.0.split_off(&(now, Timer::Run(RunId::MAX)));
        std::mem::replace(&mut self.0, later).into_iter().map(|(_, timer)| timer).collect()
    }
}
