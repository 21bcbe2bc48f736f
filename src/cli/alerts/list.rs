//! `queue:alerts`: the alerts of channels, their silences, and the answers of their receivers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aint_queue_core::condition::Field;
use serde::Serialize;

use super::try_condition::value_text;
use crate::alerts::{AlertBook, AlertRecord, EndedAlert, HostReport, Phase, ReceiverStatus};
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
    now: Timestamp,
    watched_by: Option<String>,
    hosts: BTreeSet<String>,
    silences: Vec<Silence>,
    /// The deliveries of each running master that have something to say, by host and receiver.
    deliveries: Vec<(String, String, ReceiverStatus)>,
    /// Hosts with further ones, for which their reports had no room, and how many.
    left_out: Vec<(String, usize)>,
    /// The book of the channel, and that of this host.
    books: Vec<AlertBook>,
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
        let reports: Vec<_> = records
            .reports
            .iter()
            .filter_map(|report| Some((report.watcher.as_str(), HostReport::read(&report.text)?)))
            .collect();
        let holder = records.holder.as_ref().map(|(name, _)| name.as_str());
        let host_of = |watcher: &str| {
            let report = reports.iter().find(|(name, _)| *name == watcher);
            report.map_or_else(|| "unknown".to_owned(), |(_, report)| report.host.clone())
        };
        let own = std::fs::read_to_string(master::host_alerts_file(channel)).ok();
        Self {
            now: records.now,
            watched_by: holder.map(host_of),
            hosts: reports.iter().map(|(_, report)| report.host.clone()).collect(),
            deliveries: reports.iter().flat_map(|(_, report)| deliveries(report)).collect(),
            left_out: reports
                .iter()
                .map(|(_, report)| (report.host.clone(), report.left_out()))
                .filter(|(_, left_out)| *left_out > 0)
                .collect(),
            handlers,
            silences: records.silences,
            books: [records.state, own].iter().filter_map(|text| AlertBook::read(text.as_deref())).collect(),
        }
    }

    fn is_silenced(&self, rule: &str) -> bool {
        self.silences.iter().any(|silence| silence.covers(rule))
    }

    /// The alerts of all books: firing ones first, the more severe ones first.
    fn alerts(&self) -> Vec<(&AlertRecord, &'static str, Option<Timestamp>, String)> {
        let mut alerts: Vec<_> = self
            .books
            .iter()
            .flat_map(|book| book.alerts().map(move |(alert, record)| (book, alert, record)))
            .filter_map(|(book, alert, record)| {
                let state = match record.phase {
                    Phase::Firing { .. } => "firing",
                    Phase::Pending { .. } => "pending",
                    Phase::Ended(_) => return None,
                };
                Some((record, state, book.last_sent(alert), alert.to_string()))
            })
            .collect();
        alerts.sort_by_key(|(record, state, ..)| (*state != "firing", std::cmp::Reverse(record.severity)));
        alerts
    }

    fn recent(&self) -> Vec<&EndedAlert> {
        let mut recent: Vec<_> = self.books.iter().flat_map(AlertBook::recent).collect();
        recent.sort_by_key(|ended| std::cmp::Reverse(ended.ended.at));
        recent
    }

    fn ago(&self, at: Timestamp) -> String {
        age(self.now.since(at))
    }

    fn text(&self, channel: &Channel, width: Option<usize>) -> String {
        let name = &channel.name;
        if channel.rules.is_empty() {
            let none = format!(
                "Channel \"{name}\" has no rules of alerts: no receiver is declared. docs/alerts.md shows how to declare one.\n"
            );
            return (none + &self.handler_lines()).trim_end().to_owned();
        }
        let watched = match &self.watched_by {
            Some(host) => format!("watched by {}", shown(host)),
            None => "watched by no master".to_owned(),
        };
        let rules = channel.rules.len();
        let mut text = format!("Channel \"{name}\": {rules} rules, {watched}\n");
        let alerts = self.alerts();
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
            let row = |(record, state, sent, _): &(&AlertRecord, &str, Option<Timestamp>, String)| {
                let since = match record.phase {
                    Phase::Firing { since, .. } | Phase::Pending { since, .. } => since,
                    Phase::Ended(ended) => ended.since,
                };
                let state = if self.is_silenced(&record.rule) {
                    format!("{state}, silent")
                } else {
                    (*state).to_owned()
                };
                let host =
                    record.host.as_ref().map_or_else(String::new, |host| format!(" on {}", shown(host)));
                vec![
                    state,
                    shown(&record.rule),
                    record.severity.to_string(),
                    self.ago(since),
                    sent.map_or_else(|| "not yet".to_owned(), |at| format!("{} ago", self.ago(at))),
                    format!("{}{host}", values_text(record)),
                ]
            };
            text.push_str(&render(COLUMNS, alerts.iter().map(row), width));
        }
        for silence in &self.silences {
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
        for (receiver, answer) in self.books.iter().flat_map(AlertBook::answers) {
            let (receiver, ago) = (shown(receiver), self.ago(answer.at));
            text.push_str(&match &answer.error {
                None => format!("Receiver {receiver}: took a message {ago} ago\n"),
                Some(error) => format!("Receiver {receiver}: failed {ago} ago: {}\n", shown(error)),
            });
        }
        for (host, receiver, delivery) in &self.deliveries {
            text.push_str(&self.delivery_line(host, receiver, delivery));
        }
        for (host, left_out) in &self.left_out {
            let host = shown(host);
            text.push_str(&format!(
                "{left_out} more receivers on {host} have trouble: see the log of its master\n"
            ));
        }
        text.push_str(&self.handler_lines());
        for ended in self.recent().iter().take(5) {
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
        let said =
            self.books.iter().flat_map(AlertBook::answers).filter_map(|(_, answer)| answer.error.as_deref());
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
        let alert =
            |(record, state, sent, fingerprint): (&AlertRecord, &'static str, Option<Timestamp>, String)| {
                let since = match record.phase {
                    Phase::Firing { since, .. } | Phase::Pending { since, .. } => since,
                    Phase::Ended(ended) => ended.since,
                };
                AlertJson {
                    rule: record.rule.clone(),
                    host: record.host.clone(),
                    severity: record.severity,
                    state,
                    condition: record.condition.clone(),
                    since: time::rfc3339(since),
                    values: record.values.clone(),
                    silenced: self.is_silenced(&record.rule),
                    last_sent: sent.and_then(time::rfc3339),
                    fingerprint,
                }
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
        let answers = self.books.iter().flat_map(AlertBook::answers).map(|(receiver, answer)| AnswerJson {
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
            watched_by: self.watched_by.clone(),
            hosts: self.hosts.iter().cloned().collect(),
            rules: channel.rules.len(),
            alerts: self.alerts().into_iter().map(alert).collect(),
            silences: self.silences.iter().map(silence).collect(),
            receivers: answers.collect(),
            deliveries: self.deliveries.iter().map(delivery).collect(),
            deliveries_left_out: (!self.left_out.is_empty())
                .then(|| self.left_out.iter().map(|(_, left_out)| left_out).sum()),
            snapshot_handlers: self.handlers.clone(),
            recent: self.recent().into_iter().map(ended).collect(),
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

fn deliveries(report: &HostReport) -> impl Iterator<Item = (String, String, ReceiverStatus)> {
    let host = &report.host;
    let all = report.deliveries().iter();
    all.map(move |(receiver, delivery)| (host.clone(), receiver.clone(), delivery.clone()))
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
