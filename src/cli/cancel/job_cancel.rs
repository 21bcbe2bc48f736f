//! Cancels one job: in the store if no master holds it, otherwise through the master that does.
//!
//! A job may change state between the lookup and the cancel. The cancel then finds it in another state and starts over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{CancelMethod, ChannelStatus, HeldCancel, UnheldCancel, cancel_unheld};
use crate::cli::control::{self, MasterState};
use crate::config::Channel;
use crate::control::{ControlError, ControlRequest, ControlResponse};
use crate::job::{FailReason, JobId, Timestamp, error_chain};
use crate::master;
use crate::store::{JobState, Store, StoreError};

/// Most lookups of a job that keeps changing state.
const MAX_LOOKUPS: u32 = 20;
/// Interval between two lookups; a leased job may take this long until its master knows it.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(50);
/// How long a cancel may take before the slow notice is printed.
const SLOW_NOTICE_DELAY: Duration = Duration::from_secs(2);

/// A job to cancel.
pub(super) struct JobCancel {
    pub(super) id: JobId,
    pub(super) channel: Channel,
    pub(super) store: Arc<dyn Store>,
}

/// Result of a cancel.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CancelResult {
    /// The job was cancelled.
    Cancelled {
        /// State of the job before.
        from: CancelledFrom,
        /// Failure reason of the job; the original one when its failed callback was cancelled.
        reason: FailReason,
    },
    /// The job was cancelled earlier.
    AlreadyCancelled,
    /// The job was done first.
    Done,
    /// The job failed first, or earlier.
    Failed(FailReason),
    /// The job was reserved and no longer exists: done, or cleared.
    Gone,
    /// The store has no such job.
    Unknown,
    /// Another owner holds the job: a master on another machine, a `queue:run`, or an owner that died.
    HeldElsewhere {
        /// Whether a master of the channel runs on this machine.
        master: bool,
    },
    /// Too many jobs wait before it to lease it by its id.
    TooDeep,
    /// The master that holds the job did not cancel it, for this reason.
    Refused(String),
}

/// State of a job before it was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CancelledFrom {
    /// Waiting.
    Waiting,
    /// Delayed until this time.
    Delayed(Timestamp),
    /// Held by the master of this machine.
    Held {
        /// How the run was ended.
        how: CancelMethod,
        /// Milliseconds until the run had ended.
        ms: u64,
    },
}

/// Result of one lookup.
enum Step {
    End(CancelResult),
    /// Look the job up again: it has changed state, or another owner holds it, or its master did not respond and may be
    /// stopping or re-executing. With the result if nothing changes until the last lookup.
    Again(Option<CancelResult>),
}

impl JobCancel {
    /// Cancels the job. If that takes long, calls `slow_notice` once with the status of the channel.
    pub(super) async fn cancel(
        self,
        slow_notice: impl FnOnce(&ChannelStatus) + Send + 'static,
    ) -> Result<CancelResult, StoreError> {
        let (mut held, mut deep, mut slow_notice) = (false, false, Some(slow_notice));
        let mut last = None;
        for _ in 0..MAX_LOOKUPS {
            let Some(job) = self.store.get(self.id).await? else {
                return Ok(if held { CancelResult::Gone } else { CancelResult::Unknown });
            };
            let step = match job.state {
                JobState::Failed => Step::End(match job.meta.failed {
                    Some(FailReason::Cancelled) => CancelResult::AlreadyCancelled,
                    reason => CancelResult::Failed(reason.unwrap_or(FailReason::Malformed)),
                }),
                JobState::Waiting => self.at_rest(CancelledFrom::Waiting, &mut deep).await?,
                JobState::Delayed => self.at_rest(CancelledFrom::Delayed(job.at), &mut deep).await?,
                JobState::Reserved => {
                    held = true;
                    self.by_master(&mut slow_notice).await
                }
            };
            match step {
                Step::End(result) => return Ok(result),
                Step::Again(result) => last = result.or(last),
            }
            tokio::time::sleep(LOOKUP_INTERVAL).await;
        }
        Ok(last.unwrap_or(CancelResult::Refused("it keeps changing state; try again".to_owned())))
    }

    async fn at_rest(&self, from: CancelledFrom, missed: &mut bool) -> Result<Step, StoreError> {
        Ok(match cancel_unheld(&*self.store, self.id).await? {
            UnheldCancel::Cancelled(reason) => Step::End(CancelResult::Cancelled { from, reason }),
            UnheldCancel::AlreadyFailed(_) => Step::Again(None),
            // Waiting at two lookups and not leased by either: the job is too far behind others to be leased by its id.
            UnheldCancel::NotLeased if from == CancelledFrom::Waiting && std::mem::replace(missed, true) => {
                Step::End(CancelResult::TooDeep)
            }
            UnheldCancel::NotLeased => Step::Again(None),
        })
    }

    async fn by_master(
        &self,
        slow_notice: &mut Option<impl FnOnce(&ChannelStatus) + Send + 'static>,
    ) -> Step {
        let presence = master::presence(&self.channel);
        if !presence.running && presence.denied.is_none() {
            return Step::Again(Some(CancelResult::HeldElsewhere { master: false }));
        }
        let (channel, request) = (self.channel.clone(), ControlRequest::Cancel { id: self.id });
        let (began, mut say) = (Instant::now(), slow_notice.take());
        let asked = tokio::task::spawn_blocking(move || {
            let progress = |report: &ChannelStatus| {
                if began.elapsed() >= SLOW_NOTICE_DELAY
                    && let Some(say) = say.take()
                {
                    say(report);
                }
            };
            let take = |response| if let ControlResponse::Cancel(end) = response { Some(end) } else { None };
            control::query(&channel, request, progress, take)
        });
        after_request(asked.await.expect("a control request does not panic"))
    }
}

/// The next step after a request to the master on this machine.
fn after_request(master: MasterState<HeldCancel>) -> Step {
    let error = match master {
        MasterState::Responding { answer, .. } => {
            return match answer {
                HeldCancel::Cancelled { how, ms, reason } => {
                    Step::End(CancelResult::Cancelled { from: CancelledFrom::Held { how, ms }, reason })
                }
                HeldCancel::Done => Step::End(CancelResult::Done),
                HeldCancel::Failed(reason) => Step::End(CancelResult::Failed(reason)),
                HeldCancel::Waiting | HeldCancel::Delayed | HeldCancel::Gone => Step::Again(None),
                HeldCancel::NotHeld => Step::Again(Some(CancelResult::HeldElsewhere { master: true })),
            };
        }
        // The master has stopped: the state of the job is in the store.
        MasterState::NotRunning => return Step::Again(None),
        MasterState::Elsewhere(_) => return Step::End(CancelResult::HeldElsewhere { master: false }),
        MasterState::Hidden(denied) => return Step::End(CancelResult::Refused(denied.to_string())),
        MasterState::NotResponding { error, .. } => error,
    };
    match error {
        ControlError::NotListening { .. } | ControlError::Disconnected(_) | ControlError::Refused(_) => {
            Step::Again(Some(CancelResult::Refused(error_chain(&error))))
        }
        ControlError::Unexpected => {
            Step::End(CancelResult::Refused("its master sent an unexpected response".to_owned()))
        }
        // A second request would not help: the master timed out, or does not know the request.
        ControlError::TimedOut(_)
        | ControlError::Undecodable(_)
        | ControlError::UnknownRequest
        | ControlError::Stranger { .. }
        | ControlError::Denied(_)
        | ControlError::Distrusted(_)
        | ControlError::TooLong => Step::End(CancelResult::Refused(error_chain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unanswered(error: ControlError) -> Step {
        after_request(MasterState::NotResponding { pid: Some(42), error })
    }

    #[test]
    fn hung_or_older_master_is_not_retried() {
        for (error, why) in [
            (ControlError::TimedOut(Duration::from_secs(30)), "did not answer within 30 seconds"),
            (ControlError::UnknownRequest, "older than this command"),
        ] {
            let step = unanswered(error);
            assert!(matches!(step, Step::End(CancelResult::Refused(said)) if said.contains(why)), "{why}");
        }
    }

    #[test]
    fn ending_or_reexecuting_master_is_retried() {
        let stopped = ControlError::Refused("the channel has stopped".to_owned());
        let step = unanswered(stopped);
        assert!(matches!(step, Step::Again(Some(CancelResult::Refused(why))) if why.contains("has stopped")));
        assert!(matches!(after_request(MasterState::NotRunning), Step::Again(None)));
    }
}
