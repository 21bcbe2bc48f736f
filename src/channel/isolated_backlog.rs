//! Jobs that need a worker of their own and have to wait for it outside the channel.
//!
//! When a worker or a guardian dies with hundreds of runs, all of their jobs return to the front of waiting at once, and each may run
//! only without others. The channel holds a few of them and gives the others back with a delay, so that they neither block the jobs
//! behind them nor circulate all the time. Owns: when the last of them comes back.

use std::time::Duration;

use tokio::time::Instant;

/// Most jobs of one isolation that the channel holds outside workers. More than run at once, so that none of these workers idles.
pub(super) const MAX_WAITING_ISOLATED: usize = 8;

/// Shortest delay.
const MIN_DELAY: Duration = Duration::from_secs(1);
/// Time between the returns of two jobs.
const SPACING: Duration = Duration::from_millis(100);
/// Longest delay.
const MAX_DELAY: Duration = Duration::from_secs(600);
/// Jobs to lease at least while such jobs are in front of waiting: a channel of few slots would need many turns to pass them.
const MIN_LEASE: usize = 128;

/// The returns of such jobs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IsolatedBacklog {
    /// When the last job returns.
    last: Option<Instant>,
    /// The last leases had to be given back in part.
    is_passing: bool,
}

impl IsolatedBacklog {
    /// Records leases of which this many jobs were given back.
    pub(super) fn leased(&mut self, given_back: usize) {
        self.is_passing = given_back > 0;
    }

    /// Number of jobs to lease for `wanted`. More than the slots take return as prefetched jobs do.
    pub(super) fn want(&self, wanted: usize) -> usize {
        if self.is_passing && wanted > 0 { wanted.max(MIN_LEASE) } else { wanted }
    }

    /// The delay of the next job; `chance` is in 0..1. Jobs return one by one, in their order. When the line is too long, they
    /// return at any time in its second half.
    pub(super) fn delay(&mut self, now: Instant, chance: f64) -> Duration {
        let earliest = now + MIN_DELAY;
        let at = self.last.map_or(earliest, |last| earliest.max(last + SPACING));
        let delay = at.saturating_duration_since(now);
        if delay > MAX_DELAY {
            return MAX_DELAY.mul_f64(0.5 + 0.5 * chance);
        }
        self.last = Some(at);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_return_one_by_one_in_their_order() {
        let (mut backlog, now) = (IsolatedBacklog::default(), Instant::now());
        let delays: Vec<_> = (0..3).map(|_| backlog.delay(now, 0.0)).collect();
        assert_eq!(delays, [MIN_DELAY, MIN_DELAY + SPACING, MIN_DELAY + 2 * SPACING]);
        assert_eq!(backlog.delay(now + 60 * MIN_DELAY, 0.0), MIN_DELAY, "an empty line");
    }

    #[test]
    fn larger_leases_pass_jobs_that_are_given_back() {
        let mut backlog = IsolatedBacklog::default();
        assert_eq!(backlog.want(4), 4);
        backlog.leased(4);
        assert_eq!((backlog.want(4), backlog.want(500), backlog.want(0)), (MIN_LEASE, 500, 0));
        backlog.leased(0);
        assert_eq!(backlog.want(4), 4);
    }

    #[test]
    fn long_line_is_spread_over_its_second_half() {
        let (mut backlog, now) = (IsolatedBacklog::default(), Instant::now());
        for _ in 0..20_000 {
            assert!(backlog.delay(now, 1.0) <= MAX_DELAY);
        }
        assert_eq!(backlog.delay(now, 0.0), MAX_DELAY / 2);
        assert_eq!(backlog.delay(now, 1.0), MAX_DELAY);
    }
}
