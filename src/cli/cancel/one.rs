//! Finds a job and has it ended where it is: by the master that holds it, or here when none does.
//!
//! A job moves while it is looked for. Whoever finds it elsewhere than a moment before looks again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::{CancelEnd, Halt, Report, Rest, cancel_at_rest};
use crate::config::Channel;
use crate::job::{FailReason, JobId, Timestamp};
use crate::master::{self, Answer, ControlError, Request};
use crate::store::{State, Store, StoreError};

/// So often a job is looked for that is never where it was.
const LOOKS: u32 = 20;
/// How long a job may be on its way to a master that does not know of it yet.
const PAUSE: Duration = Duration::from_millis(50);
/// When whoever waits is told that it takes long.
const LONG: Duration = Duration::from_secs(2);

/// One job to cancel.
pub(super) struct One {
    pub(super) id: JobId,
    pub(super) channel: Channel,
    pub(super) store: Arc<dyn Store>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// It is cancelled.
    Cancelled {
        /// From where.
        from: From,
        /// Why it is in `failed`: not because it was cancelled if that hit its failed callback.
        reason: FailReason,
    },
    /// It was cancelled before.
    Already,
    /// It was faster: it is done.
    Done,
    /// It has failed, now or before.
    Failed(FailReason),
    /// It was reserved and is gone: done, or cleared.
    Gone,
    /// The store has no such job.
    Unknown,
    /// Somebody else holds it: a master elsewhere, a `queue:run`, or one that is gone.
    Elsewhere {
        /// Whether a master of the channel runs here.
        master: bool,
    },
    /// Too many wait before it to lease it by its id.
    Deep,
    /// The master that holds it did not do it.
    Refused(String),
}

/// Where a cancelled job was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// In waiting.
    Waiting,
    /// In delayed, until then.
    Delayed(Timestamp),
    /// Held by the master of this machine.
    Held {
        /// What it took.
        how: Halt,
        /// Milliseconds until it had ended.
        ms: u64,
    },
}

/// What a look led to.
enum Step {
    End(Fate),
    /// It has moved.
    Again,
    /// It is reserved, and the master here does not hold it.
    Unheld {
        master: bool,
    },
}

impl One {
    /// Cancels it. `patience` is called once, with how its channel stands, if that takes long.
    pub(super) async fn cancel(
        self,
        patience: impl FnOnce(&Report) + Send + 'static,
    ) -> Result<Fate, StoreError> {
        let (mut held, mut deep, mut patience) = (false, false, Some(patience));
        let mut elsewhere = None;
        for _ in 0..LOOKS {
            let Some(job) = self.store.get(self.id).await? else {
                return Ok(if held { Fate::Gone } else { Fate::Unknown });
            };
            let step = match job.state {
                State::Failed => {
                    let reason = job.meta.failed.unwrap_or(FailReason::Malformed);
                    let cancelled = reason == FailReason::Cancelled;
                    Step::End(if cancelled { Fate::Already } else { Fate::Failed(reason) })
                }
                State::Waiting => self.at_rest(From::Waiting, &mut deep).await?,
                State::Delayed => self.at_rest(From::Delayed(job.at), &mut deep).await?,
                State::Reserved => {
                    held = true;
                    self.by_master(&mut patience).await
                }
            };
            match step {
                Step::End(fate) => return Ok(fate),
                Step::Again => {}
                Step::Unheld { master } => elsewhere = Some(Fate::Elsewhere { master }),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(elsewhere
            .unwrap_or(Fate::Refused("it moves faster than it can be looked for; try again".to_owned())))
    }

    async fn at_rest(&self, from: From, missed: &mut bool) -> Result<Step, StoreError> {
        Ok(match cancel_at_rest(&*self.store, self.id).await? {
            Rest::Cancelled(reason) => Step::End(Fate::Cancelled { from, reason }),
            Rest::Failed(_) => Step::Again,
            // Twice at the same place and not to be had: it does not move, it is out of reach.
            Rest::Missed if from == From::Waiting && std::mem::replace(missed, true) => Step::End(Fate::Deep),
            Rest::Missed => Step::Again,
        })
    }

    async fn by_master(&self, patience: &mut Option<impl FnOnce(&Report) + Send + 'static>) -> Step {
        if !master::presence(&self.channel).running {
            return Step::Unheld { master: false };
        }
        let (socket, id) = (master::socket(&self.channel), self.id);
        let (began, mut say) = (Instant::now(), patience.take());
        let asked = tokio::task::spawn_blocking(move || {
            master::ask(&socket, Request::Cancel { id }, |report| {
                if began.elapsed() >= LONG
                    && let Some(say) = say.take()
                {
                    say(report);
                }
            })
        });
        let answer = asked.await.expect("asking does not panic");
        match answer {
            Ok(Answer::Cancel(end)) => match end {
                CancelEnd::Cancelled { how, ms, reason } => {
                    Step::End(Fate::Cancelled { from: From::Held { how, ms }, reason })
                }
                CancelEnd::Done => Step::End(Fate::Done),
                CancelEnd::Failed(reason) => Step::End(Fate::Failed(reason)),
                CancelEnd::Waiting | CancelEnd::Delayed | CancelEnd::Gone => Step::Again,
                CancelEnd::NotHeld => Step::Unheld { master: true },
            },
            Ok(_) => Step::End(Fate::Refused("its master answered something else".to_owned())),
            Err(ControlError::Refused(why)) if master::presence(&self.channel).running => {
                Step::End(Fate::Refused(why))
            }
            // It has stopped meanwhile, or is about to begin anew: what became of the job is in the store.
            Err(_) => Step::Again,
        }
    }
}
