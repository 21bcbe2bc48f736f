//! Requests of a run in this process, and their responses.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RunnerSetup;
use crate::job::{JobId, JobRequest, Outcome, Response, RunHost, Timestamp};
use crate::limits::{BreakerSettings, Breakers, ClaimRoute, HeldLimits, claim_response};
use crate::log_macros::{debug, error, info, warn};
use crate::mutex::lock;
use crate::store::{self, ClaimKind, KeyRelease, Owner};

/// Requests and held limits of one run.
pub(super) struct RunRequests {
    setup: RunnerSetup,
    owner: Owner,
    id: JobId,
    run: u64,
    /// The store's time, and the time at which it was read.
    clock: (Timestamp, Instant),
    /// Spawns requests; handlers may send them from threads outside the runtime.
    runtime: Handle,
    state: Mutex<RunState>,
}

#[derive(Default)]
struct RunState {
    /// The run is over: no further claim is granted.
    ended: bool,
    held: HeldLimits,
    /// Requests without a response yet.
    pending: Vec<JoinHandle<()>>,
}

impl RunRequests {
    pub(super) fn new(
        setup: RunnerSetup,
        owner: Owner,
        id: JobId,
        run: u64,
        clock: (Timestamp, Instant),
    ) -> Arc<Self> {
        let (runtime, state) = (Handle::current(), Mutex::default());
        Arc::new(Self { setup, owner, id, run, clock, runtime, state })
    }

    /// Ends the run: waits for pending requests, and returns the keys to release.
    pub(super) async fn end(&self, outcome: &Outcome) -> Vec<KeyRelease> {
        let pending = {
            let mut state = self.state();
            state.ended = true;
            std::mem::take(&mut state.pending)
        };
        for task in pending {
            // A panicked request has no receiver to inform.
            let _ = task.await;
        }
        let held = std::mem::take(&mut self.state().held);
        held.release(&mut self.breakers(), self.run, Some(outcome), self.now())
    }

    fn spawn(
        &self,
        response: oneshot::Sender<Response>,
        request: impl Future<Output = Response> + Send + 'static,
    ) {
        let mut state = self.state();
        if state.ended {
            // Dropping the sender tells the handler that no response will come.
            return;
        }
        let task = self.runtime.spawn(async move {
            // The handler may have dropped the pending response.
            let _ = response.send(request.await);
        });
        state.pending.push(task);
    }

    fn state(&self) -> MutexGuard<'_, RunState> {
        lock(&self.state)
    }

    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        lock(&self.setup.handlers.breakers)
    }

    fn now(&self) -> Instant {
        self.setup.handlers.instant(self.clock.0.after(self.clock.1.elapsed()))
    }

    fn claim_breaker(&self, key: String, settings: BreakerSettings) -> Response {
        let mut state = self.state();
        if state.ended {
            return Response::Error("the run has ended".to_owned());
        }
        state.held.claim_breaker(&mut self.breakers(), self.run, key, settings, self.now())
    }

    async fn claim(&self, key: String, kind: ClaimKind) -> Response {
        let id = self.id;
        let claim = store::Claim { id, key: key.clone(), kind };
        let response = claim_response(&self.setup.store.claim(&self.owner, &[claim]).await, 0);
        // A claim whose reply was lost may have been granted, so it is released, too.
        let may_be_held = !matches!(response, Response::Wait(_));
        if may_be_held && matches!(kind, ClaimKind::Lock { .. }) {
            self.state().held.add_lock(id, key);
        }
        response
    }
}

#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "without `tracing` the lines are dropped")
)]
impl RunHost for Arc<RunRequests> {
    fn progress(&self, percent: f64) {
        debug!(job = self.id.0, percent, "progress");
    }

    fn log(&self, level: &str, message: String) {
        let job = self.id.0;
        match level {
            "error" => error!(job, "{message}"),
            "warn" => warn!(job, "{message}"),
            "debug" => debug!(job, "{message}"),
            _ => info!(job, "{message}"),
        }
    }

    fn request(&self, request: JobRequest) -> oneshot::Receiver<Response> {
        let (sender, response) = oneshot::channel();
        let run = Arc::clone(self);
        match request {
            JobRequest::Push { channel, jobs } => self.spawn(sender, async move {
                let channel = channel.unwrap_or_else(|| run.setup.channel.to_string());
                if let Err(why) = run.setup.may_push.check(&run.setup.channel, &channel) {
                    return Response::Error(why);
                }
                match run.setup.pushes.push(&channel, &jobs).await {
                    Ok(pushed) => Response::Pushed(pushed.into_iter().map(|pushed| pushed.id().0).collect()),
                    Err(why) => Response::Error(why),
                }
            }),
            JobRequest::Claim(claim) => match ClaimRoute::from(claim) {
                ClaimRoute::Store { key, kind } => {
                    self.spawn(sender, async move { run.claim(key, kind).await });
                }
                ClaimRoute::Breaker { key, settings } => {
                    // The receiver is still in this function, so the send cannot fail.
                    let _ = sender.send(run.claim_breaker(key, settings));
                }
            },
        }
        response
    }
}
