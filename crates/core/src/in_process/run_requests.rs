//! Requests of a run in this process, and their responses.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::RunnerSetup;
use crate::breaker::BreakerSettings;
use crate::job::{
    JobId, JobRequest, LimitClaim, LimitDecision, Outcome, Response, RunHost, Timestamp, error_chain,
};
use crate::log_macros::{debug, error, info, warn};
use crate::store::{self, ClaimKind, KeyRelease, Owner};

/// Requests and held limits of one run.
#[derive(Clone)]
pub(super) struct RunRequests {
    shared: Arc<Shared>,
}

struct Shared {
    setup: RunnerSetup,
    owner: Owner,
    id: JobId,
    run: u64,
    /// The store's time, and the time at which it was read.
    clock: (Timestamp, Instant),
    /// Spawns requests; handlers may send them from threads outside the runtime.
    runtime: Handle,
    held: Mutex<HeldLimits>,
}

#[derive(Default)]
struct HeldLimits {
    /// The run is over: no further claim is granted.
    ended: bool,
    locks: Vec<KeyRelease>,
    breakers: Vec<(String, BreakerSettings)>,
    asking: Vec<JoinHandle<()>>,
}

impl RunRequests {
    pub(super) fn new(
        setup: RunnerSetup,
        owner: Owner,
        id: JobId,
        run: u64,
        clock: (Timestamp, Instant),
    ) -> Self {
        let (runtime, held) = (Handle::current(), Mutex::default());
        Self { shared: Arc::new(Shared { setup, owner, id, run, clock, runtime, held }) }
    }

    pub(super) fn host(&self) -> Box<dyn RunHost> {
        Box::new(self.clone())
    }

    /// Ends the run: waits for pending requests, and returns the keys to release.
    pub(super) async fn end(&self, outcome: &Outcome) -> Vec<KeyRelease> {
        let asking = {
            let mut held = self.shared.held();
            held.ended = true;
            std::mem::take(&mut held.asking)
        };
        for task in asking {
            // A panicked request has no receiver to inform.
            let _ = task.await;
        }
        let (locks, breakers) = {
            let mut held = self.shared.held();
            (std::mem::take(&mut held.locks), std::mem::take(&mut held.breakers))
        };
        let well = match outcome {
            Outcome::Done => Some(true),
            Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Crashed { .. } => Some(false),
            Outcome::Released { .. }
            | Outcome::Interrupted
            | Outcome::Cancelled { .. }
            | Outcome::CrashedInCompany => None,
        };
        let now = self.shared.now();
        let mut all = self.shared.breakers();
        for (key, limits) in breakers {
            all.ended(&key, limits, self.shared.run, well, now);
        }
        locks
    }

    fn spawn(&self, answer: oneshot::Sender<Response>, ask: impl Future<Output = Response> + Send + 'static) {
        let mut held = self.shared.held();
        if held.ended {
            // Dropping the sender tells the handler that no response will come.
            return;
        }
        let task = self.shared.runtime.spawn(async move {
            // The handler may have dropped the pending response.
            let _ = answer.send(ask.await);
        });
        held.asking.push(task);
    }
}

impl Shared {
    fn held(&self) -> std::sync::MutexGuard<'_, HeldLimits> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breakers(&self) -> std::sync::MutexGuard<'_, crate::breaker::Breakers> {
        self.setup.handlers.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> std::time::Instant {
        self.setup.handlers.instant(self.clock.0.after(self.clock.1.elapsed()))
    }

    fn claim_breaker(&self, key: String, limits: BreakerSettings) -> Response {
        let mut held = self.held();
        if held.ended {
            return Response::Error("the run has ended".to_owned());
        }
        match self.breakers().claim(&key, self.run, self.now()) {
            LimitDecision::Wait(time) => Response::Wait(time),
            LimitDecision::Granted => {
                held.breakers.push((key, limits));
                Response::Granted
            }
        }
    }

    async fn claim(&self, key: String, kind: ClaimKind) -> Response {
        let id = self.id;
        let claim = store::Claim { id, key: key.clone(), kind };
        let claimed = self.setup.store.claim(&self.owner, &[claim]).await;
        let answer = match claimed.as_deref() {
            Ok([LimitDecision::Granted]) => Response::Granted,
            Ok([LimitDecision::Wait(time)]) => Response::Wait(*time),
            Ok(_) => Response::Error("the reply of the store is incomplete".to_owned()),
            Err(error) => Response::Error(error_chain(error)),
        };
        // A claim whose reply was lost may have been granted, so it is released, too.
        let may_have_it = !matches!(answer, Response::Wait(_));
        if may_have_it && matches!(kind, ClaimKind::Lock { .. }) {
            self.held().locks.push(KeyRelease::Lock { id, key });
        }
        answer
    }
}

#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, reason = "without `tracing` the lines are dropped")
)]
impl RunHost for RunRequests {
    fn progress(&self, percent: f64) {
        debug!(job = self.shared.id.0, percent, "progress");
    }

    fn log(&self, level: &str, message: String) {
        let job = self.shared.id.0;
        match level {
            "error" => error!(job, "{message}"),
            "warn" => warn!(job, "{message}"),
            "debug" => debug!(job, "{message}"),
            _ => info!(job, "{message}"),
        }
    }

    fn request(&self, request: JobRequest) -> oneshot::Receiver<Response> {
        let (sender, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let (key, kind) = match request {
            JobRequest::Claim(LimitClaim::Breaker { key, failures, cooldown }) => {
                // The receiver is still in this function, so the send cannot fail.
                let _ = sender.send(shared.claim_breaker(key, BreakerSettings { failures, cooldown }));
                return answer;
            }
            JobRequest::Push { channel, jobs } => {
                self.spawn(sender, async move {
                    let channel = channel.unwrap_or_else(|| shared.setup.channel.to_string());
                    match shared.setup.pushes.push(&channel, &jobs).await {
                        Ok(pushed) => {
                            Response::Pushed(pushed.into_iter().map(|pushed| pushed.id().0).collect())
                        }
                        Err(why) => Response::Error(why),
                    }
                });
                return answer;
            }
            JobRequest::Claim(LimitClaim::Lock { key, limit }) => (key, ClaimKind::Lock { limit }),
            JobRequest::Claim(LimitClaim::Rate { key, count, per }) => (key, ClaimKind::Rate { count, per }),
        };
        self.spawn(sender, async move { shared.claim(key, kind).await });
        answer
    }
}
