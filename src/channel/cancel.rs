//! Jobs that somebody cancels, and whoever waits to hear what became of them.
//!
//! An answer is given when the store has acknowledged where the job went, never before: what is answered as cancelled
//! rests in `failed` and is not run again. A job may be faster than its cancel; then the answer says how it ended.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::info;

use super::Channel;
use crate::job::{FailReason, JobId, Outcome};
use crate::retry::Policy;
use crate::store::{Destination, SettleConflict, Settlement};

/// What became of a job that was to be cancelled, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldCancel {
    /// It was ended and rests in `failed`.
    Cancelled {
        /// What that took.
        how: CancelMethod,
        /// Milliseconds until it had ended.
        ms: u64,
        /// Why it is in `failed`: not because it was cancelled if that hit its failed callback.
        reason: FailReason,
    },
    /// It was faster: it is done.
    Done,
    /// It was faster: it has failed for good.
    Failed(FailReason),
    /// Its run had ended before, and it waits for another.
    Waiting,
    /// Its run had ended before, and it waits until another is due.
    Delayed,
    /// It was taken from this master meanwhile: cleared, or with the lease.
    Gone,
    /// This master does not hold it.
    NotHeld,
}

/// What it took to end a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelMethod {
    /// Nothing: it had not begun.
    NotBegun,
    /// It ended when it was asked to.
    Asked,
    /// Its worker was killed.
    Killed,
}

/// The jobs that are being cancelled.
#[derive(Debug, Default)]
pub(super) struct Cancellations(HashMap<JobId, Cancellation>);

#[derive(Debug)]
struct Cancellation {
    since: Instant,
    method: Option<(CancelMethod, Duration)>,
    /// Who wants to know.
    replies: Vec<oneshot::Sender<HeldCancel>>,
}

impl Cancellations {
    /// Somebody wants to know what becomes of a job that is held.
    fn add_waiter(&mut self, id: JobId, reply: oneshot::Sender<HeldCancel>) {
        let fresh = || Cancellation { since: Instant::now(), method: None, replies: Vec::new() };
        self.0.entry(id).or_insert_with(fresh).replies.push(reply);
    }

    /// A run of a job has ended.
    pub(super) fn ended(&mut self, id: JobId, outcome: &Outcome) {
        if let Outcome::Cancelled { killed } = outcome {
            self.method_known(id, if *killed { CancelMethod::Killed } else { CancelMethod::Asked });
        }
    }

    fn method_known(&mut self, id: JobId, how: CancelMethod) {
        if let Some(cancellation) = self.0.get_mut(&id) {
            cancellation.method = Some((how, cancellation.since.elapsed()));
        }
    }

    /// The store has heard these settlements, and these of them did not hold.
    pub(super) fn settled(&mut self, settlements: &[Settlement], conflicts: &[(JobId, SettleConflict)]) {
        if self.0.is_empty() {
            return;
        }
        for Settlement { id, to, .. } in settlements {
            let Some(cancellation) = self.0.remove(id) else { continue };
            let end = match conflicts.iter().any(|(exception, _)| exception == id) {
                true => HeldCancel::Gone,
                false => end(to, cancellation.method),
            };
            cancellation.answer(end);
        }
    }

    /// Some jobs were taken from this master: whoever waits for one of those need not wait any more.
    pub(super) fn keep_only(&mut self, held: impl Fn(JobId) -> bool) {
        for (_, cancellation) in self.0.extract_if(|id, _| !held(*id)) {
            cancellation.answer(HeldCancel::Gone);
        }
    }
}

impl Cancellation {
    fn answer(self, end: HeldCancel) {
        for reply in self.replies {
            // Whoever asked may have gone.
            let _ = reply.send(end);
        }
    }
}

/// What to answer about a job that the store has put there.
fn end(to: &Destination, method: Option<(CancelMethod, Duration)>) -> HeldCancel {
    match (to, method) {
        (Destination::Done, _) => HeldCancel::Done,
        (Destination::Front(_) | Destination::Back(_), _) => HeldCancel::Waiting,
        (Destination::Delayed(..), _) => HeldCancel::Delayed,
        (Destination::Failed(meta), method) => {
            let reason = meta.failed.unwrap_or(FailReason::Cancelled);
            match method {
                None => HeldCancel::Failed(reason),
                Some((how, took)) => {
                    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    HeldCancel::Cancelled { how, ms, reason }
                }
            }
        }
    }
}

impl Channel {
    /// Ends a job that is held. `reply` hears what became of it once the store knows.
    pub(super) fn cancel(&mut self, id: JobId, reply: oneshot::Sender<HeldCancel>) {
        if !self.held_jobs.holds(id) {
            let _ = reply.send(HeldCancel::NotHeld);
            return;
        }
        self.cancellations.add_waiter(id, reply);
        if let Some(meta) = self.held_jobs.take_one_ready(id) {
            info!(channel = %self.name, job = id.0, name = %meta.job, "a job is cancelled before it has begun");
            self.cancellations.method_known(id, CancelMethod::NotBegun);
            let unique = meta.unique.clone();
            let to = Policy::cancel(meta, self.now());
            self.held_jobs.settle(Settlement { id, unique, to });
        } else if let Some(run) = self.held_jobs.run(id) {
            info!(channel = %self.name, job = id.0, "a job is cancelled: its run is asked to end");
            self.pool.cancel(run, tokio::time::Instant::now());
        }
        // Else its run has ended, and only the store does not know yet.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobMeta;

    const ID: JobId = JobId(7);

    fn failed(reason: FailReason) -> Destination {
        Destination::Failed(JobMeta { failed: Some(reason), ..JobMeta::named("x") })
    }

    fn settlement(id: JobId, to: Destination) -> Settlement {
        Settlement { id, unique: None, to }
    }

    #[test]
    fn cancel_response_is_the_jobs_destination() {
        let method = Some((CancelMethod::Asked, Duration::from_millis(12)));
        let reason = FailReason::Cancelled;
        assert_eq!(
            end(&failed(reason), method),
            HeldCancel::Cancelled { how: CancelMethod::Asked, ms: 12, reason }
        );
        assert_eq!(end(&failed(FailReason::Final), None), HeldCancel::Failed(FailReason::Final));
        assert_eq!(end(&Destination::Done, None), HeldCancel::Done);
        assert_eq!(end(&Destination::Front(JobMeta::named("x")), None), HeldCancel::Waiting);
        assert_eq!(
            end(&Destination::Delayed(Duration::ZERO, JobMeta::named("x")), None),
            HeldCancel::Delayed
        );
    }

    #[test]
    fn cancel_waiters_are_answered_after_settlement() {
        let mut cancels = Cancellations::default();
        let (first, mut one) = oneshot::channel();
        let (second, mut two) = oneshot::channel();
        cancels.add_waiter(ID, first);
        cancels.add_waiter(ID, second);
        cancels.ended(ID, &Outcome::Cancelled { killed: true });
        cancels.settled(&[settlement(JobId(8), Destination::Done)], &[]);
        assert!(one.try_recv().is_err());
        cancels.settled(&[settlement(ID, failed(FailReason::Cancelled))], &[]);
        for answer in [one.try_recv(), two.try_recv()] {
            assert!(
                matches!(answer, Ok(HeldCancel::Cancelled { how: CancelMethod::Killed, .. })),
                "{answer:?}"
            );
        }
        assert!(cancels.0.is_empty());
    }

    #[test]
    fn void_settlement_and_lost_lease_report_missing() {
        let mut cancels = Cancellations::default();
        let (reply, mut stale) = oneshot::channel();
        cancels.add_waiter(ID, reply);
        cancels.settled(&[settlement(ID, failed(FailReason::Cancelled))], &[(ID, SettleConflict::Cleared)]);
        assert_eq!(stale.try_recv(), Ok(HeldCancel::Gone));

        let (reply, mut lost) = oneshot::channel();
        let (reply_of_held, mut held) = oneshot::channel();
        cancels.add_waiter(ID, reply);
        cancels.add_waiter(JobId(8), reply_of_held);
        cancels.keep_only(|id| id == JobId(8));
        assert_eq!(lost.try_recv(), Ok(HeldCancel::Gone));
        assert!(held.try_recv().is_err());
    }
}
