//! The longest wait of lower priorities: decides whose front job the next turn leases before all others.
//!
//! Counts from the moment at which a turn first left jobs of a priority waiting, or leased one of them last. A list that is
//! passed over for the longest wait gets one lease, then waits again: a long list of low jobs does not hold up the high ones.

use std::time::Duration;

use tokio::time::Instant;

use crate::job::Priority;
use crate::store::{Leased, LowerPriorities};

/// The times since which the lists of lower priorities have been passed over.
#[derive(Debug, Default)]
pub(super) struct PriorityWait {
    normal: Option<Instant>,
    low: Option<Instant>,
}

impl PriorityWait {
    /// The lower priorities whose front job has waited for `limit`; `None` without a limit.
    pub(super) fn overdue(&self, limit: Option<Duration>, now: Instant) -> Option<LowerPriorities> {
        let limit = limit?;
        let is_over = |since: Option<Instant>| since.is_some_and(|since| now.duration_since(since) >= limit);
        Some(LowerPriorities { normal: is_over(self.normal), low: is_over(self.low) })
    }

    /// Notes what a turn leased and left behind.
    pub(super) fn turned(&mut self, leased: &[Leased], waiting: LowerPriorities, now: Instant) {
        let has_leased = |priority| {
            leased.iter().any(|job| matches!(job, Leased::Job(record) if record.meta.priority == priority))
        };
        let note = |since: &mut Option<Instant>, priority, is_waiting: bool| {
            *since = match (is_waiting, *since) {
                (false, _) => None,
                (true, Some(since)) if !has_leased(priority) => Some(since),
                (true, _) => Some(now),
            };
        };
        note(&mut self.normal, Priority::Normal, waiting.normal);
        note(&mut self.low, Priority::Low, waiting.low);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobId, JobMeta, JobRecord, Payload};

    const LIMIT: Duration = Duration::from_secs(10);
    const NONE: LowerPriorities = LowerPriorities { normal: false, low: false };
    const LOW: LowerPriorities = LowerPriorities { normal: false, low: true };
    const BOTH: LowerPriorities = LowerPriorities { normal: true, low: true };

    fn job(priority: Priority) -> Leased {
        let meta = JobMeta { priority, ..JobMeta::named("x") };
        Leased::Job(JobRecord { id: JobId(1), meta, payload: Payload::parse("{}").unwrap() })
    }

    #[test]
    fn list_passed_over_for_the_limit_goes_first_once() {
        let (mut wait, start) = (PriorityWait::default(), Instant::now());
        wait.turned(&[job(Priority::High)], LOW, start);
        let just_before = start + LIMIT - Duration::from_millis(1);
        wait.turned(&[job(Priority::High)], LOW, just_before);
        assert_eq!(wait.overdue(Some(LIMIT), just_before), Some(NONE));
        assert_eq!(wait.overdue(Some(LIMIT), start + LIMIT), Some(LOW));
        assert_eq!(wait.overdue(None, start + LIMIT), None);
        // The list gets one lease, then waits again.
        wait.turned(&[job(Priority::Low)], LOW, start + LIMIT);
        assert_eq!(wait.overdue(Some(LIMIT), start + LIMIT), Some(NONE));
        assert_eq!(wait.overdue(Some(LIMIT), start + 2 * LIMIT), Some(LOW));
    }

    #[test]
    fn empty_list_waits_for_nothing() {
        let (mut wait, start) = (PriorityWait::default(), Instant::now());
        wait.turned(&[], BOTH, start);
        wait.turned(&[], LOW, start + LIMIT);
        assert_eq!(wait.overdue(Some(LIMIT), start + LIMIT), Some(LOW));
        wait.turned(&[], BOTH, start + LIMIT);
        assert_eq!(wait.overdue(Some(LIMIT), start + LIMIT), Some(LOW), "the new normal job has just come");
    }
}
