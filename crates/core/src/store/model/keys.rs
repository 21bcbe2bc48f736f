//! Unique keys: who holds which, and until when.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::job::{JobId, JobMeta, Timestamp};

/// The unique keys of a channel.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<String, Hold>);

#[derive(Debug)]
struct Hold {
    id: JobId,
    /// `None`: for as long as the job lives, or until it gives the key up.
    until: Option<Timestamp>,
}

impl Keys {
    /// Who holds a key: a job that lives, or the one that took it for a time that is not over.
    pub(super) fn holder(&self, key: &str, now: Timestamp, lives: impl Fn(JobId) -> bool) -> Option<JobId> {
        let Hold { id, until } = self.0.get(key)?;
        until.map_or_else(|| lives(*id), |until| now < until).then_some(*id)
    }

    /// Gives the key of a new job to it; nobody holds it.
    pub(super) fn take(&mut self, id: JobId, meta: &JobMeta, now: Timestamp) {
        if let Some(key) = &meta.unique {
            let until = meta.unique_for_ms.map(|ms| now.after(Duration::from_millis(ms)));
            self.0.insert(key.clone(), Hold { id, until });
        }
    }

    /// Forgets the keys whose time is over.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.0.retain(|_, hold| hold.until.is_none_or(|until| now < until));
    }

    /// Frees a key that a job holds for as long as it lives.
    pub(super) fn free(&mut self, id: JobId, key: &str) {
        if self.0.get(key).is_some_and(|hold| hold.id == id && hold.until.is_none()) {
            self.0.remove(key);
        }
    }

    /// Frees what a job that has ended held for as long as it lived.
    pub(super) fn end(&mut self, id: JobId) {
        self.0.retain(|_, hold| hold.id != id || hold.until.is_some());
    }
}
