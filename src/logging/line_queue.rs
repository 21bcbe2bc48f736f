//! The lines that wait to be written: two lanes with bounds of their own. Pure.
//!
//! A worker may use at most a quarter of the bytes that are still free in its lane, so that a noisy one leaves room for others.
//! A worker with few bytes waiting may use a reserve beyond the lane, so that a quiet one finds room beside any number of noisy
//! ones.

use std::collections::{HashMap, VecDeque};

/// Most bytes that wait in each lane.
const LANE_BYTES: usize = 4 << 20;
/// Bytes beyond the lane for workers that have few bytes waiting.
const RESERVE_BYTES: usize = 1 << 20;
/// Waiting bytes of a worker up to which it may use the reserve.
const QUIET_WORKER_BYTES: usize = 4 << 10;
/// Part of the free bytes that one worker may use: one in so many.
const WORKER_SHARE: usize = 4;
/// Bytes counted for a line beside its text.
const LINE_OVERHEAD: usize = 64;
/// Waiting bytes of workers up to which lines are written in their order. Above them the reader is slow, and the master's own
/// lines are written first.
const ORDERED_BYTES: usize = 64 << 10;

/// Numbers of lines that were dropped because the log was read too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedLines {
    /// Lines of the master.
    pub master: u64,
    /// Lines that workers printed.
    pub workers: u64,
}

impl DroppedLines {
    /// The lines of both.
    #[must_use]
    pub fn total(self) -> u64 {
        self.master + self.workers
    }
}

/// The waiting lines.
#[derive(Debug, Default)]
pub(super) struct LineQueue {
    own: Lane,
    workers: Lane,
    waiting_by_worker: HashMap<u64, usize>,
    next_number: u64,
}

#[derive(Debug, Default)]
struct Lane {
    lines: VecDeque<Line>,
    bytes: usize,
}

#[derive(Debug)]
struct Line {
    /// Position among the lines of both lanes.
    number: u64,
    worker: Option<u64>,
    text: Vec<u8>,
}

impl Line {
    fn cost(&self) -> usize {
        self.text.len() + LINE_OVERHEAD
    }
}

/// The origin of the lines of a batch, to count those that could not be written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: DroppedLines,
}

impl LineQueue {
    /// Appends a line of the master, or of the worker with this number. Returns whether there was room.
    pub(super) fn push(&mut self, worker: Option<u64>, text: &[u8]) -> bool {
        let cost = text.len() + LINE_OVERHEAD;
        let has_room = match worker {
            None => self.own.bytes + cost <= LANE_BYTES,
            Some(worker) => self.has_room_for(worker, cost),
        };
        if !has_room {
            return false;
        }
        let line = Line { number: self.next_number, worker, text: text.to_vec() };
        self.next_number += 1;
        if let Some(worker) = worker {
            *self.waiting_by_worker.entry(worker).or_default() += cost;
        }
        let lane = if worker.is_some() { &mut self.workers } else { &mut self.own };
        lane.bytes += cost;
        lane.lines.push_back(line);
        true
    }

    fn has_room_for(&self, worker: u64, cost: usize) -> bool {
        let wanted = self.waiting_by_worker.get(&worker).copied().unwrap_or(0) + cost;
        let used = self.workers.bytes;
        let is_quiet = wanted <= QUIET_WORKER_BYTES && used + cost <= LANE_BYTES + RESERVE_BYTES;
        is_quiet || wanted <= LANE_BYTES.saturating_sub(used) / WORKER_SHARE
    }

    /// The next lines, at least one unless the queue is empty, and not many more than `bytes`.
    pub(super) fn take(&mut self, bytes: usize) -> Batch {
        let mut batch = Batch::default();
        while batch.bytes.len() < bytes
            && let Some(line) = self.pop()
        {
            batch.bytes.extend_from_slice(&line.text);
            match line.worker {
                None => batch.lines.master += 1,
                Some(_) => batch.lines.workers += 1,
            }
        }
        batch
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.lines.is_empty() && self.workers.lines.is_empty()
    }

    fn pop(&mut self) -> Option<Line> {
        let worker_is_next = match (self.own.lines.front(), self.workers.lines.front()) {
            (Some(own), Some(worker)) => worker.number < own.number && self.workers.bytes <= ORDERED_BYTES,
            (own, _) => own.is_none(),
        };
        let lane = if worker_is_next { &mut self.workers } else { &mut self.own };
        let line = lane.lines.pop_front()?;
        lane.bytes -= line.cost();
        if let Some(worker) = line.worker
            && let Some(waiting) = self.waiting_by_worker.get_mut(&worker)
        {
            *waiting -= line.cost();
            if *waiting == 0 {
                self.waiting_by_worker.remove(&worker);
            }
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(queue: &mut LineQueue) -> Vec<String> {
        let mut taken = Vec::new();
        while let Some(line) = queue.pop() {
            taken.push(String::from_utf8(line.text).unwrap());
        }
        taken
    }

    #[test]
    fn lines_keep_their_order_for_a_quick_reader() {
        let mut queue = LineQueue::default();
        for (worker, text) in [(None, "a"), (Some(1), "b"), (None, "c"), (Some(2), "d"), (Some(1), "e")] {
            assert!(queue.push(worker, text.as_bytes()));
        }
        assert_eq!(texts(&mut queue), ["a", "b", "c", "d", "e"]);
        assert!(queue.is_empty() && queue.waiting_by_worker.is_empty());
    }

    #[test]
    fn own_lines_come_first_for_a_slow_reader() {
        let mut queue = LineQueue::default();
        let noise = [b'x'; 1000];
        while queue.push(Some(1), &noise) {}
        assert!(queue.push(None, b"a job failed"));
        assert_eq!(queue.take(1).bytes, b"a job failed");
    }

    #[test]
    fn noisy_workers_leave_room_for_quiet_ones() {
        let mut queue = LineQueue::default();
        let noise = [b'x'; 1000];
        while queue.push(Some(0), &noise) {}
        assert!(queue.workers.bytes <= LANE_BYTES / 4, "a single worker leaves most of the lane free");
        for noisy in 1..200 {
            while queue.push(Some(noisy), &noise) {}
        }
        assert!(queue.workers.bytes <= LANE_BYTES + RESERVE_BYTES);
        for quiet in 100..120 {
            assert!(queue.push(Some(quiet), b"quiet"), "worker {quiet}");
        }
    }

    #[test]
    fn own_lane_is_bounded_too() {
        let mut queue = LineQueue::default();
        let mut accepted = 0;
        while queue.push(None, &[b'x'; 1000]) {
            accepted += 1;
        }
        assert!((1000..=LANE_BYTES / 1000).contains(&accepted), "{accepted}");
    }
}
