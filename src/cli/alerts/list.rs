//! `queue:alerts`: the alerts of channels, their silences, and the answers of their receivers.

use std::collections::BTreeMap;
use std::time::Duration;

use aint_queue_core::condition::Field;
use serde::Serialize;

use super::try_condition::value_text;
use crate::alerts::{AlertRecord, ChannelAlerts, EndedAlert, PresentAlert, ReceiverStatus};
use crate::cli::per_channel::{self, ChannelDone};
use crate::cli::table::{Column, render};
use crate::cli::{CommandContext, Failure, control, sanitize, time};
use crate::config::Channel;
use crate::config::alerts::Severity;
use crate::control::{ControlRequest, ControlResponse};
use crate::job::Timestamp;
use crate::master;
use crate::snapshot::HandlerStatus;
use crate::store::{AlertRecords, Silence};

/// Most characters of a text of the store in a line.
const MAX_SHOWN: usize = 300;

/// The alerts of a channel as JSON.
#[derive(Debug, Serialize)]
struct ChannelJson {
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
    /// The snapshot handlers of the master on this machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    snapshot_handlers: BTreeMap<String, HandlerStatus>,
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

/// The known alerts of a channel.
struct Seen {
    alerts: ChannelAlerts,
    /// The snapshot handlers of the master on this machine, by name.
    handlers: BTreeMap<String, HandlerStatus>,
}

/// Lists the alerts of channels.
pub(super) fn list(context: &CommandContext, channels: &[&Channel]) -> Result<(), Failure> {
    per_channel::these(context, channels, |channel| {
        let doing = format!("list the alerts of channel \"{}\"", channel.name);
        let records = context.call_store(channel, doing, async |store| store.alerts().await)?;
        let seen = Seen::of(channel, records, handlers(channel));
        let text = seen.text(channel, context.columns());
        Ok(ChannelDone::new(channel, text, seen.json(channel)))
    })
}

impl Seen {
    fn of(channel: &Channel, records: AlertRecords, handlers: BTreeMap<String, HandlerStatus>) -> Self {
        let own = std::fs::read_to_string(master::host_alerts_file(channel)).ok();
        Self { alerts: ChannelAlerts::of(records, own.as_deref()), handlers }
    }

    fn ago(&self, at: Timestamp) -> String {
        age(self.alerts.now.since(at))
    }

    fn text(&self, channel: &Channel, width: Option<usize>) -> String {
        let name = &channel.name;
        if channel.rules.is_empty() {
            let none = format!(
                "Channel \"{name}\" has no rules of alerts: no receiver is declared. docs/alerts.md shows how to declare one.\n"
            );
            return (none + &self.handler_lines()).trim_end().to_owned();
        }
        let watched = match &self.alerts.watched_by {
            Some(host) => format!("watched by {}", shown(host)),
            None => "watched by no master".to_owned(),
        };
        let rules = channel.rules.len();
        let mut text = format!("Channel \"{name}\": {rules} rules, {watched}\n");
        let alerts = self.alerts.present();
        if alerts.is_empty() {
            text.push_str("No alert fires.\n");
        } else {
            const COLUMNS: &[Column] = &[
                Column::fixed("state"),
                Column::fixed("rule"),
                Column::fixed("severity"),
                Column::fixed("for"),
                Column::fixed("sent"),
                Column::remark("values", 24),
            ];
            let row = |alert: &PresentAlert<'_>| {
                let record = alert.record;
                let silent = if self.alerts.is_silenced(&record.rule) { ", silent" } else { "" };
                let host =
                    record.host.as_ref().map_or_else(String::new, |host| format!(" on {}", shown(host)));
                vec![
                    format!("{}{silent}", alert.state()),
                    shown(&record.rule),
                    record.severity.to_string(),
                    self.ago(alert.since),
                    alert
                        .last_sent
                        .map_or_else(|| "not yet".to_owned(), |at| format!("{} ago", self.ago(at))),
                    format!("{}{host}", values_text(record)),
                ]
            };
            text.push_str(&render(COLUMNS, alerts.iter().map(row), width));
        }
        for silence in &self.alerts.silences {
            let comment = if silence.comment.is_empty() {
                String::new()
            } else {
                format!(": {}", shown(&silence.comment))
            };
            let rule = if silence.rule == Silence::ALL_RULES {
                "all rules".to_owned()
            } else {
                shown(&silence.rule)
            };
            text.push_str(&format!("Silent until {}: {rule}{comment}\n", time::local(silence.until)));
        }
        for (receiver, answer) in self.alerts.answers() {
            let (receiver, ago) = (shown(receiver), self.ago(answer.at));
            text.push_str(&match &answer.error {
                None => format!("Receiver {receiver}: took a message {ago} ago\n"),
                Some(error) => format!("Receiver {receiver}: failed {ago} ago: {}\n", shown(error)),
            });
        }
        for (host, receiver, delivery) in &self.alerts.deliveries {
            text.push_str(&self.delivery_line(host, receiver, delivery));
        }
        for (host, left_out) in &self.alerts.left_out {
            let host = shown(host);
            text.push_str(&format!(
                "{left_out} more receivers on {host} have trouble: see the log of its master\n"
            ));
        }
        text.push_str(&self.handler_lines());
        for ended in self.alerts.recent().iter().take(5) {
            let host = ended.host.as_ref().map_or_else(String::new, |host| format!(" on {}", shown(host)));
            text.push_str(&format!(
                "Ended {} ago: {}{host}, after {}\n",
                self.ago(ended.ended.at),
                shown(&ended.rule),
                age(ended.ended.at.since(ended.ended.since))
            ));
        }
        text.trim_end().to_owned()
    }

    /// The trouble of a receiver, from the master of a host.
    fn delivery_line(&self, host: &str, receiver: &str, delivery: &ReceiverStatus) -> String {
        let ReceiverStatus { counts, waiting, muted_until, last_error, .. } = delivery;
        let mut parts = Vec::new();
        parts.extend(muted_until.map(|until| format!("muted until {}", time::local(until))));
        let counts = [("waiting", *waiting as u64), ("failed", counts.failed), ("dropped", counts.dropped)];
        parts.extend(
            counts.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{count} {word}")),
        );
        let said = self.alerts.answers().filter_map(|(_, answer)| answer.error.as_deref());
        let is_said = |error: &str| said.clone().any(|said| said.starts_with(error));
        let error = last_error.as_deref().filter(|error| !is_said(error));
        let mut parts = vec![parts.join(", ")];
        parts.extend(error.map(shown));
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() {
            return String::new();
        }
        let (receiver, host) = (shown(receiver), shown(host));
        format!("Receiver {receiver} on {host}: {}\n", parts.join(": "))
    }

    /// The trouble of snapshot handlers.
    fn handler_lines(&self) -> String {
        let failing = self.handlers.iter().filter(|(_, status)| status.failed > 0);
        let line = |(name, HandlerStatus { done, failed, error }): (&String, &HandlerStatus)| {
            let error = error.as_deref().map_or_else(|| "the last one was handled".to_owned(), shown);
            format!(
                "Snapshot handler {}: {failed} of {} snapshots failed: {error}\n",
                shown(name),
                done + failed
            )
        };
        failing.map(line).collect()
    }

    fn json(&self, channel: &Channel) -> ChannelJson {
        let alert = |alert: PresentAlert<'_>| AlertJson {
            rule: alert.record.rule.clone(),
            host: alert.record.host.clone(),
            severity: alert.record.severity,
            state: alert.state(),
            condition: alert.record.condition.clone(),
            since: time::rfc3339(alert.since),
            values: alert.record.values.clone(),
            silenced: self.alerts.is_silenced(&alert.record.rule),
            last_sent: alert.last_sent.and_then(time::rfc3339),
            fingerprint: alert.fingerprint.to_string(),
        };
        let silence = |silence: &Silence| SilenceJson {
            rule: silence.rule.clone(),
            until: time::rfc3339(silence.until),
            comment: silence.comment.clone(),
        };
        let ended = |ended: &EndedAlert| EndedJson {
            rule: ended.rule.clone(),
            host: ended.host.clone(),
            severity: ended.severity,
            from: time::rfc3339(ended.ended.since),
            to: time::rfc3339(ended.ended.at),
        };
        let answers = self.alerts.answers().map(|(receiver, answer)| AnswerJson {
            receiver: receiver.clone(),
            at: time::rfc3339(answer.at),
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
            muted_until: delivery.muted_until.and_then(time::rfc3339),
            error: delivery.last_error.clone(),
        };
        ChannelJson {
            watched_by: self.alerts.watched_by.clone(),
            hosts: self.alerts.hosts.iter().cloned().collect(),
            rules: channel.rules.len(),
            alerts: self.alerts.present().into_iter().map(alert).collect(),
            silences: self.alerts.silences.iter().map(silence).collect(),
            receivers: answers.collect(),
            deliveries: self.alerts.deliveries.iter().map(delivery).collect(),
            deliveries_left_out: (!self.alerts.left_out.is_empty())
                .then(|| self.alerts.left_out.iter().map(|(_, left_out)| left_out).sum()),
            snapshot_handlers: self.handlers.clone(),
            recent: self.alerts.recent().into_iter().map(ended).collect(),
        }
    }
}

/// The snapshot handlers of the master on this machine; none without a master.
fn handlers(channel: &Channel) -> BTreeMap<String, HandlerStatus> {
    let take = |response| match response {
        ControlResponse::Status { snapshot_handlers, .. } => Some(snapshot_handlers),
        _ => None,
    };
    control::ask(channel, "list the alerts", ControlRequest::Status, |_| {}, take).unwrap_or_default()
}

/// The values that the condition of an alert names.
fn values_text(record: &AlertRecord) -> String {
    let value = |(name, value): (&String, &f64)| {
        Field::named(name).map(|field| format!("{name} {}", value_text(field, *value)))
    };
    record.values.iter().filter_map(value).collect::<Vec<_>>().join(", ")
}

fn age(time: Duration) -> String {
    crate::cli::render::duration(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Text of a store, safe for a terminal.
fn shown(text: &str) -> String {
    sanitize::truncated(text, MAX_SHOWN)
}
