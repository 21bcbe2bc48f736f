//! The cancels of held jobs that are under way.
//!
//! Owns: who waits for which job, and how each job was ended. A reply is given when the store has recorded where the
//! job went, never before: a job that is reported as cancelled is failed and does not run again. A job may end before
//! its cancel takes effect; then the reply says how.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::commands::{CancelMethod, HeldCancel};
use crate::job::{FailReason, JobId, Outcome};
use crate::store::{Destination, SettleConflict, Settlement};

/// The jobs that are being cancelled.
#[derive(Debug, Default)]
pub(super) struct Cancellations(HashMap<JobId, Cancellation>);

#[derive(Debug)]
struct Cancellation {
    since: Instant,
    /// How the job was ended and how long that took; `None` until its run has ended.
    ended: Option<(CancelMethod, Duration)>,
    replies: Vec<oneshot::Sender<HeldCancel>>,
}

impl Cancellations {
    /// Adds a sender that waits for the end of a held job.
    pub(super) fn add(&mut self, id: JobId, reply: oneshot::Sender<HeldCancel>, now: Instant) {
        let new = || Cancellation { since: now, ended: None, replies: Vec::new() };
        self.0.entry(id).or_insert_with(new).replies.push(reply);
    }

    /// Records the end of a run.
    pub(super) fn run_ended(&mut self, id: JobId, outcome: &Outcome, now: Instant) {
        if let Outcome::Cancelled { killed } = outcome {
            self.ended(id, if *killed { CancelMethod::Killed } else { CancelMethod::Asked }, now);
        }
    }

    /// Records how a job ended.
    pub(super) fn ended(&mut self, id: JobId, method: CancelMethod, now: Instant) {
        if let Some(cancellation) = self.0.get_mut(&id) {
            cancellation.ended = Some((method, now.saturating_duration_since(cancellation.since)));
        }
    }

    /// Replies for jobs whose settlements the store has recorded, or refused as listed in `conflicts`.
    pub(super) fn settled(&mut self, settlements: &[Settlement], conflicts: &[(JobId, SettleConflict)]) {
        if self.0.is_empty() {
            return;
        }
        for Settlement { id, to, .. } in settlements {
            let Some(cancellation) = self.0.remove(id) else { continue };
            let is_refused = conflicts.iter().any(|(refused, _)| refused == id);
            let result = if is_refused { HeldCancel::Gone } else { result(to, cancellation.ended) };
            cancellation.reply(result);
        }
    }

    /// Replies for all jobs that this master does not hold any more.
    pub(super) fn retain(&mut self, holds: impl Fn(JobId) -> bool) {
        for (_, cancellation) in self.0.extract_if(|id, _| !holds(*id)) {
            cancellation.reply(HeldCancel::Gone);
        }
    }
}

impl Cancellation {
    fn reply(self, result: HeldCancel) {
        for reply in self.replies {
            // The receiver may have stopped waiting.
            let _ = reply.send(result);
        }
    }
}

/// The reply for a job that the store has recorded at `to`.
fn result(to: &Destination, ended: Option<(CancelMethod, Duration)>) -> HeldCancel {
    match (to, ended) {
        (Destination::Done | Destination::Kept(_), _) => HeldCancel::Done,
        (Destination::Front(_) | Destination::Back(_), _) => HeldCancel::Waiting,
        (Destination::Delayed(..), _) => HeldCancel::Delayed,
        (Destination::Failed(meta), ended) => {
            let reason = meta.failed.unwrap_or(FailReason::Cancelled);
            match ended {
                None => HeldCancel::Failed(reason),
                Some((how, took)) => {
                    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    HeldCancel::Cancelled { how, ms, reason }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobMeta;
    use crate::store::OutputChange;

    const ID: JobId = JobId(7);

    fn failed(reason: FailReason) -> Destination {
        Destination::Failed(JobMeta { failed: Some(reason), ..JobMeta::named("x") })
    }

    fn settlement(id: JobId, to: Destination) -> Settlement {
        Settlement { id, unique: None, to, output: OutputChange::Keep }
    }

    #[test]
    fn reply_names_the_destination_and_the_cause() {
        let ended = Some((CancelMethod::Asked, Duration::from_millis(12)));
        let reason = FailReason::Cancelled;
        let cancelled = HeldCancel::Cancelled { how: CancelMethod::Asked, ms: 12, reason };
        assert_eq!(result(&failed(reason), ended), cancelled);
        assert_eq!(result(&failed(FailReason::Final), None), HeldCancel::Failed(FailReason::Final));
        assert_eq!(result(&Destination::Done, None), HeldCancel::Done);
        assert_eq!(result(&Destination::Front(JobMeta::named("x")), None), HeldCancel::Waiting);
        let delayed = Destination::Delayed(Duration::ZERO, JobMeta::named("x"));
        assert_eq!(result(&delayed, None), HeldCancel::Delayed);
    }

    #[test]
    fn all_waiters_are_answered_when_the_store_has_settled() {
        let now = Instant::now();
        let mut cancellations = Cancellations::default();
        let (first, mut one) = oneshot::channel();
        let (second, mut two) = oneshot::channel();
        cancellations.add(ID, first, now);
        cancellations.add(ID, second, now + Duration::from_millis(5));
        let ended = now + Duration::from_millis(30);
        cancellations.run_ended(ID, &Outcome::Cancelled { killed: true }, ended);
        cancellations.settled(&[settlement(JobId(8), Destination::Done)], &[]);
        assert!(one.try_recv().is_err());
        cancellations.settled(&[settlement(ID, failed(FailReason::Cancelled))], &[]);
        let reason = FailReason::Cancelled;
        let expected = HeldCancel::Cancelled { how: CancelMethod::Killed, ms: 30, reason };
        assert_eq!((one.try_recv(), two.try_recv()), (Ok(expected), Ok(expected)));
        assert!(cancellations.0.is_empty());
    }

    #[test]
    fn refused_settlement_and_lost_job_are_gone() {
        let now = Instant::now();
        let mut cancellations = Cancellations::default();
        let (reply, mut refused) = oneshot::channel();
        cancellations.add(ID, reply, now);
        cancellations
            .settled(&[settlement(ID, failed(FailReason::Cancelled))], &[(ID, SettleConflict::Cleared)]);
        assert_eq!(refused.try_recv(), Ok(HeldCancel::Gone));

        let (reply, mut lost) = oneshot::channel();
        let (reply_of_held, mut held) = oneshot::channel();
        cancellations.add(ID, reply, now);
        cancellations.add(JobId(8), reply_of_held, now);
        cancellations.retain(|id| id == JobId(8));
        assert_eq!(lost.try_recv(), Ok(HeldCancel::Gone));
        assert!(held.try_recv().is_err());
    }
}
