//! Unique keys, their holders and the ends of their holds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::job::{JobId, JobMeta, Timestamp};

/// The unique keys of a channel.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<String, Hold>);

#[derive(Debug)]
struct Hold {
    id: JobId,
    /// End of a timed hold; `None` for the life of the job, or until its start.
    until: Option<Timestamp>,
}

impl Keys {
    /// The holder of a key: a live job, or the job of an unexpired timed hold.
    pub(super) fn holder(&self, key: &str, now: Timestamp, lives: impl Fn(JobId) -> bool) -> Option<JobId> {
        let Hold { id, until } = self.0.get(key)?;
        until.map_or_else(|| lives(*id), |until| now < until).then_some(*id)
    }

    /// Gives a new job its key; the caller has checked that the key is free.
    pub(super) fn take(&mut self, id: JobId, meta: &JobMeta, now: Timestamp) {
        if let Some(key) = &meta.unique {
            let until = meta.unique_for_ms.map(|ms| now.after(Duration::from_millis(ms)));
            self.0.insert(key.clone(), Hold { id, until });
        }
    }

    /// Drops expired timed holds.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.0.retain(|_, hold| hold.until.is_none_or(|until| now < until));
    }

    /// Releases a key held for the life of a job.
    pub(super) fn free(&mut self, id: JobId, key: &str) {
        if self.0.get(key).is_some_and(|hold| hold.id == id && hold.until.is_none()) {
            self.0.remove(key);
        }
    }

    /// Releases the keys held for the life of an ended job.
    pub(super) fn end(&mut self, id: JobId) {
        self.0.retain(|_, hold| hold.id != id || hold.until.is_some());
    }
}
