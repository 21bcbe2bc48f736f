//! The metrics of alerts, their receivers, and handlers of snapshots.

use prometheus::{IntCounterVec, IntGaugeVec};
use serde::{Deserialize, Serialize};

use super::{Declaration, raise_to};

/// The metrics of alerts.
#[derive(Clone, Debug)]
pub struct AlertMetrics {
    firing: IntGaugeVec,
    messages: IntCounterVec,
    handler_runs: IntCounterVec,
}

/// The messages of a receiver since the start of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageCounts {
    /// Messages and calls that the receiver took.
    pub sent: u64,
    /// Messages and calls that failed for good.
    pub failed: u64,
    /// Messages that were dropped because too many waited.
    pub dropped: u64,
}

impl AlertMetrics {
    pub(super) fn new(declare: &Declaration<'_>) -> Self {
        Self {
            firing: declare.gauges(
                "aint_queue_alerts_firing",
                "Firing alerts by rule; 0 in a master that does not evaluate the rule now. Use max by (channel, rule).",
                &["rule", "severity"],
            ),
            messages: declare.counters_of(
                "aint_queue_alert_messages_total",
                "Messages to receivers of alerts, calls of heartbeats included, by result.",
                &["receiver", "result"],
            ),
            handler_runs: declare.counters(
                "aint_queue_snapshot_handler_runs_total",
                "Snapshots passed to handlers, by result.",
                &["handler", "result"],
            ),
        }
    }

    /// Sets the number of firing alerts of a rule.
    pub fn firing(&self, channel: &str, rule: &str, severity: &str, alerts: usize) {
        self.firing
            .with_label_values(&[channel, rule, severity])
            .set(i64::try_from(alerts).unwrap_or(i64::MAX));
    }

    /// Removes a rule.
    pub fn forget_rule(&self, channel: &str, rule: &str, severity: &str) {
        // A rule that was never evaluated has no value.
        let _ = self.firing.remove_label_values(&[channel, rule, severity]);
    }

    /// Updates the numbers of messages to a receiver.
    pub fn messages(&self, receiver: &str, counts: MessageCounts) {
        let MessageCounts { sent, failed, dropped } = counts;
        for (result, count) in [("sent", sent), ("failed", failed), ("dropped", dropped)] {
            raise_to(&self.messages.with_label_values(&[receiver, result]), count);
        }
    }

    /// Counts a snapshot that a handler got.
    pub fn handler_run(&self, channel: &str, handler: &str, is_handled: bool) {
        let result = if is_handled { "done" } else { "failed" };
        self.handler_runs.with_label_values(&[channel, handler, result]).inc();
    }
}
