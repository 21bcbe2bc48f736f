//! Limits on running jobs: locks and rates, decided by the store, and circuit breakers, decided in this process.
//!
//! The channel of a master and the in-process runner share this module: the route of a claim, the limits that a run holds,
//! and their release when the run ends. Pure; every decision takes `now`.

mod breaker;
pub(crate) mod rate;

use tokio::time::Instant;

pub use breaker::{BreakerSettings, Breakers};

use crate::job::{JobId, LimitClaim, LimitDecision, Outcome, Response, error_chain};
use crate::store::{ClaimKind, KeyRelease, StoreError};

/// Identifies a run within one process.
pub type RunId = u64;

/// The place that decides a claim.
#[derive(Debug, PartialEq, Eq)]
pub enum ClaimRoute {
    /// The store decides, for all masters of the channel.
    Store {
        /// The claimed key.
        key: String,
        /// Lock or rate.
        kind: ClaimKind,
    },
    /// The breakers of this process decide.
    Breaker {
        /// The claimed key.
        key: String,
        /// Settings of the breaker.
        settings: BreakerSettings,
    },
}

impl From<LimitClaim> for ClaimRoute {
    fn from(claim: LimitClaim) -> Self {
        match claim {
            LimitClaim::Lock { key, limit } => Self::Store { key, kind: ClaimKind::Lock { limit } },
            LimitClaim::Rate { key, count, burst, per } => {
                Self::Store { key, kind: ClaimKind::Rate { count, burst, per } }
            }
            LimitClaim::Breaker { key, failures, cooldown } => {
                Self::Breaker { key, settings: BreakerSettings { failures, cooldown } }
            }
        }
    }
}

/// The response to a claim, from the decisions of a store call that carried it at `index`.
#[must_use]
pub fn claim_response(decisions: &Result<Vec<LimitDecision>, StoreError>, index: usize) -> Response {
    match decisions.as_ref().map(|decisions| decisions.get(index)) {
        Ok(Some(LimitDecision::Granted)) => Response::Granted,
        Ok(Some(LimitDecision::Wait(time))) => Response::Wait(*time),
        Ok(None) => Response::Error("the reply of the store is incomplete".to_owned()),
        Err(error) => Response::Error(error_chain(error)),
    }
}

/// The limits held by one run.
#[derive(Debug, Default)]
pub struct HeldLimits {
    locks: Vec<KeyRelease>,
    breakers: Vec<(String, BreakerSettings)>,
}

impl HeldLimits {
    /// Number of held locks and breakers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locks.len() + self.breakers.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a lock that the store granted, or may have granted although its reply was lost.
    pub fn add_lock(&mut self, id: JobId, key: String) {
        self.locks.push(KeyRelease::Lock { id, key });
    }

    /// Claims a breaker for `run`; a granted one is held until the run ends.
    pub fn claim_breaker(
        &mut self,
        breakers: &mut Breakers,
        run: RunId,
        key: String,
        settings: BreakerSettings,
        now: Instant,
    ) -> Response {
        match breakers.claim(&key, run, now) {
            LimitDecision::Wait(time) => Response::Wait(time),
            LimitDecision::Granted => {
                self.breakers.push((key, settings));
                Response::Granted
            }
        }
    }

    /// Releases everything at the end of `run` and returns the locks for the store to release. `outcome` is `None` for a run
    /// whose end is not known.
    pub fn release(
        self,
        breakers: &mut Breakers,
        run: RunId,
        outcome: Option<&Outcome>,
        now: Instant,
    ) -> Vec<KeyRelease> {
        let success = outcome.and_then(breaker_success);
        for (key, settings) in self.breakers {
            breakers.ended(&key, settings, run, success, now);
        }
        self.locks
    }
}

/// The verdict of an outcome on the resource behind a breaker; `None` for ends that say nothing about it.
fn breaker_success(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Done => Some(true),
        Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Crashed { .. } => Some(false),
        Outcome::Released { .. }
        | Outcome::Interrupted
        | Outcome::Cancelled { .. }
        | Outcome::CrashedWithOthers
        | Outcome::Lost => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn end_of_run_releases_locks_and_counts_for_breakers() {
        let (mut breakers, now) = (Breakers::default(), Instant::now());
        let settings = BreakerSettings { failures: 1, cooldown: Duration::from_secs(9) };
        let claim = |breakers: &mut Breakers, run| {
            let mut held = HeldLimits::default();
            let response = held.claim_breaker(breakers, run, "api".into(), settings, now);
            (held, response)
        };
        let (mut held, granted) = claim(&mut breakers, 1);
        held.add_lock(JobId(7), "k".into());
        assert_eq!((granted, held.len()), (Response::Granted, 2));
        let outcome = Outcome::TimedOut { limit: Duration::ZERO, how: String::new() };
        let released = held.release(&mut breakers, 1, Some(&outcome), now);
        assert_eq!(released, [KeyRelease::Lock { id: JobId(7), key: "k".into() }]);
        let (held, refused) = claim(&mut breakers, 2);
        assert_eq!(refused, Response::Wait(Duration::from_secs(9)));
        assert!(held.is_empty());
    }

    #[test]
    fn unknown_end_counts_neither_way() {
        let (mut breakers, now) = (Breakers::default(), Instant::now());
        let settings = BreakerSettings { failures: 1, cooldown: Duration::from_secs(9) };
        let mut held = HeldLimits::default();
        held.claim_breaker(&mut breakers, 1, "api".into(), settings, now);
        held.release(&mut breakers, 1, None, now);
        assert_eq!(breakers.claim("api", 2, now), LimitDecision::Granted);
    }
}
