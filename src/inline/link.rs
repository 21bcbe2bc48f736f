//! What a run in this process says and asks, and who answers it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Setup;
use crate::breaker::Limits;
use crate::job::{Answer, Ask, Claim, Claimed, JobId, Link, Outcome, Timestamp, explained};
use crate::store::{self, ClaimKind, Free, Owner};
use crate::trace::{debug, error, info, warn};

/// What one run asks and holds.
#[derive(Clone)]
pub(super) struct Asks {
    shared: Arc<Shared>,
}

struct Shared {
    setup: Setup,
    owner: Owner,
    id: JobId,
    run: u64,
    /// The store's clock at a moment of ours.
    clock: (Timestamp, Instant),
    /// Handlers may ask from threads that know of no runtime.
    runtime: Handle,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// No more is granted: the run is over.
    ended: bool,
    locks: Vec<Free>,
    breakers: Vec<(String, Limits)>,
    asking: Vec<JoinHandle<()>>,
}

impl Asks {
    pub(super) fn new(setup: Setup, owner: Owner, id: JobId, run: u64, clock: (Timestamp, Instant)) -> Self {
        let (runtime, held) = (Handle::current(), Mutex::default());
        Self { shared: Arc::new(Shared { setup, owner, id, run, clock, runtime, held }) }
    }

    pub(super) fn link(&self) -> Box<dyn Link> {
        Box::new(self.clone())
    }

    /// The run has ended. Waits for what it asked and did not wait for, and answers what it no longer holds.
    pub(super) async fn end(&self, outcome: &Outcome) -> Vec<Free> {
        let asking = {
            let mut held = self.shared.held();
            held.ended = true;
            std::mem::take(&mut held.asking)
        };
        for task in asking {
            // One that panicked answers nobody.
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

    fn spawn(&self, answer: oneshot::Sender<Answer>, ask: impl Future<Output = Answer> + Send + 'static) {
        let mut held = self.shared.held();
        if held.ended {
            // The sender is dropped: nobody answers.
            return;
        }
        let task = self.shared.runtime.spawn(async move {
            // Whoever asked may not want to know any more.
            let _ = answer.send(ask.await);
        });
        held.asking.push(task);
    }
}

impl Shared {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breakers(&self) -> std::sync::MutexGuard<'_, crate::breaker::Breakers> {
        self.setup.handlers.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> std::time::Instant {
        self.setup.handlers.instant(self.clock.0.after(self.clock.1.elapsed()))
    }

    fn claim_breaker(&self, key: String, limits: Limits) -> Answer {
        let mut held = self.held();
        if held.ended {
            return Answer::Error("the run is over".to_owned());
        }
        match self.breakers().claim(&key, self.run, self.now()) {
            Claimed::Wait(time) => Answer::Wait(time),
            Claimed::Granted => {
                held.breakers.push((key, limits));
                Answer::Granted
            }
        }
    }

    async fn claim(&self, key: String, kind: ClaimKind) -> Answer {
        let id = self.id;
        let claim = store::Claim { id, key: key.clone(), kind };
        let claimed = self.setup.store.claim(&self.owner, &[claim]).await;
        let answer = match claimed.as_deref() {
            Ok([Claimed::Granted]) => Answer::Granted,
            Ok([Claimed::Wait(time)]) => Answer::Wait(*time),
            Ok(_) => Answer::Error("the store answered too little".to_owned()),
            Err(error) => Answer::Error(explained(error)),
        };
        // One whose answer was lost may have been granted.
        let may_have_it = !matches!(answer, Answer::Wait(_));
        if may_have_it && matches!(kind, ClaimKind::Lock { .. }) {
            self.held().locks.push(Free::Lock { id, key });
        }
        answer
    }
}

#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "nobody is told"))]
impl Link for Asks {
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

    fn ask(&self, ask: Ask) -> oneshot::Receiver<Answer> {
        let (sender, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let (key, kind) = match ask {
            Ask::Claim(Claim::Breaker { key, failures, cooldown }) => {
                // The receiver is there: it is answered below.
                let _ = sender.send(shared.claim_breaker(key, Limits { failures, cooldown }));
                return answer;
            }
            Ask::Push { channel, jobs } => {
                self.spawn(sender, async move {
                    let channel = channel.unwrap_or_else(|| shared.setup.channel.to_string());
                    match shared.setup.pushes.push(&channel, &jobs).await {
                        Ok(pushed) => {
                            Answer::Pushed(pushed.into_iter().map(|pushed| pushed.id().0).collect())
                        }
                        Err(why) => Answer::Error(why),
                    }
                });
                return answer;
            }
            Ask::Claim(Claim::Lock { key, limit }) => (key, ClaimKind::Lock { limit }),
            Ask::Claim(Claim::Rate { key, count, per }) => (key, ClaimKind::Rate { count, per }),
        };
        self.spawn(sender, async move { shared.claim(key, kind).await });
        answer
    }
}
