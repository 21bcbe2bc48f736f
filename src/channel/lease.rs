//! When this master renews its lease, when the lease may be lost, and when to reap the expired leases of others.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::LEASE;

/// Age at which a lease is renewed, even without jobs to settle or to lease.
const RENEW_AFTER: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// Average time between two searches for expired leases; a master searches only while its own connection has held
/// for as long, because a master that was cut off must not reap others on its return.
pub(super) const REAP_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// Largest random extension of [`REAP_INTERVAL`], as its part, so that masters do not search at the same moment.
const REAP_SPREAD: f64 = 0.2;

/// The deadlines of one owner.
#[derive(Debug)]
pub(super) struct Lease {
    /// Start of the last call that renewed the lease: the store renewed at some moment after that.
    renewed: Instant,
    reap_at: Instant,
}

impl Lease {
    pub(super) fn new(now: Instant) -> Self {
        Self { renewed: now, reap_at: now + REAP_INTERVAL }
    }

    /// Records a renewal by a call that began at `began`.
    pub(super) fn renewed(&mut self, began: Instant) {
        self.renewed = began;
    }

    /// When the lease must be renewed.
    pub(super) fn renew_at(&self) -> Instant {
        self.renewed + RENEW_AFTER
    }

    /// Whether the lease may have expired unnoticed: the store was unavailable, or this process was suspended.
    pub(super) fn may_be_lost(&self, now: Instant) -> bool {
        now >= self.renewed + LEASE
    }

    /// When to search for expired leases.
    pub(super) fn reap_at(&self) -> Instant {
        self.reap_at
    }

    /// Schedules the next search for expired leases; `random` is in 0..1.
    pub(super) fn reaped(&mut self, now: Instant, random: f64) {
        self.reap_at = now + REAP_INTERVAL.mul_f64(1.0 + random * REAP_SPREAD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_is_renewed_at_a_third_and_doubtful_at_its_end() {
        let start = Instant::now();
        let mut lease = Lease::new(start);
        assert_eq!(lease.renew_at(), start + LEASE / 3);
        let later = start + LEASE / 2;
        lease.renewed(later);
        assert_eq!(lease.renew_at(), later + LEASE / 3);
        assert!(!lease.may_be_lost(later + LEASE - Duration::from_millis(1)));
        assert!(lease.may_be_lost(later + LEASE));
    }

    #[test]
    fn searches_of_several_masters_are_spread() {
        let now = Instant::now();
        let mut lease = Lease::new(now);
        lease.reaped(now, 0.0);
        assert_eq!(lease.reap_at(), now + REAP_INTERVAL);
        lease.reaped(now, 1.0);
        assert_eq!(lease.reap_at(), now + REAP_INTERVAL.mul_f64(1.2));
    }
}
