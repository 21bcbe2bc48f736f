//! Circuit breakers: keys with too many failures in a row are refused for a while. Pure; every decision takes `now`.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::RunId;
use crate::job::LimitDecision;

/// Most remembered keys. Beyond that, closed breakers are dropped; if all are open, new keys are not counted.
const MAX_KEYS: usize = 10_000;
/// Time to wait for a claim that arrives while another run probes the breaker.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// Opening threshold and open time of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// Open time after the last failure.
    pub cooldown: Duration,
}

/// The breakers of one channel. A breaker without failures is not stored.
#[derive(Debug, Default)]
pub struct Breakers(HashMap<String, Breaker>);

#[derive(Debug)]
struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// End of the open time; set once the breaker has opened.
    until: Option<Instant>,
    /// The run that was granted as a probe after the open time.
    probe: Option<RunId>,
}

impl Breakers {
    /// Decides whether a run may proceed.
    pub fn claim(&mut self, key: &str, run: RunId, now: Instant) -> LimitDecision {
        let Some(breaker) = self.0.get_mut(key) else { return LimitDecision::Granted };
        match (breaker.until, breaker.probe) {
            (None, _) => LimitDecision::Granted,
            (Some(until), _) if until > now => LimitDecision::Wait(until - now),
            (Some(_), Some(probe)) if probe != run => LimitDecision::Wait(PROBE_WAIT),
            (Some(_), _) => {
                breaker.probe = Some(run);
                LimitDecision::Granted
            }
        }
    }

    /// Records the end of a granted run: success, failure, or `None` for an end that says nothing about the key.
    pub fn ended(
        &mut self,
        key: &str,
        settings: BreakerSettings,
        run: RunId,
        success: Option<bool>,
        now: Instant,
    ) {
        match success {
            Some(true) => drop(self.0.remove(key)),
            Some(false) => {
                if !self.0.contains_key(key) && self.0.len() >= MAX_KEYS {
                    self.0.retain(|_, breaker| breaker.until.is_some_and(|until| until > now));
                    if self.0.len() >= MAX_KEYS {
                        return;
                    }
                }
                let breaker =
                    self.0.entry(key.to_owned()).or_insert(Breaker { failures: 0, until: None, probe: None });
                breaker.failures = breaker.failures.saturating_add(1);
                if breaker.failures >= settings.failures {
                    (breaker.until, breaker.probe) = (Some(now + settings.cooldown), None);
                }
            }
            None => {
                if let Some(breaker) = self.0.get_mut(key).filter(|breaker| breaker.probe == Some(run)) {
                    breaker.probe = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BreakerSettings = BreakerSettings { failures: 2, cooldown: Duration::from_secs(10) };

    #[test]
    fn rarely_failing_keys_do_not_evict_others() {
        let (mut all, now) = (Breakers::default(), Instant::now());
        for n in 0..MAX_KEYS {
            all.ended(&n.to_string(), LIMITS, 1, Some(false), now);
        }
        for _ in 0..2 {
            all.ended("new", LIMITS, 1, Some(false), now);
        }
        assert!(matches!(all.claim("new", 2, now), LimitDecision::Wait(_)));
        assert!(all.0.len() <= MAX_KEYS);
    }

    #[test]
    fn probe_holder_may_ask_again() {
        let (mut all, now) = (Breakers::default(), Instant::now());
        let once = BreakerSettings { failures: 1, cooldown: Duration::from_millis(1) };
        all.ended("k", once, 1, Some(false), now);
        let later = now + Duration::from_secs(1);
        for run in [2, 2] {
            assert_eq!(all.claim("k", run, later), LimitDecision::Granted);
        }
        assert_eq!(all.claim("k", 3, later), LimitDecision::Wait(PROBE_WAIT));
    }

    #[test]
    fn breaker_opens_then_admits_one_probe_after_cooldown() {
        let (mut all, t0) = (Breakers::default(), Instant::now());
        let after = |seconds| t0 + Duration::from_secs(seconds);
        all.ended("k", LIMITS, 1, Some(false), t0);
        assert_eq!(all.claim("k", 2, t0), LimitDecision::Granted);
        all.ended("k", LIMITS, 2, Some(false), t0);
        assert_eq!(all.claim("k", 3, after(4)), LimitDecision::Wait(Duration::from_secs(6)));
        assert_eq!(all.claim("other", 3, after(4)), LimitDecision::Granted);

        assert_eq!(all.claim("k", 4, after(10)), LimitDecision::Granted);
        assert_eq!(all.claim("k", 5, after(10)), LimitDecision::Wait(PROBE_WAIT));
        all.ended("k", LIMITS, 4, Some(false), after(11));
        assert_eq!(all.claim("k", 6, after(12)), LimitDecision::Wait(Duration::from_secs(9)));

        assert_eq!(all.claim("k", 7, after(21)), LimitDecision::Granted);
        all.ended("k", LIMITS, 7, Some(true), after(22));
        assert_eq!(all.claim("k", 8, after(22)), LimitDecision::Granted);
        assert!(all.0.is_empty());
    }

    #[test]
    fn lost_probe_passes_to_the_next() {
        let (mut all, t0) = (Breakers::default(), Instant::now());
        for run in 1..=2 {
            all.ended("k", LIMITS, run, Some(false), t0);
        }
        let later = t0 + LIMITS.cooldown;
        assert_eq!(all.claim("k", 3, later), LimitDecision::Granted);
        all.ended("k", LIMITS, 3, None, later);
        assert_eq!(all.claim("k", 4, later), LimitDecision::Granted);
    }

    #[test]
    fn success_resets_the_failure_count() {
        let (mut all, t0) = (Breakers::default(), Instant::now());
        for well in [false, true, false] {
            all.ended("k", LIMITS, 1, Some(well), t0);
        }
        assert_eq!(all.claim("k", 2, t0), LimitDecision::Granted);
    }
}
