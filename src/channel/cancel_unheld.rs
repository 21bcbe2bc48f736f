//! Cancels a job that no master holds: leases the job under an owner of its own and settles it to `failed`.

use std::time::Duration;

use crate::job::{FailReason, JobId, JobMeta};
use crate::retry::Policy;
use crate::store::{
    Destination, Leased, MAX_BATCH_BYTES, OutputChange, Owner, Settlement, Store, StoreError, Turn, TurnReply,
};

/// Number of times that the settlement is sent before the cancel gives up.
const MAX_SETTLE_TRIES: u64 = 4;
/// Pause between two of them.
const SETTLE_RETRY_DELAY: Duration = Duration::from_millis(200);

/// Result of the cancel of a job that is waiting or delayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnheldCancel {
    /// The job is failed, for this reason: another reason than the cancel if only its failed callback was left to run.
    Cancelled(FailReason),
    /// The job had failed before.
    AlreadyFailed(FailReason),
    /// The job could not be leased: another owner took it, or too many jobs are waiting before it.
    NotLeased,
}

/// Cancels a job that is waiting or delayed.
///
/// # Errors
/// An error of the store. A lease that could not be returned expires, and the job is as it was.
pub async fn cancel_unheld(store: &dyn Store, id: JobId) -> Result<UnheldCancel, StoreError> {
    let owner = store.join().await?;
    let result = settle(store, &owner, id).await;
    // A job that was leased and not settled is waiting again, uncounted.
    let left = store.leave(&owner).await;
    let result = result?;
    left.map(|_| result)
}

async fn settle(store: &dyn Store, owner: &Owner, id: JobId) -> Result<UnheldCancel, StoreError> {
    // The store's clock dates the error in the record of the job.
    let now = turn(store, owner, 1, &[]).await?.now;
    let (result, unique, to) = match store.take(owner, 2, id).await? {
        None => return Ok(UnheldCancel::NotLeased),
        Some(Leased::Malformed { why, .. }) => (
            UnheldCancel::AlreadyFailed(FailReason::Malformed),
            None,
            Destination::Failed(JobMeta::malformed(now, &why)),
        ),
        Some(Leased::Job(record)) => {
            let unique = record.meta.unique.clone();
            match record.meta.failed {
                // The job failed after the caller read its state: it stays as it is.
                Some(reason) => {
                    (UnheldCancel::AlreadyFailed(reason), unique, Destination::Failed(record.meta))
                }
                None => {
                    let to = Policy::cancel(record.meta, now);
                    let Destination::Failed(meta) = &to else {
                        unreachable!("a cancelled job goes to failed")
                    };
                    (UnheldCancel::Cancelled(meta.failed.unwrap_or(FailReason::Cancelled)), unique, to)
                }
            }
        }
    };
    let settlement = Settlement { id, unique, to, output: OutputChange::Keep };
    let held = settle_until_confirmed(store, owner, settlement).await?;
    Ok(if held { result } else { UnheldCancel::NotLeased })
}

/// Settles the job; returns whether this owner held it. A delayed job that is returned instead would run before its
/// time, so an error is worth another try.
pub(super) async fn settle_until_confirmed(
    store: &dyn Store,
    owner: &Owner,
    settlement: Settlement,
) -> Result<bool, StoreError> {
    let mut seq = 3;
    loop {
        match turn(store, owner, seq, std::slice::from_ref(&settlement)).await {
            Ok(reply) => return Ok(reply.conflicts.is_empty()),
            Err(error) if seq > MAX_SETTLE_TRIES * 2 => return Err(error),
            Err(_) => tokio::time::sleep(SETTLE_RETRY_DELAY).await,
        }
        // The settlement is sent again only when the store has not recorded it.
        match store.held(owner, seq + 1).await {
            Ok(held) if !held.contains(&settlement.id) => return Ok(true),
            Ok(_) | Err(StoreError::Unavailable { .. }) => {}
            Err(error) => return Err(error),
        }
        seq += 2;
    }
}

async fn turn(
    store: &dyn Store,
    owner: &Owner,
    seq: u64,
    settlements: &[Settlement],
) -> Result<TurnReply, StoreError> {
    let turn = Turn {
        owner,
        seq,
        settlements,
        releases: &[],
        want: 0,
        max_bytes: MAX_BATCH_BYTES,
        overdue: None,
        publish: None,
    };
    store.turn(turn).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{NewJob, Payload, Start, Timestamp};
    use crate::store::JobState;
    use crate::store::model::Model;

    fn job(start: Start, unique: Option<&str>) -> NewJob {
        let mut job = NewJob::new("x", Payload::parse("{}").unwrap());
        (job.start, job.meta.unique) = (start, unique.map(str::to_owned));
        job
    }

    async fn pushed(store: &dyn Store, job: NewJob) -> JobId {
        store.push(&[job]).await.unwrap()[0].id()
    }

    #[tokio::test]
    async fn unheld_jobs_are_cancelled_and_keys_freed() {
        let store = Model::ticking(Timestamp(1_790_000_000_000_000));
        store.pause(None).await.unwrap();
        for start in [Start::Now, Start::After(Duration::from_secs(60))] {
            let id = pushed(&store, job(start, Some("k"))).await;
            assert_eq!(
                cancel_unheld(&store, id).await.unwrap(),
                UnheldCancel::Cancelled(FailReason::Cancelled)
            );
            let listed = store.get(id).await.unwrap().unwrap();
            assert_eq!((listed.state, listed.meta.failed), (JobState::Failed, Some(FailReason::Cancelled)));
            assert_eq!((listed.meta.attempts, listed.meta.last_error()), (0, "cancelled before its start"));
            assert_ne!(pushed(&store, job(Start::After(Duration::from_secs(9)), Some("k"))).await, id);
            store.clear(crate::store::Clear { delayed: true, ..Default::default() }).await.unwrap();
        }
        assert_eq!(store.status().await.unwrap().reserved, 0);
    }

    #[tokio::test]
    async fn held_jobs_are_missed_and_failed_ones_unchanged() {
        let store = Model::ticking(Timestamp(1_790_000_000_000_000));
        assert_eq!(cancel_unheld(&store, JobId(5)).await.unwrap(), UnheldCancel::NotLeased);
        let id = pushed(&store, job(Start::Now, None)).await;
        cancel_unheld(&store, id).await.unwrap();
        let before = store.get(id).await.unwrap().unwrap().meta;
        assert_eq!(
            cancel_unheld(&store, id).await.unwrap(),
            UnheldCancel::AlreadyFailed(FailReason::Cancelled)
        );
        assert_eq!(store.get(id).await.unwrap().unwrap().meta, before);

        let held = pushed(&store, job(Start::Now, None)).await;
        let owner = store.join().await.unwrap();
        store.take(&owner, 1, held).await.unwrap().unwrap();
        assert_eq!(cancel_unheld(&store, held).await.unwrap(), UnheldCancel::NotLeased);
        assert_eq!(store.get(held).await.unwrap().unwrap().state, JobState::Reserved);
    }
}
