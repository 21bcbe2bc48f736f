//! The order of waiting jobs.

use std::collections::BTreeMap;

use crate::job::{JobId, Priority};
use crate::store::LowerPriorities;

/// Sort key of a waiting job: ascending from the front, per priority.
pub(super) type Rank = (Priority, i64);

/// The waiting jobs of a channel in leasing order.
#[derive(Debug, Default)]
pub(super) struct WaitingOrder(BTreeMap<Rank, JobId>);

impl WaitingOrder {
    /// The free rank behind all jobs of a priority.
    pub(super) fn back(&self, priority: Priority) -> Rank {
        (priority, self.of(priority).next_back().map_or(0, |rank| rank + 1))
    }

    /// The free rank before all jobs of a priority.
    pub(super) fn front(&self, priority: Priority) -> Rank {
        (priority, self.of(priority).next().map_or(0, |rank| rank - 1))
    }

    fn of(&self, priority: Priority) -> impl DoubleEndedIterator<Item = i64> {
        self.0.range((priority, i64::MIN)..=(priority, i64::MAX)).map(|((_, rank), _)| *rank)
    }

    /// The next job to lease.
    pub(super) fn first(&self) -> Option<JobId> {
        self.0.values().next().copied()
    }

    /// The first job of a priority.
    pub(super) fn first_of(&self, priority: Priority) -> Option<JobId> {
        let mut jobs = self.0.range((priority, i64::MIN)..=(priority, i64::MAX));
        jobs.next().map(|(_, id)| *id)
    }

    /// The lower priorities that have jobs.
    pub(super) fn lower(&self) -> LowerPriorities {
        let has = |priority| self.first_of(priority).is_some();
        LowerPriorities { normal: has(Priority::Normal), low: has(Priority::Low) }
    }

    /// Whether a job is among the first `depth` jobs.
    pub(super) fn is_among(&self, depth: usize, id: JobId) -> bool {
        self.0.values().take(depth).any(|waiting| *waiting == id)
    }

    pub(super) fn insert(&mut self, place: Rank, id: JobId) {
        self.0.insert(place, id);
    }

    pub(super) fn remove(&mut self, place: Rank) {
        self.0.remove(&place);
    }
}

/// A rank as one number with the same order.
pub(super) fn number((priority, rank): Rank) -> u64 {
    // Two bits for the priority; ranks count up and down from zero and never need the rest.
    (priority as u64) << 62 | rank.saturating_add(1 << 61).cast_unsigned()
}
