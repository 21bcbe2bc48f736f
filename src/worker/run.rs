//! One run inside a worker: start it, catch its panic, cancel it.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::events::{Scope, Scoped};
use super::services::{Service, Work};
use crate::job::{Caught, Context, Failure, JobError, Outcome, Payload, caught};
use crate::wire::RunId;

/// The share of its grace after which an asynchronous handler that does not end by itself is dropped: at the end of the
/// grace the whole worker would be ended or replaced.
const DROP_AFTER: u32 = 3;

/// The end of a run.
pub(super) struct Ended {
    pub(super) run: RunId,
    pub(super) outcome: Outcome,
}

/// What became of a run that was to be started.
pub(super) enum Started {
    /// It ended at once.
    Ended(Outcome),
    /// It is aboard and will report.
    Aboard(Cancel),
}

/// Asks a run to end.
pub(super) struct Cancel {
    ctx: Context,
    /// To be dropped after this long.
    drop: watch::Sender<Option<Duration>>,
}

impl Cancel {
    pub(super) fn cancel(&self, grace: Duration) {
        self.ctx.cancel();
        self.drop.send_replace(Some(grace / DROP_AFTER));
    }
}

type Report = mpsc::UnboundedSender<Ended>;

/// What is to be run.
pub(super) struct Start {
    pub(super) run: RunId,
    pub(super) payload: Payload,
    /// Not the job itself, but its failed callback.
    pub(super) failure: Option<Failure>,
}

pub(super) fn start(service: Option<&Service>, start: Start, ctx: Context, report: &Report) -> Started {
    let Some(service) = service else {
        return Started::Ended(JobError::unknown_job(ctx.job()).into_outcome());
    };
    let Start { run, payload, failure } = start;
    match service.work(payload, &ctx, failure) {
        None => Started::Ended(Outcome::Done),
        Some(Work::Blocking(work)) => {
            let cancel = Cancel { ctx: ctx.clone(), drop: watch::Sender::new(None) };
            let (report, judge) = (report.clone(), service.judge(&ctx));
            let scope = Scope::of(run, &ctx);
            tokio::task::spawn_blocking(move || {
                let outcome = outcome(judge(scope.enter(|| caught(work))));
                let _ = report.send(Ended { run, outcome });
            });
            Started::Aboard(cancel)
        }
        Some(Work::Async { task, may_drop }) => {
            let judge = service.judge(&ctx);
            let scope = Scope::of(run, &ctx);
            let mut task = Scoped { scope, task: Caught(task) };
            // A job that never waits is done here and now, without the cost of a task. Whatever it did
            // register is polled again by the task it becomes.
            let mut unwoken = std::task::Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(ended) = Pin::new(&mut task).poll(&mut unwoken) {
                return Started::Ended(outcome(judge(ended)));
            }
            let cancel = Cancel { ctx, drop: watch::Sender::new(None) };
            let (report, told) = (report.clone(), cancel.drop.subscribe());
            tokio::spawn(async move {
                let ended = tokio::select! {
                    ended = task => ended,
                    () = dropped(told), if may_drop => Err("cancelled: its time was up".into()),
                };
                let _ = report.send(Ended { run, outcome: outcome(judge(ended)) });
            });
            Started::Aboard(cancel)
        }
    }
}

/// Ends a while after the run was cancelled.
async fn dropped(mut told: watch::Receiver<Option<Duration>>) {
    let after = told.wait_for(Option::is_some).await.ok().and_then(|after| *after);
    match after {
        Some(after) => tokio::time::sleep(after).await,
        // The run has ended.
        None => std::future::pending().await,
    }
}

fn outcome(ended: Result<(), JobError>) -> Outcome {
    match ended {
        Ok(()) => Outcome::Done,
        Err(error) => error.into_outcome(),
    }
}
