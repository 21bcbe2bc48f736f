//! Whether the store answers, and when to call it again after an error.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// Shortest pause between a failed call and the next one.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
/// Longest pause between a failed call and the next one: a store that is back is noticed within two seconds.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The last answers of the store.
#[derive(Debug)]
pub(super) struct StoreHealth {
    /// The outage that is under way; `None` when the last call succeeded.
    outage: Option<Outage>,
    /// Earliest time of the next call, after an error.
    retry_at: Option<Instant>,
    /// The delays of the outage that is under way.
    backoff: ExponentialBackoff,
    /// The end of the last outage.
    reachable_since: Instant,
}

/// A time without answers.
#[derive(Debug)]
struct Outage {
    /// The error of the last call.
    error: String,
    /// The first failed call.
    since: Instant,
}

impl StoreHealth {
    pub(super) fn new(now: Instant) -> Self {
        Self { outage: None, retry_at: None, backoff: backoff(), reachable_since: now }
    }

    /// Records a successful call. Returns whether it ends an outage.
    pub(super) fn succeeded(&mut self, now: Instant) -> bool {
        self.retry_at = None;
        self.backoff = backoff();
        let recovered = self.outage.take().is_some();
        if recovered {
            self.reachable_since = now;
        }
        recovered
    }

    /// Records a failed call. Returns whether the error differs from the last one.
    pub(super) fn failed(&mut self, error: String, now: Instant) -> bool {
        let delay = self.backoff.next().unwrap_or(MAX_RETRY_DELAY);
        self.retry_at = Some(now + delay);
        self.reachable_since = now;
        let before = self.outage.take();
        let is_new = before.as_ref().is_none_or(|before| before.error != error);
        self.outage = Some(Outage { error, since: before.map_or(now, |before| before.since) });
        is_new
    }

    /// Why the store cannot be used; `None` when it can.
    pub(super) fn error(&self) -> Option<&str> {
        self.outage.as_ref().map(|outage| outage.error.as_str())
    }

    /// The length of the outage that is under way.
    pub(super) fn unreachable_for(&self, now: Instant) -> Option<Duration> {
        self.outage.as_ref().map(|outage| now.saturating_duration_since(outage.since))
    }

    /// End of the pause after an error; `None` when a call may start now.
    pub(super) fn retry_at(&self, now: Instant) -> Option<Instant> {
        self.retry_at.filter(|at| *at > now)
    }

    /// When the store will have answered without error for `time`, if no call fails before.
    pub(super) fn reachable_for(&self, time: Duration) -> Instant {
        self.reachable_since + time
    }
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(MIN_RETRY_DELAY)
        .with_max_delay(MAX_RETRY_DELAY)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_backs_off_to_at_most_two_seconds() {
        let mut now = Instant::now();
        let mut health = StoreHealth::new(now);
        let mut delays = Vec::new();
        for _ in 0..10 {
            health.failed("refused".to_owned(), now);
            let at = health.retry_at(now).unwrap();
            delays.push(at - now);
            now = at;
        }
        assert!(delays[0] >= MIN_RETRY_DELAY && delays[0] <= 2 * MIN_RETRY_DELAY, "{delays:?}");
        assert!(delays.iter().all(|delay| *delay <= 2 * MAX_RETRY_DELAY), "{delays:?}");
        assert!(delays[9] >= MAX_RETRY_DELAY, "{delays:?}");
        assert_eq!(health.retry_at(now), None);
    }

    #[test]
    fn recovery_resets_the_backoff() {
        let now = Instant::now();
        let mut health = StoreHealth::new(now);
        for _ in 0..8 {
            health.failed("refused".to_owned(), now);
        }
        assert!(health.succeeded(now) && !health.succeeded(now));
        assert_eq!((health.error(), health.retry_at(now)), (None, None));
        health.failed("refused".to_owned(), now);
        assert!(health.retry_at(now).unwrap() - now <= 2 * MIN_RETRY_DELAY);
    }

    #[test]
    fn repeated_error_is_news_once() {
        let now = Instant::now();
        let mut health = StoreHealth::new(now);
        assert!(health.failed("refused".to_owned(), now));
        assert!(!health.failed("refused".to_owned(), now));
        assert!(health.failed("timed out".to_owned(), now));
    }

    #[test]
    fn outage_lasts_since_its_first_error() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut health = StoreHealth::new(start);
        assert_eq!(health.unreachable_for(start), None);
        health.failed("refused".to_owned(), later(1));
        health.failed("timed out".to_owned(), later(5));
        assert_eq!(health.unreachable_for(later(9)), Some(Duration::from_secs(8)));
        health.succeeded(later(10));
        health.failed("refused".to_owned(), later(20));
        assert_eq!(health.unreachable_for(later(21)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn reachable_time_counts_from_the_end_of_the_outage() {
        let start = Instant::now();
        let later = start + Duration::from_secs(60);
        let mut health = StoreHealth::new(start);
        health.failed("refused".to_owned(), start);
        health.succeeded(later);
        assert_eq!(health.reachable_for(Duration::from_secs(10)), later + Duration::from_secs(10));
    }
}
