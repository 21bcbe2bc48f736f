//! The commands over many jobs, and what only a test does.

use std::time::Duration;

use super::channel::{Channel, Job, Pause, Spot};
use crate::job::{JobId, MAX_DELAY, Meta, Timestamp};
use crate::store::{Clear, Cleared, State};

impl Channel {
    pub(super) fn requeue(&mut self, now: Timestamp, jobs: &[(JobId, Meta)]) -> u64 {
        let mut moved = 0;
        for (id, meta) in jobs {
            if !matches!(self.jobs.get(id), Some(Job { at: Spot::Failed(_), .. })) {
                continue;
            }
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
            if self.jobs.get(id).is_some_and(|job| job.at.state() != State::Reserved) {
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
            waiting: empty(which.waiting, State::Waiting),
            delayed: empty(which.delayed, State::Delayed),
            failed: empty(which.failed, State::Failed),
            reserved: empty(which.reserved, State::Reserved),
        }
    }

    /// The pause in force.
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

    pub(super) fn garble(&mut self, id: JobId, text: &str) {
        if let Some(job) = self.jobs.get_mut(&id) {
            (job.meta, job.payload) = (text.to_owned(), text.to_owned());
        }
    }

    pub(super) fn lose_record(&mut self, id: JobId) {
        if let Some(Job { at: Spot::Waiting(place), .. }) = self.jobs.remove(&id) {
            self.waiting.remove(place);
        }
    }
}
