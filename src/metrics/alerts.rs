//! The metrics of alerts, their receivers, and handlers of snapshots.

use prometheus::{IntCounterVec, IntGaugeVec};
use serde::{Deserialize, Serialize};

use super::{Declaration, raise_to};

/// States of alerts that are exported.
const ALERT_STATES: [&str; 2] = ["pending", "firing"];

/// The metrics of alerts.
#[derive(Clone, Debug)]
pub struct AlertMetrics {
    alerts: IntGaugeVec,
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
            alerts: declare.gauges(
                "aint_queue_alerts",
                "Alerts by rule, pending or firing; 0 in a master that does not evaluate the rule now. Use max by (channel, rule, state).",
                &["rule", "severity", "state"],
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

    /// Sets the numbers of pending and firing alerts of a rule.
    pub fn alerts(&self, channel: &str, rule: &str, severity: &str, pending: usize, firing: usize) {
        for (state, alerts) in ALERT_STATES.into_iter().zip([pending, firing]) {
            let gauge = self.alerts.with_label_values(&[channel, rule, severity, state]);
            gauge.set(i64::try_from(alerts).unwrap_or(i64::MAX));
        }
    }

    /// Removes a rule.
    pub fn forget_rule(&self, channel: &str, rule: &str, severity: &str) {
        for state in ALERT_STATES {
            // A rule that was never evaluated has no value.
            let _ = self.alerts.remove_label_values(&[channel, rule, severity, state]);
        }
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
