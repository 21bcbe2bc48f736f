//! The memory for jobs that producers send, and for responses that they have not read: one budget well below the `memory_limit` of
//! the master, so that no producer makes the master re-execute itself.
//!
//! A producer reserves memory before its data is read. Without room it waits, and with it its socket; HTTP requests that wait
//! too long are refused. The estimate of parsed jobs counts the many small allocations of headers. `unread` has the shares of
//! workers in the memory of answers.

mod unread;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use unread::AnswerReservation;
pub(crate) use unread::AnswerShare;

/// Unit of the budgets: a semaphore counts fewer permits than a budget may have bytes.
const UNIT: usize = 1 << 10;
/// Memory of a parsed job in relation to its text, at most: each header of a few bytes takes two texts and a part of a tree.
const PARSED_PER_BYTE: usize = 12;
/// Memory of a request or a frame beside its jobs.
const OVERHEAD: usize = 4 << 10;
/// Memory of the largest batch of parsed jobs on its way into a store.
pub(crate) const BATCH_BYTES: usize = 8 << 20;
/// Text up to this size is parsed as a whole.
pub(crate) const SMALL_BYTES: usize = 64 << 10;

/// The shares of the budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProducerMemory {
    /// Small requests, with their parsed jobs: large ones never keep them waiting.
    pub(crate) small_bodies: MemoryBudget,
    /// Bodies of large requests.
    pub(crate) large_bodies: MemoryBudget,
    /// Parsed jobs of large requests: one batch at a time.
    pub(crate) batches: MemoryBudget,
    /// Responses to pushes over HTTP that their clients have not read.
    pub(crate) responses: MemoryBudget,
    /// Other HTTP responses that their clients have not read: metrics, pages of the dashboard.
    pub(crate) pages: MemoryBudget,
    /// Frames of workers and answers to them.
    pub(crate) workers: WorkerMemory,
}

/// The memory of what workers send and have not read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerMemory {
    /// Pushes of running jobs, until the store has their jobs.
    pub(crate) pushes: MemoryBudget,
    /// Answers to requests of running jobs, from the request until the worker has read them.
    pub(crate) answers: MemoryBudget,
    /// Lines longer than [`SMALL_BYTES`], while they arrive and while a push of that length waits.
    pub(crate) long_lines: MemoryBudget,
}

impl WorkerMemory {
    /// The memory of the workers of a master that has this many bytes for them.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let tenth = bytes / 10;
        Self {
            pushes: MemoryBudget::new(4 * tenth),
            answers: MemoryBudget::new(3 * tenth),
            long_lines: MemoryBudget::new(3 * tenth),
        }
    }
}

impl ProducerMemory {
    /// The budget of a master with this `memory_limit` in MiB, whose HTTP requests have bodies up to `max_body` bytes. It is half of
    /// the limit, and more only if one body would not fit.
    #[must_use]
    pub fn new(memory_limit: u64, max_body: usize) -> Self {
        let limit = usize::try_from(memory_limit).unwrap_or(usize::MAX).min(1 << 20) << 20;
        let eighth = (limit / 8).max(1 << 20);
        let bodies = (eighth * 2).saturating_sub(BATCH_BYTES + eighth / 2).max(max_body);
        Self {
            small_bodies: MemoryBudget::new(eighth / 2),
            large_bodies: MemoryBudget::new(bodies),
            batches: MemoryBudget::new(BATCH_BYTES),
            responses: MemoryBudget::new(eighth / 4),
            pages: MemoryBudget::new(eighth / 12),
            workers: WorkerMemory::new(eighth * 5 / 3),
        }
    }

    /// Bytes that are reserved now.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.all().into_iter().map(MemoryBudget::in_use).sum()
    }

    fn all(&self) -> [&MemoryBudget; 8] {
        let WorkerMemory { pushes, answers, long_lines } = &self.workers;
        let Self { small_bodies, large_bodies, batches, responses, pages, .. } = self;
        [small_bodies, large_bodies, batches, responses, pages, pushes, answers, long_lines]
    }
}

/// The memory of jobs with this length of text, while they are parsed and pushed.
pub(crate) fn parsed(text: usize) -> usize {
    OVERHEAD + text + (text * PARSED_PER_BYTE).min(BATCH_BYTES)
}

/// A number of bytes that producers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    total: u32,
    in_use: Arc<AtomicU64>,
}

/// Reserved bytes, free again on drop.
#[derive(Debug)]
pub struct Reservation {
    permit: OwnedSemaphorePermit,
    bytes: u64,
    in_use: Arc<AtomicU64>,
}

impl MemoryBudget {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let total = units(bytes).max(1);
        let units = Arc::new(Semaphore::new(usize::try_from(total).expect("a u32 fits")));
        Self { units, total, in_use: Arc::default() }
    }

    /// Waits until the bytes are free, in the order of the calls. More than the whole budget counts as the whole.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let wanted = units(bytes).clamp(1, self.total);
        let permit = Arc::clone(&self.units).acquire_many_owned(wanted).await;
        self.reservation(permit.expect("the semaphore is never closed"), wanted)
    }

    /// Reserves the bytes if they are free and no other caller waits for them.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        let wanted = units(bytes).clamp(1, self.total);
        let permit = Arc::clone(&self.units).try_acquire_many_owned(wanted).ok()?;
        Some(self.reservation(permit, wanted))
    }

    fn reservation(&self, permit: OwnedSemaphorePermit, wanted: u32) -> Reservation {
        let bytes = u64::from(wanted) * UNIT as u64;
        self.in_use.fetch_add(bytes, Ordering::Relaxed);
        Reservation { permit, bytes, in_use: Arc::clone(&self.in_use) }
    }

    /// Whether less than a quarter is free, so that those who keep memory without using it have to give way.
    pub(crate) fn is_short(&self) -> bool {
        self.units.available_permits() < usize::try_from(self.total / 4).unwrap_or(usize::MAX)
    }

    pub(crate) fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Gives back all but this many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let excess = self
            .permit
            .num_permits()
            .saturating_sub(usize::try_from(units(bytes).max(1)).unwrap_or(usize::MAX));
        if let Some(freed) = self.permit.split(excess) {
            let freed = freed.num_permits() as u64 * UNIT as u64;
            self.bytes -= freed;
            self.in_use.fetch_sub(freed, Ordering::Relaxed);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn bytes(budget: &MemoryBudget) -> usize {
        budget.total as usize * UNIT
    }

    #[test]
    fn shares_stay_well_below_the_limit() {
        for (limit, max_body) in [(96, 5 * MIB), (96, MIB), (512, 64 * MIB)] {
            let memory = ProducerMemory::new(limit, max_body);
            let all: usize = memory.all().into_iter().map(bytes).sum();
            // Each share is rounded up to a unit.
            assert!(all <= limit as usize * MIB / 2 + 8 * UNIT, "{limit}: {all}");
            assert!(bytes(&memory.large_bodies) >= max_body);
        }
        assert_eq!(bytes(&ProducerMemory::new(96, 64 * MIB).large_bodies), 64 * MIB, "one body fits");
        let _ = ProducerMemory::new(u64::MAX >> 20, 64 * MIB);
    }

    #[test]
    fn shrunk_reservation_frees_the_rest() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut most = budget.try_reserve(9 * UNIT).unwrap();
        assert!(budget.is_short());
        most.shrink_to(2 * UNIT);
        assert_eq!((budget.in_use(), budget.is_short()), (2 * UNIT as u64, false));
        most.shrink_to(100 * UNIT);
        assert!(budget.try_reserve(8 * UNIT).is_some());
        drop(most);
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn reservation_waits_and_is_freed_on_drop() {
        let budget = MemoryBudget::new(10 * UNIT);
        let most = budget.reserve(9 * UNIT).await;
        assert!(budget.try_reserve(2 * UNIT).is_none());
        assert_eq!(budget.in_use(), 9 * UNIT as u64);
        drop(most);
        let all = budget.reserve(100 * UNIT).await;
        assert_eq!(budget.in_use(), 10 * UNIT as u64, "more than the whole counts as the whole");
        drop(all);
        assert_eq!(budget.in_use(), 0);
        assert!(budget.try_reserve(1).is_some());
    }

    #[test]
    fn small_headers_count_more_than_their_text() {
        assert!(parsed(100) > 1200);
        assert!(parsed(5 * MIB) < 5 * MIB + BATCH_BYTES + MIB);
    }
}
