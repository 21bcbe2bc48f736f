//! Finds a job and has it ended where it is: by the master that holds it, or here when none does.
//!
//! A job moves while it is looked for. Whoever finds it elsewhere than a moment before looks again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{CancelMethod, ChannelStatus, HeldCancel, UnheldCancel, cancel_unheld};
use crate::config::Channel;
use crate::job::{FailReason, JobId, Timestamp, error_chain};
use crate::master::{self, ControlError, ControlRequest, ControlResponse};
use crate::store::{JobState, Store, StoreError};

/// So often a job is looked for that is never where it was.
const MAX_LOOKUPS: u32 = 20;
/// How long a job may be on its way to a master that does not know of it yet.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(50);
/// When whoever waits is told that it takes long.
const SLOW_NOTICE_DELAY: Duration = Duration::from_secs(2);

/// One job to cancel.
pub(super) struct JobCancel {
    pub(super) id: JobId,
    pub(super) channel: Channel,
    pub(super) store: Arc<dyn Store>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CancelResult {
    /// It is cancelled.
    Cancelled {
        /// From where.
        from: CancelledFrom,
        /// Why it is in `failed`: not because it was cancelled if that hit its failed callback.
        reason: FailReason,
    },
    /// It was cancelled before.
    AlreadyCancelled,
    /// It was faster: it is done.
    Done,
    /// It has failed, now or before.
    Failed(FailReason),
    /// It was reserved and is gone: done, or cleared.
    Gone,
    /// The store has no such job.
    Unknown,
    /// Somebody else holds it: a master elsewhere, a `queue:run`, or one that is gone.
    HeldElsewhere {
        /// Whether a master of the channel runs here.
        master: bool,
    },
    /// Too many wait before it to lease it by its id.
    TooDeep,
    /// The master that holds it did not do it.
    Refused(String),
}

/// Where a cancelled job was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CancelledFrom {
    /// In waiting.
    Waiting,
    /// In delayed, until then.
    Delayed(Timestamp),
    /// Held by the master of this machine.
    Held {
        /// What it took.
        how: CancelMethod,
        /// Milliseconds until it had ended.
        ms: u64,
    },
}

/// What a look led to.
enum Step {
    End(CancelResult),
    /// It has moved.
    Again,
    /// It is reserved, and the master here does not hold it.
    Unheld {
        master: bool,
    },
    /// The master here is about to end or to begin anew, as it seems: why it did not answer.
    Unanswered(String),
}

impl JobCancel {
    /// Cancels it. `slow_notice` is called once, with how its channel stands, if that takes long.
    pub(super) async fn cancel(
        self,
        slow_notice: impl FnOnce(&ChannelStatus) + Send + 'static,
    ) -> Result<CancelResult, StoreError> {
        let (mut held, mut deep, mut slow_notice) = (false, false, Some(slow_notice));
        let mut elsewhere = None;
        for _ in 0..MAX_LOOKUPS {
            let Some(job) = self.store.get(self.id).await? else {
                return Ok(if held { CancelResult::Gone } else { CancelResult::Unknown });
            };
            let step = match job.state {
                JobState::Failed => {
                    let reason = job.meta.failed.unwrap_or(FailReason::Malformed);
                    let cancelled = reason == FailReason::Cancelled;
                    Step::End(if cancelled {
                        CancelResult::AlreadyCancelled
                    } else {
                        CancelResult::Failed(reason)
                    })
                }
                JobState::Waiting => self.at_rest(CancelledFrom::Waiting, &mut deep).await?,
                JobState::Delayed => self.at_rest(CancelledFrom::Delayed(job.at), &mut deep).await?,
                JobState::Reserved => {
                    held = true;
                    self.by_master(&mut slow_notice).await
                }
            };
            match step {
                Step::End(result) => return Ok(result),
                Step::Again => {}
                Step::Unheld { master } => elsewhere = Some(CancelResult::HeldElsewhere { master }),
                Step::Unanswered(why) => elsewhere = Some(CancelResult::Refused(why)),
            }
            tokio::time::sleep(LOOKUP_INTERVAL).await;
        }
        Ok(elsewhere.unwrap_or(CancelResult::Refused(
            "it moves faster than it can be looked for; try again".to_owned(),
        )))
    }

    async fn at_rest(&self, from: CancelledFrom, missed: &mut bool) -> Result<Step, StoreError> {
        Ok(match cancel_unheld(&*self.store, self.id).await? {
            UnheldCancel::Cancelled(reason) => Step::End(CancelResult::Cancelled { from, reason }),
            UnheldCancel::AlreadyFailed(_) => Step::Again,
            // Twice at the same place and not to be had: it does not move, it is out of reach.
            UnheldCancel::NotLeased if from == CancelledFrom::Waiting && std::mem::replace(missed, true) => {
                Step::End(CancelResult::TooDeep)
            }
            UnheldCancel::NotLeased => Step::Again,
        })
    }

    async fn by_master(
        &self,
        slow_notice: &mut Option<impl FnOnce(&ChannelStatus) + Send + 'static>,
    ) -> Step {
        if !master::presence(&self.channel).running {
            return Step::Unheld { master: false };
        }
        let (socket, id) = (master::socket_path(&self.channel), self.id);
        let (began, mut say) = (Instant::now(), slow_notice.take());
        let asked = tokio::task::spawn_blocking(move || {
            master::send_request(&socket, ControlRequest::Cancel { id }, |report| {
                if began.elapsed() >= SLOW_NOTICE_DELAY
                    && let Some(say) = say.take()
                {
                    say(report);
                }
            })
        });
        let answer = asked.await.expect("asking does not panic");
        match answer {
            Ok(ControlResponse::Cancel(end)) => match end {
                HeldCancel::Cancelled { how, ms, reason } => {
                    Step::End(CancelResult::Cancelled { from: CancelledFrom::Held { how, ms }, reason })
                }
                HeldCancel::Done => Step::End(CancelResult::Done),
                HeldCancel::Failed(reason) => Step::End(CancelResult::Failed(reason)),
                HeldCancel::Waiting | HeldCancel::Delayed | HeldCancel::Gone => Step::Again,
                HeldCancel::NotHeld => Step::Unheld { master: true },
            },
            Ok(_) => Step::End(CancelResult::Refused("its master answered something else".to_owned())),
            Err(error) => unanswered(&error, master::presence(&self.channel).running),
        }
    }
}

/// What follows when a master did not do what it was asked; `running`: it still is there.
fn unanswered(error: &ControlError, running: bool) -> Step {
    match error {
        // It has stopped meanwhile: what became of the job is in the store.
        _ if !running => Step::Again,
        ControlError::NotListening { .. } | ControlError::Disconnected(_) | ControlError::Refused(_) => {
            Step::Unanswered(error_chain(error))
        }
        // It has taken its time, or will never understand: asked again it would be no better.
        ControlError::TimedOut(_) | ControlError::Undecodable(_) | ControlError::UnknownRequest => {
            Step::End(CancelResult::Refused(error_chain(error)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hung_or_older_master_is_not_retried() {
        for (error, why) in [
            (ControlError::TimedOut(Duration::from_secs(30)), "did not answer within 30 seconds"),
            (ControlError::UnknownRequest, "older than this command"),
        ] {
            let step = unanswered(&error, true);
            assert!(matches!(step, Step::End(CancelResult::Refused(said)) if said.contains(why)), "{error}");
        }
    }

    #[test]
    fn ending_or_reexecuting_master_is_retried() {
        let stopped = ControlError::Refused("the channel has stopped".to_owned());
        assert!(matches!(unanswered(&stopped, true), Step::Unanswered(why) if why.contains("has stopped")));
        assert!(matches!(unanswered(&stopped, false), Step::Again));
        assert!(matches!(unanswered(&ControlError::UnknownRequest, false), Step::Again));
    }
}
