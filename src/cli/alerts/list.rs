//! `queue:alerts`: the alerts of channels, their silences, and the answers of their receivers.

use std::collections::BTreeMap;
use std::time::Duration;

use aint_queue_core::condition::Field;
use serde::Serialize;

use super::try_condition::value_text;
use crate::alerts::{AlertRecord, ChannelAlerts, ChannelAlertsJson, PresentAlert, ReceiverStatus};
use crate::cli::per_channel::{self, ChannelDone};
use crate::cli::table::{Column, render};
use crate::cli::{CommandContext, Failure, control, sanitize, time};
use crate::config::Channel;
use crate::control::{ControlRequest, ControlResponse};
use crate::job::Timestamp;
use crate::master;
use crate::snapshot::HandlerStatus;
use crate::store::{AlertRecords, Silence};

/// Most characters of a text of the store in a line.
const MAX_SHOWN: usize = 300;

/// The alerts of a channel as JSON.
#[derive(Debug, Serialize)]
struct SeenJson {
    #[serde(flatten)]
    alerts: ChannelAlertsJson,
    /// The snapshot handlers of the master on this machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    snapshot_handlers: BTreeMap<String, HandlerStatus>,
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

    fn json(&self, channel: &Channel) -> SeenJson {
        SeenJson { alerts: self.alerts.json(channel.rules.len()), snapshot_handlers: self.handlers.clone() }
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
