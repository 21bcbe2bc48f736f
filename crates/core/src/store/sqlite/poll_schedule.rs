//! The times of the checks for commits of other processes.

use std::time::{Duration, Instant};

/// Time between two checks without announcements of writes, and from a write to the next check while others are expected.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Time between two checks while no write is announced: for a commit that took longer than [`COMMIT_TIME`].
const UNANNOUNCED_INTERVAL: Duration = Duration::from_secs(1);
/// Time from a write to the first check for its commit; each further one doubles it.
const FIRST_GAP: Duration = Duration::from_micros(500);
/// Time for which a commit is expected after a write: SQLite syncs the log in between.
const COMMIT_TIME: Duration = Duration::from_millis(500);
/// Time between two writes that begin with [`FIRST_GAP`]. Writes in between, as under load, are met by the checks that are due.
const BURST_INTERVAL: Duration = Duration::from_millis(100);
/// Commits found without an announcement before the announcements count as missing. A single one may have been late.
const MAX_MISSED: u32 = 3;

/// When the next check is due.
#[derive(Debug)]
pub(super) struct PollSchedule {
    /// Whether the kernel announces writes.
    is_announced: bool,
    due: Instant,
    gap: Duration,
    /// The last write that began with the first gap.
    burst: Option<Instant>,
    expected_until: Option<Instant>,
    /// Whether a write was announced since the last check.
    has_write: bool,
    /// Commits found in succession that no announcement preceded.
    missed: u32,
}

impl PollSchedule {
    pub(super) fn new(is_announced: bool, now: Instant) -> Self {
        Self {
            is_announced,
            due: now,
            gap: POLL_INTERVAL,
            burst: None,
            expected_until: None,
            has_write: false,
            missed: 0,
        }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether the kernel announces writes, as far as known. Final when it does not.
    pub(super) fn is_announced(&self) -> bool {
        self.is_announced
    }

    /// Whether an announcement would change the schedule: further ones until the next check would not.
    pub(super) fn needs_announcement(&self) -> bool {
        self.is_announced && !self.has_write
    }

    /// Whether a write was announced whose commit was not met yet.
    pub(super) fn expects_commit(&self) -> bool {
        self.expected_until.is_some()
    }

    /// Records that a process writes: its commit follows. While this process writes itself, the commits of others are visible
    /// already, and there is no hurry.
    pub(super) fn announce(&mut self, is_own: bool, now: Instant) {
        self.has_write = true;
        self.expected_until = Some(now + COMMIT_TIME);
        if is_own {
            self.gap = POLL_INTERVAL;
        } else if self.burst.is_none_or(|burst| now.duration_since(burst) >= BURST_INTERVAL) {
            self.burst = Some(now);
            self.gap = FIRST_GAP;
        }
        self.due = self.due.min(now + self.gap.min(POLL_INTERVAL));
    }

    /// Records that the kernel announces nothing any more.
    pub(super) fn end_announcements(&mut self, now: Instant) {
        self.is_announced = false;
        self.due = self.due.min(now + POLL_INTERVAL);
    }

    /// Records a check that was due, whether it found a commit, and whether the log has a write without a commit.
    pub(super) fn checked(&mut self, found: bool, is_commit_ahead: bool, now: Instant) {
        if self.has_write || self.expected_until.is_some() {
            self.missed = 0;
        } else if found {
            self.missed += 1;
            self.is_announced &= self.missed < MAX_MISSED;
        }
        self.has_write = false;
        self.expected_until = self.expected_until.filter(|until| is_commit_ahead && now < *until);
        let pause = if self.expected_until.is_some() && self.is_announced {
            self.gap *= 2;
            self.gap
        } else if self.is_announced {
            UNANNOUNCED_INTERVAL
        } else {
            POLL_INTERVAL
        };
        self.due = now + pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Checks when they are due until `end`, of a log with a write that is never committed, and returns their number.
    fn check_until(schedule: &mut PollSchedule, end: Instant) -> u32 {
        let mut checks = 0;
        while schedule.due() <= end {
            let due = schedule.due();
            schedule.checked(false, true, due);
            checks += 1;
        }
        checks
    }

    #[test]
    fn idle_store_is_checked_once_a_second() {
        let start = Instant::now();
        let mut schedule = PollSchedule::new(true, start);
        assert_eq!(check_until(&mut schedule, start + 10_500 * MS), 11);
    }

    #[test]
    fn commit_is_met_soon_after_its_write() {
        let start = Instant::now();
        let mut schedule = PollSchedule::new(true, start);
        check_until(&mut schedule, start);
        let write = start + 300 * MS;
        schedule.announce(false, write);
        // A commit is met after at most twice its own time.
        for commit in [Duration::ZERO, MS / 2, MS, 3 * MS, 10 * MS, 60 * MS, 400 * MS] {
            while schedule.due() < write + commit {
                let due = schedule.due();
                schedule.checked(false, true, due);
            }
            let late = schedule.due() - (write + commit);
            assert!(late <= commit + FIRST_GAP, "{late:?} after {commit:?}");
        }
        check_until(&mut schedule, write + 600 * MS);
        assert!(schedule.due() > write + 1_000 * MS, "the commit is expected no longer");
        schedule.announce(false, write + 700 * MS);
        assert!(check_until(&mut schedule, write + 1_600 * MS) <= 10, "one series");
    }

    #[test]
    fn committed_write_costs_one_check() {
        let start = Instant::now();
        for (is_own, gap) in [(false, FIRST_GAP), (true, POLL_INTERVAL)] {
            let mut schedule = PollSchedule::new(true, start);
            schedule.checked(false, false, start);
            schedule.announce(is_own, start + MS);
            assert_eq!(schedule.due(), start + MS + gap);
            let due = schedule.due();
            schedule.checked(true, false, due);
            assert_eq!(schedule.due(), due + UNANNOUNCED_INTERVAL);
        }
    }

    #[test]
    fn writes_without_end_cost_few_checks() {
        let start = Instant::now();
        let mut schedule = PollSchedule::new(true, start);
        let mut checks = 0;
        for write in 0..10_000 {
            let now = start + write * MS;
            checks += check_until(&mut schedule, now);
            if schedule.needs_announcement() {
                schedule.announce(false, now);
            }
        }
        assert!((400..1_000).contains(&checks), "{checks} checks in 10 s");
    }

    #[test]
    fn short_intervals_without_announcements() {
        let start = Instant::now();
        let polls = |schedule: &mut PollSchedule| {
            let begin = schedule.due();
            check_until(schedule, begin + 1_000 * MS)
        };
        let mut schedule = PollSchedule::new(false, start);
        assert_eq!(polls(&mut schedule), 41, "none from the beginning");

        let mut schedule = PollSchedule::new(true, start);
        schedule.end_announcements(start);
        assert_eq!(polls(&mut schedule), 41, "their source has ended");

        let mut schedule = PollSchedule::new(true, start);
        for _ in 0..2 {
            let due = schedule.due();
            schedule.checked(true, false, due);
        }
        schedule.announce(false, schedule.due());
        check_until(&mut schedule, start + 9_000 * MS);
        assert!(schedule.is_announced(), "late ones");
        for _ in 0..3 {
            let due = schedule.due();
            schedule.checked(true, false, due);
        }
        assert!(!schedule.is_announced());
        assert_eq!(polls(&mut schedule), 41, "commits came without them");
    }
}
