//! Samples of the resident memory of workers, taken while they work, on a thread of their own.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::messages::IoEvent;
use super::workers::set::Workers;
use crate::guardian::handle::ChildId;
use crate::guardian::procfs;

/// Time between two samples while anything runs.
const SAMPLING_INTERVAL: Duration = Duration::from_millis(250);

/// A sample to be taken.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    at: Instant,
    /// Runs have begun or ended since it was scheduled: another one follows.
    again: bool,
}

/// When memory is sampled, and the largest worker of the last sample.
#[derive(Debug, Default)]
pub(super) struct MemorySampler {
    /// None while nothing has run since the last sample.
    next: Option<Scheduled>,
    /// Also after that worker has ended.
    largest: Option<u64>,
}

impl MemorySampler {
    /// A run has begun or ended.
    pub(super) fn activity(&mut self, now: Instant) {
        match &mut self.next {
            None => self.next = Some(Scheduled { at: now + SAMPLING_INTERVAL, again: false }),
            Some(sample) => sample.again = true,
        }
    }

    /// Whether a sample is to be taken now; it is scheduled again as long as anything runs.
    pub(super) fn take_due(&mut self, is_running: bool, now: Instant) -> bool {
        let Some(taken) = self.next.take_if(|sample| sample.at <= now) else { return false };
        if taken.again || is_running {
            self.activity(now);
        }
        true
    }

    pub(super) fn next_sample(&self) -> Option<Instant> {
        self.next.map(|sample| sample.at)
    }

    /// Reads the memory of all workers on a blocking thread; the result arrives as [`IoEvent::Memory`].
    pub(super) fn sample(workers: &Workers, events: mpsc::Sender<IoEvent>) {
        let pids: Vec<_> = workers.iter().filter_map(|w| Some((w.child, w.pid()?))).collect();
        tokio::spawn(async move {
            let read = move || {
                pids.into_iter().filter_map(|(child, pid)| Some((child, procfs::resident(pid)?))).collect()
            };
            if let Ok(used) = tokio::task::spawn_blocking(read).await {
                // The send fails only when the pool has ended.
                let _ = events.send(IoEvent::Memory(used)).await;
            }
        });
    }

    /// Notes a sample.
    pub(super) fn note(&mut self, used: &[(ChildId, u64)]) {
        self.largest = used.iter().map(|(_, bytes)| *bytes).max().or(self.largest);
    }

    /// Bytes of the largest worker in the last sample.
    pub(super) fn largest(&self) -> Option<u64> {
        self.largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_follow_activity_and_stop_without_it() {
        let (mut sampler, mut now) = (MemorySampler::default(), Instant::now());
        assert_eq!(sampler.next_sample(), None);
        sampler.activity(now);
        assert_eq!(sampler.next_sample(), Some(now + SAMPLING_INTERVAL));
        assert!(!sampler.take_due(true, now));
        sampler.activity(now);
        now += SAMPLING_INTERVAL;
        assert!(sampler.take_due(false, now), "due");
        assert_eq!(sampler.next_sample(), Some(now + SAMPLING_INTERVAL), "a run ended meanwhile");
        now += SAMPLING_INTERVAL;
        assert!(sampler.take_due(true, now) && sampler.next_sample().is_some(), "a job is running");
        now += SAMPLING_INTERVAL;
        assert!(sampler.take_due(false, now) && sampler.next_sample().is_none(), "idle");
    }

    #[test]
    fn largest_worker_is_remembered() {
        let mut sampler = MemorySampler::default();
        sampler.note(&[(ChildId(1), 10), (ChildId(2), 30)]);
        sampler.note(&[]);
        assert_eq!(sampler.largest(), Some(30));
    }
}
