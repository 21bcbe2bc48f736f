//! A message about the alerts of one channel, before a receiver puts it into its own form.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aint_queue_core::condition::Field;

use super::Fingerprint;
use crate::config::alerts::Severity;
use crate::job::Timestamp;

/// The alerts of one channel that one receiver gets in one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The channel.
    pub channel: Arc<str>,
    /// The alerts: the firing ones first, the more severe ones first, at least one.
    pub alerts: Vec<Alert>,
    /// The time of the message.
    pub at: Timestamp,
    /// The host of the master that sends the message.
    pub sender: String,
    /// The base of links to pages, without a slash at its end; `None` for no links.
    pub public_url: Option<String>,
    /// Whether this is a test of the receiver, which the text must say.
    pub is_test: bool,
}

/// An alert in a [`Notification`].
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The name of the rule.
    pub rule: Arc<str>,
    /// The severity.
    pub severity: Severity,
    /// Whether the alert fires.
    pub status: AlertStatus,
    /// The host, for a rule over values of one host.
    pub host: Option<String>,
    /// The condition of the rule.
    pub condition: String,
    /// The template of the text of the rule; `None` for the text of a built-in rule, or none.
    pub summary: Option<Arc<str>>,
    /// The URL of the instructions for this alert.
    pub runbook: Option<String>,
    /// The known values of the channel in their base units, when the alert began to fire or was sent last.
    pub values: BTreeMap<Field, f64>,
    /// The fields that the condition names.
    pub fields: Vec<Field>,
    /// The time when the alert began to fire.
    pub started_at: Timestamp,
    /// The identity of the alert: the same from its first message to its end, and again when it fires again.
    pub fingerprint: Fingerprint,
}

/// The status of an [`Alert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStatus {
    /// The condition holds.
    Firing,
    /// The condition no longer holds, since this time.
    Resolved(Timestamp),
}

/// Age from which a firing alert is no news, and the time within which another message about the same alerts is the same message: a
/// master that takes over may send it again.
pub(super) const NEWS_AGE: Duration = Duration::from_secs(600);

impl Notification {
    /// Whether the message only repeats alerts that have fired for long.
    #[must_use]
    pub fn is_repeat(&self) -> bool {
        let is_old = |alert: &Alert| {
            alert.status == AlertStatus::Firing && self.at.since(alert.started_at) >= NEWS_AGE
        };
        self.alerts.iter().all(is_old)
    }
}
