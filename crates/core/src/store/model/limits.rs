//! Locks and rates.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::job::{JobId, Timestamp};
use crate::limits::rate::Rate;
use crate::store::{Claim, ClaimKind, LimitDecision, Owner};

/// Locks and rates of a channel.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// The holders of each lock.
    locks: BTreeMap<String, BTreeSet<(Owner, JobId)>>,
    /// The time at which each rate is unused again.
    rates: BTreeMap<String, Timestamp>,
}

impl Limits {
    /// Decides the claim of a job held by this owner.
    pub(super) fn ask(&mut self, now: Timestamp, owner: &Owner, claim: &Claim) -> LimitDecision {
        match claim.kind {
            ClaimKind::Lock { limit } => self.lock(owner, claim, limit),
            ClaimKind::Rate { count, burst, per } => self.rate(now, claim, Rate::of(count, burst, per)),
        }
    }

    fn lock(&mut self, owner: &Owner, claim: &Claim, limit: u32) -> LimitDecision {
        let holders = self.locks.entry(claim.key.clone()).or_default();
        let holder = (owner.clone(), claim.id);
        if !holders.contains(&holder) && holders.len() >= limit as usize {
            return LimitDecision::Wait(Duration::ZERO);
        }
        holders.insert(holder);
        LimitDecision::Granted
    }

    fn rate(&mut self, now: Timestamp, claim: &Claim, rate: Rate) -> LimitDecision {
        self.rates.retain(|_, unused| *unused > now);
        match rate.admit(self.rates.get(&claim.key).copied().unwrap_or_default(), now) {
            Ok(unused) => {
                self.rates.insert(claim.key.clone(), unused);
                LimitDecision::Granted
            }
            Err(wait) => LimitDecision::Wait(wait),
        }
    }

    /// Releases a lock of a job of this owner.
    pub(super) fn free(&mut self, owner: &Owner, id: JobId, key: &str) {
        if let Some(holders) = self.locks.get_mut(key) {
            holders.remove(&(owner.clone(), id));
        }
    }

    /// Releases all locks of an ended owner.
    pub(super) fn end(&mut self, owner: &Owner) {
        for holders in self.locks.values_mut() {
            holders.retain(|(holder, _)| holder != owner);
        }
    }
}
