//! Values of a channel that need a memory of some minutes: how long it has been paused, how often workers crashed.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The time in which crashes of workers are counted.
const RESTART_WINDOW: Duration = Duration::from_secs(300);
/// The time in which jobs that were given up are counted.
const POISON_WINDOW: Duration = Duration::from_secs(60);

/// The values at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trends {
    /// Seconds for which the channel has been seen paused; 0 while it is not.
    pub paused_seconds: f64,
    /// Workers that crashed or failed to start in the last 5 minutes.
    pub restarts: u64,
    /// Jobs that were given up as poison or lost in the last minute.
    pub poison: u64,
}

/// Totals since the start of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Workers that crashed or failed to start.
    pub(super) restarts: u64,
    /// Jobs that were given up as poison or lost.
    pub(super) poison: u64,
}

/// The memory of [`Trends`].
#[derive(Debug, Default)]
pub(super) struct TrendMemory {
    paused_since: Option<Instant>,
    restarts: Growth,
    poison: Growth,
}

impl TrendMemory {
    /// Records a sample. `paused` is `None` while the store does not answer.
    pub(super) fn record(&mut self, paused: Option<bool>, totals: Totals, now: Instant) {
        match paused {
            Some(true) => {
                self.paused_since.get_or_insert(now);
            }
            Some(false) => self.paused_since = None,
            None => {}
        }
        self.restarts.record(totals.restarts, RESTART_WINDOW, now);
        self.poison.record(totals.poison, POISON_WINDOW, now);
    }

    /// The values at the last sample.
    pub(super) fn trends(&self, now: Instant) -> Trends {
        Trends {
            paused_seconds: self.paused_since.map_or(0.0, |since| now.duration_since(since).as_secs_f64()),
            restarts: self.restarts.growth(),
            poison: self.poison.growth(),
        }
    }
}

/// The growth of a total in a window of time.
#[derive(Debug, Default)]
struct Growth(VecDeque<(Instant, u64)>);

impl Growth {
    fn record(&mut self, total: u64, window: Duration, now: Instant) {
        // A smaller total is one of a new beginning.
        if self.0.back().is_some_and(|(_, last)| total < *last) {
            self.0.clear();
        }
        // Without an earlier total, what has grown since the start of the master is new.
        let is_first = self.0.is_empty();
        if is_first {
            self.0.push_back((now, 0));
        }
        if self.0.back().is_none_or(|(_, last)| total != *last) {
            self.0.push_back((now, total));
        }
        // The newest total outside the window is the one that growth is counted from.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= window) {
            self.0.pop_front();
        }
    }

    fn growth(&self) -> u64 {
        match (self.0.front(), self.0.back()) {
            (Some((_, first)), Some((_, last))) => last - first,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(restarts: u64) -> Totals {
        Totals { restarts, poison: 0 }
    }

    #[test]
    fn growth_is_that_of_the_window() {
        let (mut memory, start) = (TrendMemory::default(), Instant::now());
        let mut restarts = |second: u64, total| {
            let now = start + Duration::from_secs(second);
            memory.record(None, totals(total), now);
            memory.trends(now).restarts
        };
        assert_eq!(restarts(0, 2), 2, "crashes before the first sample are new");
        assert_eq!(restarts(100, 5), 5);
        assert_eq!(restarts(299, 5), 5);
        assert_eq!(restarts(301, 5), 3);
        assert_eq!(restarts(400, 5), 0);
        assert_eq!(restarts(405, 1), 1, "a total that begins again");
    }

    #[test]
    fn pause_is_measured_from_its_first_sight() {
        let (mut memory, start) = (TrendMemory::default(), Instant::now());
        let mut paused = |second: u64, paused| {
            let now = start + Duration::from_secs(second);
            memory.record(paused, totals(0), now);
            memory.trends(now).paused_seconds
        };
        assert_eq!(paused(0, Some(false)), 0.0);
        assert_eq!(paused(10, Some(true)), 0.0);
        assert_eq!(paused(40, Some(true)), 30.0);
        assert_eq!(paused(50, None), 40.0, "a store that does not answer ends no pause");
        assert_eq!(paused(60, Some(false)), 0.0);
    }
}
