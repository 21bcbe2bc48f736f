//! The phases of one alert, from the values of its rule.

use serde::{Deserialize, Serialize};

use crate::config::alerts::Rule;
use crate::job::Timestamp;

/// The phase of an alert. An alert without a phase is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The condition holds, not yet for the time of the rule.
    Pending {
        /// The time since which the condition holds.
        since: Timestamp,
        /// The end of the alert before, as long as a receiver waits for its message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Ended>,
    },
    /// The alert fires.
    Firing {
        /// The begin.
        since: Timestamp,
        /// The time since which the alert would have ended without `keep_firing_for`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over_since: Option<Timestamp>,
    },
    /// The alert has ended, and a receiver waits for its message.
    Ended(Ended),
}

/// An alert that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The begin.
    pub since: Timestamp,
    /// The end.
    pub at: Timestamp,
}

/// The values of the conditions of a rule; `None` is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The condition under which the alert fires.
    pub when: Option<bool>,
    /// The condition under which the alert ends.
    pub over: Option<bool>,
}

impl Phase {
    /// Whether the alert fires.
    #[must_use]
    pub fn is_firing(self) -> bool {
        matches!(self, Self::Firing { .. })
    }

    /// The last end, if the alert does not fire.
    #[must_use]
    pub fn ended(self) -> Option<Ended> {
        match self {
            Self::Ended(ended) | Self::Pending { before: Some(ended), .. } => Some(ended),
            Self::Pending { before: None, .. } | Self::Firing { .. } => None,
        }
    }

    /// The phase after an evaluation of the rule; `None` for an inactive alert. Unknown values leave the phase as it is.
    #[must_use]
    pub fn next(phase: Option<Self>, rule: &Rule, verdict: Verdict, now: Timestamp) -> Option<Self> {
        let pending = |since: Timestamp, before: Option<Ended>| {
            if now.since(since) >= rule.for_time {
                Self::Firing { since: now, over_since: None }
            } else {
                Self::Pending { since, before }
            }
        };
        match (phase, verdict.when) {
            (None, Some(true)) => Some(pending(now, None)),
            (Some(Self::Ended(ended)), Some(true)) => Some(pending(now, Some(ended))),
            (Some(Self::Pending { since, before }), Some(true)) => Some(pending(since, before)),
            (Some(Self::Pending { before, .. }), Some(false)) => before.map(Self::Ended),
            (Some(Self::Firing { since, over_since }), _) => {
                Some(Self::firing(since, over_since, rule, verdict.over, now))
            }
            (phase, _) => phase,
        }
    }

    fn firing(
        since: Timestamp,
        over_since: Option<Timestamp>,
        rule: &Rule,
        over: Option<bool>,
        now: Timestamp,
    ) -> Self {
        let over_since = match over {
            Some(true) => Some(over_since.unwrap_or(now)),
            Some(false) => None,
            None => over_since,
        };
        match over_since {
            Some(at) if now.since(at) >= rule.keep_firing_for => Self::Ended(Ended { since, at: now }),
            over_since => Self::Firing { since, over_since },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp(1_796_029_200_000_000 + second * 1_000_000)
    }

    fn rule(for_seconds: u64, keep_seconds: u64) -> Rule {
        Rule {
            for_time: Duration::from_secs(for_seconds),
            keep_firing_for: Duration::from_secs(keep_seconds),
            ..Rule::new("backlog", "waiting > 5".parse().unwrap())
        }
    }

    /// The phases of a rule without an own end over values that are ten seconds apart: `t`rue, `f`alse, `?` unknown.
    fn phases(rule: &Rule, values: &str) -> Vec<Option<Phase>> {
        let mut phase = None;
        let value = |word| match word {
            't' => Some(true),
            'f' => Some(false),
            _ => None,
        };
        let next = |(n, word)| {
            let when = value(word);
            phase = Phase::next(phase, rule, Verdict { when, over: when.map(|w| !w) }, at(10 * n as u64));
            phase
        };
        values.chars().enumerate().map(next).collect()
    }

    #[test]
    fn alert_fires_once_its_condition_has_held_long_enough() {
        let all = phases(&rule(20, 0), "fttt");
        let pending = Some(Phase::Pending { since: at(10), before: None });
        assert_eq!(all, [None, pending, pending, Some(Phase::Firing { since: at(30), over_since: None })]);
        assert!(phases(&rule(0, 0), "t")[0].unwrap().is_firing());
        assert_eq!(phases(&rule(20, 0), "ttf")[2], None, "an alert that never fired ends without a trace");
    }

    #[test]
    fn unknown_value_changes_nothing() {
        assert_eq!(phases(&rule(0, 0), "?"), [None]);
        let all = phases(&rule(20, 0), "t?t?f?");
        assert_eq!(all[1], all[0]);
        assert!(all[2].unwrap().is_firing());
        assert_eq!(all[3], all[2]);
        assert_eq!(all[4], Some(Phase::Ended(Ended { since: at(20), at: at(40) })));
        assert_eq!(all[5], all[4]);
    }

    #[test]
    fn alert_is_kept_for_the_time_of_its_rule() {
        let all = phases(&rule(0, 20), "tftfff");
        assert_eq!(all[1], Some(Phase::Firing { since: at(0), over_since: Some(at(10)) }));
        assert_eq!(all[2], Some(Phase::Firing { since: at(0), over_since: None }));
        assert_eq!(all[5], Some(Phase::Ended(Ended { since: at(0), at: at(50) })));
    }

    #[test]
    fn new_alert_keeps_the_end_of_the_one_before_until_it_fires() {
        let all = phases(&rule(10, 0), "ttftft");
        let ended = Ended { since: at(10), at: at(20) };
        assert_eq!(all[2], Some(Phase::Ended(ended)));
        assert_eq!(all[3], Some(Phase::Pending { since: at(30), before: Some(ended) }));
        assert_eq!(all[3].unwrap().ended(), Some(ended));
        assert_eq!(all[4], Some(Phase::Ended(ended)));
        let fired = phases(&rule(10, 0), "ttftt");
        assert_eq!(fired[4].unwrap().ended(), None);
    }

    #[test]
    fn own_end_of_a_rule_decides_alone() {
        let rule = rule(0, 0);
        let firing = Phase::next(None, &rule, Verdict { when: Some(true), over: Some(false) }, at(0));
        let held = Phase::next(firing, &rule, Verdict { when: Some(false), over: Some(false) }, at(10));
        assert_eq!(held, firing, "between both conditions the alert fires on");
        let over = Phase::next(held, &rule, Verdict { when: Some(false), over: Some(true) }, at(20));
        assert_eq!(over, Some(Phase::Ended(Ended { since: at(0), at: at(20) })));
    }
}
