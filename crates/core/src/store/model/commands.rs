//! Commands on many jobs, and damage done by tests.

use std::time::Duration;

use super::channel::{Channel, Job, JobLocation, Pause};
use crate::job::{JobId, JobMeta, MAX_DELAY, Timestamp};
use crate::store::{Clear, Cleared, JobState};

impl Channel {
    pub(super) fn requeue(&mut self, now: Timestamp, jobs: &[(JobId, JobMeta)]) -> u64 {
        let mut moved = 0;
        for (id, meta) in jobs {
            if !matches!(self.jobs.get(id), Some(Job { at: JobLocation::Failed(_), .. })) {
                continue;
            }
            self.outputs.remove(id);
            self.rewrite(*id, meta);
            self.take_key_again(*id, now);
            self.put_last(*id);
            moved += 1;
        }
        self.wakes += 1;
        moved
    }

    pub(super) fn discard(&mut self, ids: &[JobId]) -> u64 {
        let mut removed = 0;
        for id in ids {
            if self.jobs.get(id).is_some_and(|job| job.at.state() != JobState::Reserved) {
                self.remove(*id);
                removed += 1;
            }
        }
        self.cleared += removed;
        removed
    }

    pub(super) fn clear(&mut self, which: Clear) -> Cleared {
        let mut empty = |yes: bool, state| {
            let ids = if yes { self.of(state) } else { Vec::new() };
            for (_, id) in &ids {
                self.remove(*id);
            }
            self.cleared += ids.len() as u64;
            ids.len() as u64
        };
        Cleared {
            waiting: empty(which.waiting, JobState::Waiting),
            delayed: empty(which.delayed, JobState::Delayed),
            failed: empty(which.failed, JobState::Failed),
            reserved: empty(which.reserved, JobState::Reserved),
        }
    }

    /// The current pause.
    pub(super) fn pause(&self, now: Timestamp) -> Option<Pause> {
        self.pause.filter(|pause| pause.until.is_none_or(|until| now < until))
    }

    pub(super) fn set_pause(&mut self, now: Timestamp, time: Option<Duration>) -> Option<Timestamp> {
        let until = time.map(|time| now.after(time.min(MAX_DELAY)));
        self.pause = Some(Pause { until });
        self.wakes += 1;
        until
    }

    pub(super) fn resume(&mut self, now: Timestamp) -> bool {
        let was = self.pause(now).is_some();
        self.pause = None;
        self.wakes += 1;
        was
    }

    pub(super) fn corrupt_record(&mut self, id: JobId, text: &str) {
        if let Some(job) = self.jobs.get_mut(&id) {
            (job.meta, job.payload) = (text.to_owned(), text.to_owned());
        }
    }

    pub(super) fn delete_record(&mut self, id: JobId) {
        if let Some(Job { at: JobLocation::Waiting(place), .. }) = self.jobs.remove(&id) {
            self.waiting.remove(place);
        }
    }
}
