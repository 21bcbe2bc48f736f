//! The settings of `[alerts]`.

use crate::config::passed_env::PassedEnv;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Severity;
use super::language::Language;
use super::quiet_hours::QuietHours;
use super::receiver::{Receiver, ReceiverKind};
use super::rule::Rule;

/// The settings of `[alerts]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Time between two evaluations of the rules.
    pub evaluate_every: Duration,
    /// Time between the first alert of a channel and the message about it.
    pub group_wait: Duration,
    /// Shortest time between two messages about changes in a channel.
    pub group_interval: Duration,
    /// Time between two messages about alerts that have not changed.
    pub resend: Duration,
    /// Whether the end of an alert is a message.
    pub send_resolved: bool,
    /// The language of messages, for receivers without their own.
    pub language: Language,
    /// The receivers, by name, with those of snapshot handlers that have a rule.
    pub receivers: BTreeMap<String, Receiver>,
    /// The rules for who gets an alert; the first that fits decides. Empty: every receiver gets every alert.
    pub routes: Vec<Route>,
    /// The times at which alerts wait.
    pub quiet_hours: Vec<QuietHours>,
    /// The variables that the programs of receivers inherit: all but those that the configuration refers to.
    pub passed_env: PassedEnv,
}

impl Alerts {
    /// Whether a receiver may get alerts of a channel with these rules: a snapshot handler gets those of its own channel only.
    #[must_use]
    pub fn concerns(&self, receiver: &str, rules: &[Rule]) -> bool {
        let is_handler = self.receivers.get(receiver).is_some_and(|receiver| receiver.is_handler);
        let names_it = |rule: &Rule| rule.to.iter().flatten().any(|name| name == receiver);
        !is_handler || rules.iter().any(names_it)
    }

    /// The names of the receivers that get an alert, in the order of its route. A heartbeat and a snapshot handler get
    /// none.
    #[must_use]
    pub fn receivers_of(&self, channel: &str, rule: &str, severity: Severity) -> Vec<&str> {
        if self.routes.is_empty() {
            let gets_alerts = |(_, receiver): &(&String, &Receiver)| {
                !receiver.is_handler && !matches!(receiver.kind, ReceiverKind::Heartbeat { .. })
            };
            return self.receivers.iter().filter(gets_alerts).map(|(name, _)| name.as_str()).collect();
        }
        let route = self.routes.iter().find(|route| route.fits(channel, rule, severity));
        route.map_or_else(Vec::new, |route| route.to.iter().map(String::as_str).collect())
    }
}

/// The receivers of some alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The severity of the alerts; `None` for any.
    pub severity: Option<Severity>,
    /// The channel of the alerts; `None` for any.
    pub channel: Option<String>,
    /// The rule of the alerts; `None` for any.
    pub rule: Option<String>,
    /// The names of the receivers.
    pub to: Vec<String>,
}

impl Route {
    /// Whether the route is that of an alert.
    #[must_use]
    pub fn fits(&self, channel: &str, rule: &str, severity: Severity) -> bool {
        self.severity.is_none_or(|wanted| wanted == severity)
            && self.channel.as_deref().is_none_or(|wanted| wanted == channel)
            && self.rule.as_deref().is_none_or(|wanted| wanted == rule)
    }
}
