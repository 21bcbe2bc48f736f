//! Moves a delayed job to the front of waiting before it is due: leases the job under an owner of its own and returns it.

use super::cancel_unheld::settle_until_confirmed;
use crate::job::JobId;
use crate::store::{Destination, JobState, Leased, OutputChange, Owner, Settlement, Store, StoreError};

/// Moves a job that is delayed to the front of waiting; its attempts stay as they are. Returns false for a job in another state.
///
/// # Errors
/// An error of the store. A lease that could not be returned expires, and the job waits then.
pub async fn run_now(store: &dyn Store, id: JobId) -> Result<bool, StoreError> {
    let owner = store.join().await?;
    let moved = lease(store, &owner, id).await;
    // The end of its owner returns the job to the front of waiting, uncounted.
    let left = store.leave(&owner).await;
    let moved = moved?;
    left.map(|_| moved)
}

/// Leases the job. A job that has failed meanwhile stays failed.
async fn lease(store: &dyn Store, owner: &Owner, id: JobId) -> Result<bool, StoreError> {
    let is_delayed = store.get(id).await?.is_some_and(|job| job.state == JobState::Delayed);
    if !is_delayed {
        return Ok(false);
    }
    match store.take(owner, 1, id).await? {
        None => Ok(false),
        Some(Leased::Job(record)) if record.meta.failed.is_some() => {
            let unique = record.meta.unique.clone();
            let to = Destination::Failed(record.meta);
            let settlement = Settlement { id, unique, to, output: OutputChange::Keep };
            settle_until_confirmed(store, owner, settlement).await?;
            Ok(false)
        }
        Some(Leased::Job(_) | Leased::Malformed { .. }) => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::cancel_unheld;
    use crate::job::{NewJob, Payload, Start, Timestamp};
    use crate::store::model::Model;

    #[tokio::test]
    async fn delayed_job_waits_in_front_and_others_stay() {
        let store = Model::ticking(Timestamp(1_790_000_000_000_000));
        let push = async |start| {
            let mut job = NewJob::new("x", Payload::parse("{}").unwrap());
            job.start = start;
            store.push(&[job]).await.unwrap()[0].id()
        };
        let first = push(Start::Now).await;
        let delayed = push(Start::After(Duration::from_secs(600))).await;
        assert!(run_now(&store, delayed).await.unwrap());
        let waiting = store.list(JobState::Waiting, None, 9).await.unwrap().jobs;
        assert_eq!(waiting.iter().map(|job| job.id).collect::<Vec<_>>(), [delayed, first]);
        assert_eq!((waiting[0].meta.attempts, waiting[0].meta.lost), (0, 0));
        assert!(!run_now(&store, first).await.unwrap(), "a waiting job keeps its place");
        cancel_unheld(&store, first).await.unwrap();
        assert!(!run_now(&store, first).await.unwrap());
        assert_eq!(store.get(first).await.unwrap().unwrap().state, JobState::Failed);
        assert_eq!(store.status().await.unwrap().reserved, 0);
    }
}
