//! Commands on many failed jobs, made of the store's bounded batches: resumable, with exact counts.

use super::{JobState, MAX_BATCH, Store, StoreError};
use crate::job::JobId;

/// Selects failed jobs.
#[derive(Clone, Debug, Default)]
pub struct FailedJobFilter {
    /// Only these ids; all when empty.
    pub ids: Vec<JobId>,
    /// Only jobs of this name.
    pub job: Option<String>,
}

impl FailedJobFilter {
    fn admits(&self, id: JobId, job: &str) -> bool {
        (self.ids.is_empty() || self.ids.contains(&id)) && self.job.as_deref().is_none_or(|j| j == job)
    }
}

/// Gives failed jobs a new set of attempts and moves them to the back of waiting. Returns the number of moved jobs.
///
/// Jobs that fail again during the call are not moved twice, so the call ends even when every job fails at once.
///
/// # Errors
/// The store's error; jobs moved before it stay moved.
pub async fn reload_failed(store: &dyn Store, filter: &FailedJobFilter) -> Result<u64, StoreError> {
    let mut moved = 0;
    for_each_failed(store, filter, async |batch| {
        let jobs: Vec<_> = batch.iter().map(|job| (job.id, job.meta.clone().reloaded())).collect();
        moved += store.requeue(&jobs).await?;
        Ok(())
    })
    .await?;
    Ok(moved)
}

/// Removes failed jobs permanently. Returns the number of removed jobs.
///
/// # Errors
/// The store's error; jobs removed before it stay removed.
pub async fn remove(store: &dyn Store, filter: &FailedJobFilter) -> Result<u64, StoreError> {
    let mut removed = 0;
    for_each_failed(store, filter, async |batch| {
        let ids: Vec<_> = batch.iter().map(|job| job.id).collect();
        removed += store.discard(&ids).await?;
        Ok(())
    })
    .await?;
    Ok(removed)
}

/// Passes all currently failed jobs that match the filter to `apply`, in batches.
async fn for_each_failed(
    store: &dyn Store,
    filter: &FailedJobFilter,
    mut apply: impl AsyncFnMut(&[super::JobView]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if !filter.ids.is_empty() {
        for ids in filter.ids.chunks(MAX_BATCH) {
            let mut batch = Vec::new();
            for id in ids {
                let found = store.get(*id).await?;
                batch.extend(
                    found.filter(|j| j.state == JobState::Failed && filter.admits(j.id, &j.meta.job)),
                );
            }
            apply(&batch).await?;
        }
        return Ok(());
    }
    // Pages run from newer to older failures, starting at the first page: a job that fails again during the walk lands
    // before that start and is not moved twice.
    let mut after = None;
    loop {
        let page = store.list(JobState::Failed, after, MAX_BATCH).await?;
        let batch: Vec<_> = page.jobs.into_iter().filter(|j| filter.admits(j.id, &j.meta.job)).collect();
        apply(&batch).await?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
