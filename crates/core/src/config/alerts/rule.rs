//! The rules of alerts: those that are built in, and what a configuration makes of them.

use std::sync::Arc;
use std::time::Duration;

use super::Severity;
use crate::condition::{Across, Condition};

/// A rule: the condition of an alert, and what the alert says.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The name, unique in a channel.
    pub name: Arc<str>,
    /// The condition under which the alert fires.
    pub when: Condition,
    /// The condition under which the alert ends; `None`: it ends when `when` is false.
    pub until: Option<Condition>,
    /// The time for which `when` must hold before the alert fires.
    pub for_time: Duration,
    /// The time for which the alert fires on after its end.
    pub keep_firing_for: Duration,
    /// The severity.
    pub severity: Severity,
    /// The template of the text; `None` for the text of a built-in rule, or none.
    pub summary: Option<Arc<str>>,
    /// The URL of the instructions for this alert.
    pub runbook: Option<String>,
    /// The time between two repetitions; `None` for that of `[alerts]`.
    pub resend: Option<Duration>,
    /// The receivers; `None` for those of the routes of `[alerts]`.
    pub to: Option<Vec<String>>,
}

/// A rule that every channel with a receiver has, unless its configuration says otherwise.
struct BuiltIn {
    name: &'static str,
    when: &'static str,
    for_seconds: u64,
    keep_seconds: u64,
    severity: Severity,
}

const fn built_in(name: &'static str, when: &'static str, for_seconds: u64, severity: Severity) -> BuiltIn {
    BuiltIn { name, when, for_seconds, keep_seconds: 0, severity }
}

/// The built-in rules.
const BUILT_IN: &[BuiltIn] = &[
    built_in("store_down", "store.down_for > 30s", 0, Severity::Critical),
    built_in("degraded", "degraded", 15, Severity::Critical),
    built_in("no_master", "masters == 0 and waiting > 0", 60, Severity::Critical),
    built_in(
        "stalled",
        "waiting > 0 and rate_out == 0 and not paused and not quiet and longest_run < 5m",
        300,
        Severity::Critical,
    ),
    built_in("slow", "oldest_waiting > 10m and not paused", 300, Severity::Warning),
    built_in(
        "backlog",
        "oldest_waiting > 60s and workers.busy == workers.max and delta(waiting, 10m) > 0",
        600,
        Severity::Warning,
    ),
    built_in("failures", "failure_rate > 20%", 300, Severity::Warning),
    BuiltIn { keep_seconds: 900, ..built_in("poison", "new_poison > 0", 0, Severity::Warning) },
    built_in("stuck", "stuck_slots > 0", 60, Severity::Warning),
    built_in("restarts", "workers.restarts > 10", 0, Severity::Warning),
    built_in("memory", "memory.workers > 90% * memory.limit", 300, Severity::Warning),
    built_in("forgotten_pause", "paused_for > 1h and waiting > 0", 0, Severity::Info),
];

impl Rule {
    /// A rule with this condition and the usual settings.
    #[must_use]
    pub fn new(name: &str, when: Condition) -> Self {
        Self {
            name: name.into(),
            when,
            until: None,
            for_time: Duration::ZERO,
            keep_firing_for: Duration::ZERO,
            severity: Severity::default(),
            summary: None,
            runbook: None,
            resend: None,
            to: None,
        }
    }

    /// Whether the rule is over values that each host has for itself.
    #[must_use]
    pub fn is_per_host(&self) -> bool {
        let names_host =
            |condition: &Condition| condition.fields().iter().any(|f| f.across() == Across::Host);
        names_host(&self.when) || self.until.as_ref().is_some_and(names_host)
    }

    /// The built-in rules.
    #[must_use]
    pub fn built_in() -> Vec<Self> {
        let rule = |rule: &BuiltIn| Self {
            for_time: Duration::from_secs(rule.for_seconds),
            keep_firing_for: Duration::from_secs(rule.keep_seconds),
            severity: rule.severity,
            ..Self::new(rule.name, rule.when.parse().expect("the condition of a built-in rule is one"))
        };
        BUILT_IN.iter().map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rules_have_conditions_and_names_of_their_own() {
        let rules = Rule::built_in();
        assert_eq!(rules.len(), 12);
        let mut names: Vec<_> = rules.iter().map(|rule| &rule.name).collect();
        names.dedup();
        assert_eq!(names.len(), 12);
    }

    #[test]
    fn every_built_in_rule_is_documented() {
        let document = include_str!("../../../../../docs/alerts.md");
        for rule in Rule::built_in() {
            let time = match rule.for_time.as_secs() {
                0 => "0".to_owned(),
                seconds @ 1..60 => format!("{seconds} s"),
                seconds => format!("{} min", seconds / 60),
            };
            let row = format!("| `{}` | `{}` | {time} | {} |\n", rule.name, rule.when, rule.severity);
            assert!(document.contains(&row), "docs/alerts.md lacks {row}");
        }
    }
}
