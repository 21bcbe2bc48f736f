//! The alerts of a channel as JSON, the same from `queue:alerts` and from the dashboard.

use std::collections::BTreeMap;

use serde::Serialize;

use super::book::EndedAlert;
use super::channel_alerts::{ChannelAlerts, PresentAlert};
use super::outbox::ReceiverStatus;
use crate::config::alerts::Severity;
use crate::store::Silence;
use crate::wording::time::rfc3339;

/// The alerts of a channel as JSON.
#[derive(Debug, Serialize)]
pub struct ChannelAlertsJson {
    /// The host that watches the channel; absent if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    watched_by: Option<String>,
    /// Hosts whose masters take part.
    hosts: Vec<String>,
    /// Rules of the channel in this configuration.
    rules: usize,
    alerts: Vec<AlertJson>,
    silences: Vec<SilenceJson>,
    receivers: Vec<AnswerJson>,
    deliveries: Vec<DeliveryJson>,
    /// Further ones, which the reports of the masters have no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries_left_out: Option<usize>,
    recent: Vec<EndedJson>,
}

#[derive(Debug, Serialize)]
struct AlertJson {
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    severity: Severity,
    state: &'static str,
    condition: String,
    since: Option<String>,
    values: BTreeMap<String, f64>,
    silenced: bool,
    last_sent: Option<String>,
    fingerprint: String,
}

#[derive(Debug, Serialize)]
struct SilenceJson {
    rule: String,
    until: Option<String>,
    comment: String,
}

#[derive(Debug, Serialize)]
struct AnswerJson {
    receiver: String,
    at: Option<String>,
    delivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct DeliveryJson {
    host: String,
    receiver: String,
    sent: u64,
    failed: u64,
    dropped: u64,
    waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    muted_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct EndedJson {
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    severity: Severity,
    from: Option<String>,
    to: Option<String>,
}

impl ChannelAlertsJson {
    /// The alerts for a reader without a token: without the texts of people and of services.
    #[must_use]
    pub fn without_texts(mut self) -> Self {
        self.silences.iter_mut().for_each(|silence| silence.comment.clear());
        self.receivers.iter_mut().for_each(|answer| answer.error = None);
        self.deliveries.iter_mut().for_each(|delivery| delivery.error = None);
        self
    }
}

impl ChannelAlerts {
    /// The alerts as JSON, with the number of rules that the channel has.
    #[must_use]
    pub fn json(&self, rules: usize) -> ChannelAlertsJson {
        let alert = |alert: PresentAlert<'_>| AlertJson {
            rule: alert.record.rule.clone(),
            host: alert.record.host.clone(),
            severity: alert.record.severity,
            state: alert.state(),
            condition: alert.record.condition.clone(),
            since: rfc3339(alert.since),
            values: alert.record.values.clone(),
            silenced: self.is_silenced(&alert.record.rule),
            last_sent: alert.last_sent.and_then(rfc3339),
            fingerprint: alert.fingerprint.to_string(),
        };
        let silence = |silence: &Silence| SilenceJson {
            rule: silence.rule.clone(),
            until: rfc3339(silence.until),
            comment: silence.comment.clone(),
        };
        let ended = |ended: &EndedAlert| EndedJson {
            rule: ended.rule.clone(),
            host: ended.host.clone(),
            severity: ended.severity,
            from: rfc3339(ended.ended.since),
            to: rfc3339(ended.ended.at),
        };
        let answers = self.answers().map(|(receiver, answer)| AnswerJson {
            receiver: receiver.clone(),
            at: rfc3339(answer.at),
            delivered: answer.error.is_none(),
            error: answer.error.clone(),
        });
        let delivery = |(host, receiver, delivery): &(String, String, ReceiverStatus)| DeliveryJson {
            host: host.clone(),
            receiver: receiver.clone(),
            sent: delivery.counts.sent,
            failed: delivery.counts.failed,
            dropped: delivery.counts.dropped,
            waiting: delivery.waiting,
            muted_until: delivery.muted_until.and_then(rfc3339),
            error: delivery.last_error.clone(),
        };
        ChannelAlertsJson {
            watched_by: self.watched_by.clone(),
            hosts: self.hosts.iter().cloned().collect(),
            rules,
            alerts: self.present().into_iter().map(alert).collect(),
            silences: self.silences.iter().map(silence).collect(),
            receivers: answers.collect(),
            deliveries: self.deliveries.iter().map(delivery).collect(),
            deliveries_left_out: (!self.left_out.is_empty())
                .then(|| self.left_out.iter().map(|(_, left_out)| left_out).sum()),
            recent: self.recent().into_iter().map(ended).collect(),
        }
    }
}
