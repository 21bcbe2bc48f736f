//! The place of a waiting job, from its store.

use super::facts::QueuePosition;
use crate::job::JobId;
use crate::store::{JobState, MAX_BATCH, Store, StoreError};

/// Number of jobs leased before this one, as far as one page of the list shows.
pub(crate) async fn queue_position(
    store: &dyn Store,
    id: JobId,
) -> Result<Option<QueuePosition>, StoreError> {
    let page = store.list(JobState::Waiting, None, MAX_BATCH).await?;
    let index = page.jobs.iter().position(|job| job.id == id);
    Ok(match (index, page.next) {
        (Some(index), _) => Some(QueuePosition::Exact(index as u64)),
        (None, Some(_)) => Some(QueuePosition::AtLeast(page.jobs.len() as u64)),
        // The job is no longer waiting.
        (None, None) => None,
    })
}
