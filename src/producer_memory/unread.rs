//! The memory of answers that workers have not read: a share per worker, and one budget of all.
//!
//! A request reserves the memory of its answer before it is passed on, and the answer keeps it until the worker has read it. So a
//! worker that sends requests and reads no answers is soon read no more. A worker without any unread answer never waits for the
//! budget of all: deaf workers slow the others down, and never stop them.

use super::{MemoryBudget, Reservation};

/// Most memory of open requests and unread answers of one worker.
const MAX_UNREAD: usize = 256 << 10;
/// Memory of a request without jobs, until its answer is read; an error text is cut to less.
const MIN_ANSWER: usize = 1 << 10;
/// Memory of the id of a pushed job in an answer.
const ANSWER_PER_JOB: usize = 24;

/// The share of one worker in the memory of answers.
#[derive(Clone, Debug)]
pub(crate) struct AnswerShare {
    own: MemoryBudget,
    of_all: MemoryBudget,
}

/// Memory of one answer, free again on drop.
#[derive(Debug)]
pub struct AnswerReservation {
    _own: Reservation,
    /// `None` for the only answer of a worker.
    _of_all: Option<Reservation>,
}

impl AnswerShare {
    /// The share of a new worker; `of_all` is the budget of all workers.
    pub(crate) fn new(of_all: &MemoryBudget) -> Self {
        Self { own: MemoryBudget::new(MAX_UNREAD), of_all: of_all.clone() }
    }

    /// Reserves memory for the answer to a request with this many jobs, if it is free.
    pub(crate) fn try_reserve(&self, jobs: usize) -> Option<AnswerReservation> {
        let bytes = answer_bytes(jobs);
        let own = self.own.try_reserve(bytes)?;
        if let Some(of_all) = self.of_all.try_reserve(bytes) {
            return Some(AnswerReservation { _own: own, _of_all: Some(of_all) });
        }
        let is_only = self.own.try_reserve(MAX_UNREAD - bytes).is_some();
        is_only.then_some(AnswerReservation { _own: own, _of_all: None })
    }

    /// Waits until the memory is free, or the worker has read all earlier answers.
    pub(crate) async fn reserve(&self, jobs: usize) -> AnswerReservation {
        let bytes = answer_bytes(jobs);
        let own = self.own.reserve(bytes).await;
        let of_all = tokio::select! {
            biased;
            of_all = self.of_all.reserve(bytes) => Some(of_all),
            _others = self.own.reserve(MAX_UNREAD - bytes) => None,
        };
        AnswerReservation { _own: own, _of_all: of_all }
    }
}

fn answer_bytes(jobs: usize) -> usize {
    (MIN_ANSWER + jobs.saturating_mul(ANSWER_PER_JOB)).next_multiple_of(super::UNIT).min(MAX_UNREAD / 2)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Whether a request waits for memory.
    async fn waits(share: &AnswerShare) -> bool {
        share.try_reserve(500).is_none()
            && timeout(Duration::from_millis(1), share.reserve(500)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn deaf_worker_waits_for_its_own_answers() {
        let all = MemoryBudget::new(4 << 20);
        let deaf = AnswerShare::new(&all);
        let mut unread = Vec::new();
        while let Some(answer) = deaf.try_reserve(500) {
            unread.push(answer);
        }
        assert!((16..=20).contains(&unread.len()), "{}", unread.len());
        assert!(all.in_use() <= MAX_UNREAD as u64 && waits(&deaf).await);
        assert!(AnswerShare::new(&all).try_reserve(500).is_some(), "another worker is read");
        unread.pop();
        assert!(!waits(&deaf).await);
    }

    #[tokio::test(start_paused = true)]
    async fn deaf_workers_never_stop_one_that_reads() {
        let all = MemoryBudget::new(128 << 10);
        let deaf: Vec<_> = (0..60).map(|_| AnswerShare::new(&all)).collect();
        let mut unread = Vec::new();
        for share in &deaf {
            while let Some(answer) = share.try_reserve(500) {
                unread.push(answer);
            }
            assert!(waits(share).await);
        }
        assert!(unread.len() <= 60 + 10, "one answer each beside the budget: {}", unread.len());
        let reader = AnswerShare::new(&all);
        for _ in 0..100 {
            let first = reader.reserve(500).await;
            assert!(waits(&reader).await, "one at a time");
            let (_, second) = tokio::join!(async { drop(first) }, reader.reserve(500));
            drop(second);
        }
        drop(unread);
        assert_eq!(all.in_use(), 0);
    }
}
