//! The alerts of a channel: the phases of all rules, what each receiver knows, and what has happened lately.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aint_queue_core::condition::{Field, Values};
use serde::{Deserialize, Serialize};

use super::group::{Concern, Due, Group, Timing};
use super::phase::{Ended, Phase, Verdict};
use super::{Alert, AlertStatus, Fingerprint, Notification};
use crate::config::alerts::{Alerts, ReceiverKind, Rule, Severity};
use crate::job::Timestamp;
use crate::store::{MAX_ALERT_STATE_BYTES, Silence};

/// Form of the stored book. A book of a higher version is not read.
const VERSION: u32 = 1;
/// Most ended alerts that are remembered.
const MAX_RECENT: usize = 20;
/// Rules that are pointless while the channel is paused or has no workers.
const MUTED_WITHOUT_WORK: [&str; 3] = ["stalled", "backlog", "slow"];
/// Time between two messages about a firing alert to an Alertmanager, which ends it four minutes after the last one.
const ALERTMANAGER_RESEND: Duration = Duration::from_secs(60);
/// The rule of a channel without workers.
const DEGRADED: &str = "degraded";
/// The rule of a host without a store, which explains every other alert of that host.
pub(super) const STORE_DOWN: &str = "store_down";

/// The alerts of a channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertBook {
    version: u32,
    alerts: BTreeMap<Fingerprint, AlertRecord>,
    /// The messages to each receiver.
    groups: BTreeMap<String, Group>,
    /// The last ended alerts, the newest last.
    recent: VecDeque<EndedAlert>,
    /// The last answer of each receiver.
    answers: BTreeMap<String, Answer>,
    /// The messages that are on their way, by receiver.
    #[serde(skip)]
    sending: BTreeMap<String, Due>,
}

/// An alert that is pending, fires, or has ended without a message about its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// The rule.
    pub rule: String,
    /// The host, for a rule over values of one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The severity.
    pub severity: Severity,
    /// The condition.
    pub condition: String,
    /// The phase.
    #[serde(flatten)]
    pub phase: Phase,
    /// The values that the condition names, when it was true last.
    pub values: BTreeMap<String, f64>,
}

/// An alert that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedAlert {
    /// The rule.
    pub rule: String,
    /// The host, for a rule over values of one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The severity.
    pub severity: Severity,
    /// Begin and end.
    #[serde(flatten)]
    pub ended: Ended,
}

/// The last answer of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The time.
    pub at: Timestamp,
    /// The reason why the message was not delivered; `None` if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The circumstances that decide which alerts are sent.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The channel.
    pub channel: &'a str,
    /// The settings of `[alerts]`.
    pub settings: &'a Alerts,
    /// The rules of the channel.
    pub rules: &'a [Rule],
    /// The silences in force.
    pub silences: &'a [Silence],
    /// Whether the channel is paused.
    pub is_paused: bool,
    /// The time by the store's clock.
    pub now: Timestamp,
}

impl AlertBook {
    /// The stored book; an empty one for no text. `None` for a text of another form.
    #[must_use]
    pub fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::default()) };
        serde_json::from_str(text).ok().filter(|book: &Self| book.version <= VERSION)
    }

    /// The text to store: without what is merely shown, if it would be too large with that. `None` if it is too large without, too.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let text = |book: &Self| serde_json::to_string(book).ok();
        let fits = |text: &String| text.len() <= MAX_ALERT_STATE_BYTES;
        let whole = Self { version: VERSION, ..self.clone() };
        text(&whole).filter(fits).or_else(|| {
            let less = Self { recent: VecDeque::new(), answers: BTreeMap::new(), ..whole };
            text(&less).filter(fits)
        })
    }

    /// Whether both books differ in values at most, which change all the time and are stored with the next change.
    #[must_use]
    pub fn is_same_but_values(&self, other: &Self) -> bool {
        let outline = |book: &Self| {
            let mut book = book.clone();
            book.sending.clear();
            book.version = VERSION;
            book.alerts.values_mut().for_each(|record| record.values.clear());
            book
        };
        outline(self) == outline(other)
    }

    /// The alerts that are pending, fire, or have ended without a message about their ends.
    pub fn alerts(&self) -> impl Iterator<Item = (Fingerprint, &AlertRecord)> {
        self.alerts.iter().map(|(alert, record)| (*alert, record))
    }

    /// The last ended alerts, the newest first.
    pub fn recent(&self) -> impl Iterator<Item = &EndedAlert> {
        self.recent.iter().rev()
    }

    /// The last answers of the receivers.
    #[must_use]
    pub fn answers(&self) -> &BTreeMap<String, Answer> {
        &self.answers
    }

    /// The last message about an alert to any receiver.
    #[must_use]
    pub fn last_sent(&self, alert: Fingerprint) -> Option<Timestamp> {
        self.groups.values().filter_map(|group| group.last_sent(alert)).max()
    }

    /// The number of firing alerts of this rule.
    #[must_use]
    pub fn firing(&self, rule: &str) -> usize {
        self.alerts.values().filter(|record| record.rule == rule && record.phase.is_firing()).count()
    }

    /// The number of pending alerts of this rule.
    #[must_use]
    pub fn pending(&self, rule: &str) -> usize {
        let is_pending =
            |record: &&AlertRecord| record.rule == rule && matches!(record.phase, Phase::Pending { .. });
        self.alerts.values().filter(is_pending).count()
    }

    /// Evaluates the rules; alerts of other rules end. `host` is the host whose values these are, if they are of one.
    pub fn evaluate<'r>(
        &mut self,
        channel: &str,
        host: Option<&str>,
        rules: impl Iterator<Item = &'r Rule>,
        values: &impl Values,
        now: Timestamp,
    ) {
        let mut known = BTreeSet::new();
        for rule in rules {
            let alert = Fingerprint::of(channel, &rule.name, host);
            known.insert(alert);
            let when = rule.when.evaluate(values);
            let over = match &rule.until {
                Some(until) => until.evaluate(values),
                None => when.map(|when| !when),
            };
            let before = self.alerts.get(&alert).map(|record| record.phase);
            match Phase::next(before, rule, Verdict { when, over }, now) {
                Some(phase) => self.set(alert, rule, host, phase, when.unwrap_or(false).then_some(values)),
                None => drop(self.alerts.remove(&alert)),
            }
        }
        for (_, record) in self.alerts.iter_mut().filter(|(alert, _)| !known.contains(*alert)) {
            match record.phase {
                Phase::Firing { since, .. } => {
                    record.phase = Phase::Ended(Ended { since, at: now });
                    self.recent.push_back(ended_alert(record));
                }
                Phase::Pending { before: Some(ended), .. } => record.phase = Phase::Ended(ended),
                // Dropped below, since no receiver knows it.
                Phase::Pending { before: None, .. } => {
                    record.phase = Phase::Ended(Ended { since: now, at: now });
                }
                Phase::Ended(_) => {}
            }
        }
        self.forget();
    }

    /// The messages that are due now. Each is on its way until [`AlertBook::sent`] has its result.
    pub fn due(&mut self, circumstances: &Circumstances<'_>) -> Vec<(String, Due)> {
        let Circumstances { settings, now, .. } = *circumstances;
        let timing = Timing {
            group_wait: settings.group_wait,
            group_interval: settings.group_interval,
            send_resolved: settings.send_resolved,
        };
        let muted = self.muted(circumstances);
        let gets_alerts = |kind: &ReceiverKind| !matches!(kind, ReceiverKind::Heartbeat { .. });
        self.groups.retain(|name, _| settings.receivers.get(name).is_some_and(|r| gets_alerts(&r.kind)));
        let mut due = Vec::new();
        for (name, receiver) in settings.receivers.iter().filter(|(_, receiver)| gets_alerts(&receiver.kind))
        {
            if self.sending.contains_key(name) {
                continue;
            }
            let mut concern = self.concern(name, circumstances, &muted);
            let mut timing = timing;
            if let ReceiverKind::Alertmanager { .. } = receiver.kind {
                // Alertmanager groups and repeats by itself, and ends an alert of which it does not hear.
                timing = Timing { group_wait: Duration::ZERO, group_interval: Duration::ZERO, ..timing };
                concern.firing.values_mut().for_each(|resend| *resend = ALERTMANAGER_RESEND);
            }
            let group = self.groups.entry(name.clone()).or_default();
            if let Some(message) = group.due(&concern, timing, now) {
                self.sending.insert(name.clone(), message.clone());
                due.push((name.clone(), message));
            }
        }
        self.groups.retain(|name, group| !group.is_idle() || self.sending.contains_key(name));
        self.forget();
        due
    }

    /// The message about these alerts. `values` are the present ones.
    #[must_use]
    pub fn notification(
        &self,
        due: &Due,
        circumstances: &Circumstances<'_>,
        sender: &str,
        public_url: Option<&str>,
        values: &impl Values,
    ) -> Notification {
        let present: BTreeMap<Field, f64> =
            Field::ALL.iter().filter_map(|field| Some((*field, values.value(*field)?))).collect();
        let rule_of = |name: &str| circumstances.rules.iter().find(|rule| *rule.name == *name);
        let alert = |(alert, status): (&Fingerprint, Option<AlertStatus>)| {
            let record = self.alerts.get(alert)?;
            let rule = rule_of(&record.rule);
            let then = record.values.iter().filter_map(|(name, value)| Some((Field::named(name)?, *value)));
            let mut values = present.clone();
            // An end is described by the values of the alert; its condition is false by now.
            values.extend(then.filter(|_| status.is_some()));
            let (started_at, status) = match (status, record.phase) {
                (None, Phase::Firing { since, .. }) => (since, AlertStatus::Firing),
                (None, _) => return None,
                (Some(status), phase) => (phase.ended()?.since, status),
            };
            Some(Alert {
                rule: record.rule.as_str().into(),
                severity: record.severity,
                status,
                host: record.host.clone(),
                condition: record.condition.clone(),
                summary: rule.and_then(|rule| rule.summary.clone()),
                runbook: rule.and_then(|rule| rule.runbook.clone()),
                values,
                fields: record.values.keys().filter_map(|name| Field::named(name)).collect(),
                started_at,
                fingerprint: *alert,
            })
        };
        let ended =
            |alert: &Fingerprint| Some(AlertStatus::Resolved(self.alerts.get(alert)?.phase.ended()?.at));
        let firing = due.firing.iter().filter_map(|fingerprint| alert((fingerprint, None)));
        let resolved = due.resolved.iter().filter_map(|fingerprint| alert((fingerprint, ended(fingerprint))));
        let mut alerts: Vec<_> = firing.chain(resolved).collect();
        alerts.sort_by_key(|alert| {
            (alert.status != AlertStatus::Firing, std::cmp::Reverse(alert.severity), Arc::clone(&alert.rule))
        });
        Notification {
            channel: circumstances.channel.into(),
            alerts,
            at: circumstances.now,
            sender: sender.to_owned(),
            public_url: public_url.map(str::to_owned),
            is_test: false,
        }
    }

    /// Whether a message is on its way.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.sending.is_empty()
    }

    /// Takes back messages that are not sent after all: they are due again. Earlier messages to other receivers stay on their way.
    pub fn take_back<'r>(&mut self, receivers: impl IntoIterator<Item = &'r str>) {
        for receiver in receivers {
            self.sending.remove(receiver);
        }
    }

    /// Notes the result of a message; the error is that of a message which was not delivered.
    pub fn sent(&mut self, receiver: &str, error: Option<String>, now: Timestamp) {
        let Some(due) = self.sending.remove(receiver) else { return };
        self.groups.entry(receiver.to_owned()).or_default().sent(&due, error.is_none(), now);
        self.answers.insert(receiver.to_owned(), Answer { at: now, error });
        self.forget();
    }

    /// The alerts that this receiver gets now, and the ends that it may get.
    fn concern(
        &self,
        receiver: &str,
        circumstances: &Circumstances<'_>,
        muted: &BTreeSet<Fingerprint>,
    ) -> Concern {
        let Circumstances { channel, settings, rules, .. } = *circumstances;
        let mut concern = Concern::default();
        for (alert, record) in self.alerts.iter().filter(|(alert, _)| !muted.contains(*alert)) {
            if record.phase.ended().is_some() {
                concern.over.insert(*alert);
            }
            let Some(rule) = rules.iter().find(|rule| *rule.name == *record.rule) else { continue };
            let gets = match &rule.to {
                Some(to) => to.iter().any(|name| name == receiver),
                None => settings.receivers_of(channel, &rule.name, rule.severity).contains(&receiver),
            };
            if gets && record.phase.is_firing() {
                concern.firing.insert(*alert, rule.resend.unwrap_or(settings.resend));
            }
        }
        concern
    }

    /// The alerts of which nothing is sent now: silenced, in quiet hours, or pointless beside another one.
    fn muted(&self, circumstances: &Circumstances<'_>) -> BTreeSet<Fingerprint> {
        let Circumstances { settings, silences, is_paused, now, .. } = *circumstances;
        let no_work = is_paused || self.firing(DEGRADED) > 0;
        let no_store = self.firing(STORE_DOWN) > 0;
        let wall = jiff::Timestamp::from_microsecond(now.0.cast_signed()).unwrap_or_default();
        let is_muted = |record: &AlertRecord| {
            let rule = record.rule.as_str();
            silences.iter().any(|silence| now < silence.until && silence.covers(rule))
                || settings.quiet_hours.iter().any(|hours| hours.holds(wall, record.severity))
                || (no_work && record.phase.is_firing() && MUTED_WITHOUT_WORK.contains(&rule))
                || (no_store && record.phase.is_firing() && rule != STORE_DOWN)
        };
        self.alerts.iter().filter(|(_, record)| is_muted(record)).map(|(alert, _)| *alert).collect()
    }

    fn set(
        &mut self,
        alert: Fingerprint,
        rule: &Rule,
        host: Option<&str>,
        phase: Phase,
        true_values: Option<&impl Values>,
    ) {
        let record = self.alerts.entry(alert).or_insert_with(|| AlertRecord {
            rule: rule.name.to_string(),
            host: host.map(str::to_owned),
            severity: rule.severity,
            condition: rule.when.to_string(),
            phase,
            values: BTreeMap::new(),
        });
        let has_ended = record.phase.is_firing() && !phase.is_firing();
        (record.phase, record.severity) = (phase, rule.severity);
        record.condition = rule.when.to_string();
        if let Some(values) = true_values {
            let known = |field: Field| Some((field.name().to_owned(), values.value(field)?));
            record.values = rule.when.fields().into_iter().filter_map(known).collect();
        }
        if has_ended {
            self.recent.push_back(ended_alert(record));
        }
    }

    /// Drops ended alerts that no receiver waits for, and old ones of the recent.
    fn forget(&mut self) {
        let (groups, sending) = (&self.groups, &self.sending);
        let is_known = |alert: Fingerprint| {
            groups.values().any(|group| group.knows(alert))
                || sending.values().any(|due| due.firing.contains(&alert) || due.resolved.contains(&alert))
        };
        self.alerts.retain(|alert, record| !matches!(record.phase, Phase::Ended(_)) || is_known(*alert));
        while self.recent.len() > MAX_RECENT {
            self.recent.pop_front();
        }
    }
}

/// An alert as it is remembered.
fn ended_alert(record: &AlertRecord) -> EndedAlert {
    let ended = record.phase.ended().unwrap_or_default();
    EndedAlert { rule: record.rule.clone(), host: record.host.clone(), severity: record.severity, ended }
}

#[cfg(test)]
mod tests;
