//! The kept done jobs of the model.

use std::collections::BTreeMap;

use crate::job::{JobId, Timestamp};
use crate::store::{Cursor, KeptJob, KeptLimits, KeptPage, KeptTrim, KeptView, MAX_BATCH, driver_rules};

/// Kept jobs by time and id, and the limits of the last turn that kept one.
#[derive(Debug, Default)]
pub(super) struct KeptJobs {
    jobs: BTreeMap<(Timestamp, JobId), String>,
    limits: Option<KeptLimits>,
}

impl KeptJobs {
    pub(super) fn add(&mut self, id: JobId, now: Timestamp, job: &KeptJob) {
        self.jobs.retain(|(_, of), _| *of != id);
        self.jobs.insert((now, id), job.text().to_owned());
    }

    pub(super) fn limit(&mut self, limits: KeptLimits) {
        self.limits = Some(limits);
    }

    pub(super) fn trim(&mut self, now: Timestamp) -> KeptTrim {
        let mut removed = 0;
        while removed < MAX_BATCH as u64
            && let Some(((at, _), _)) = self.jobs.first_key_value()
            && (self.is_over(now, *at)
                || self.limits.is_some_and(|limits| self.jobs.len() as u64 > limits.count))
        {
            self.jobs.pop_first();
            removed += 1;
        }
        KeptTrim { removed, left: self.jobs.len() as u64 }
    }

    pub(super) fn page(&self, now: Timestamp, after: Option<Cursor>, limit: usize) -> KeptPage {
        let end = after.map_or((Timestamp(u64::MAX), JobId(u64::MAX)), |cursor| {
            (Timestamp(cursor.rank), JobId(cursor.id))
        });
        let newest = self.jobs.range(..end).rev().filter(|((at, _), _)| !self.is_over(now, *at));
        let mut jobs: Vec<_> = newest
            .map(|((at, id), text)| KeptView { id: *id, at: *at, text: text.clone() })
            .take(limit.clamp(1, MAX_BATCH) + 1)
            .collect();
        let more = jobs.len() > limit.clamp(1, MAX_BATCH);
        jobs.truncate(limit.clamp(1, MAX_BATCH));
        let next = jobs.last().filter(|_| more).map(|last| Cursor { rank: last.at.0, id: last.id.0 });
        KeptPage { jobs, next, total: self.jobs.len() as u64 }
    }

    pub(super) fn get(&self, now: Timestamp, id: JobId) -> Option<KeptView> {
        let ((at, _), text) = self.jobs.iter().find(|((_, of), _)| *of == id)?;
        (!self.is_over(now, *at)).then(|| KeptView { id, at: *at, text: text.clone() })
    }

    /// Whether a job that was kept at `at` is too old.
    fn is_over(&self, now: Timestamp, at: Timestamp) -> bool {
        self.limits.is_some_and(|limits| at <= driver_rules::kept_since(limits.age, now))
    }
}
