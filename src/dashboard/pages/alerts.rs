//! `/alerts`: the alerts of all channels, silences, and the receivers with what each answered last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aint_queue_core::condition::Field;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::Asked;
use super::moments::since;
use super::notice::notice;
use crate::alerts::{AlertRecord, Answer, ChannelAlerts, PresentAlert, ReceiverStatus};
use crate::config::alerts::{Receiver, Rule};
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Words, age, channel_path, clock_time, count, field_value};
use crate::dashboard::picture::{ChannelPicture, Picture};
use crate::dashboard::rights::{Can, Role, See, Visitor};
use crate::job::Timestamp;
use crate::sanitize;
use crate::store::Silence;

/// Most rows of the tables of alerts.
const MAX_ALERTS: usize = 200;
/// The part of the page that its script refreshes.
const PART: &str = "alert-page";

/// The parts of a page of alerts.
struct View<'a> {
    dashboard: &'a Dashboard,
    picture: &'a Picture,
    visitor: &'a Visitor,
    words: &'a Words,
}

/// `GET /alerts`.
pub(in crate::engine::dashboard) async fn alerts(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    asked: Asked,
) -> Response {
    let picture = dashboard.camera.picture().await;
    let words = asked.language.words();
    let view = View { dashboard: &dashboard, picture: &picture, visitor: &can.visitor, words };
    let part = html! { div data-part=(PART) data-every="5" { (view.content()) } };
    if asked.part.as_deref() == Some(PART) {
        return Html(part.into_string()).into_response();
    }
    let content = html! {
        h1 { (words.alerts) }
        (notice(asked.notice, words))
        (part)
    };
    dashboard.render(&asked.page(words.alerts, "/alerts", Some("*"), content), &can.visitor)
}

impl View<'_> {
    fn content(&self) -> Markup {
        let receivers = self.dashboard.config.alerts.iter().flat_map(|alerts| alerts.receivers.values());
        let receivers: Vec<_> = receivers.filter(|receiver| !receiver.is_handler).collect();
        html! {
            (self.troubles())
            (self.present())
            (self.silences())
            (self.receivers(&receivers))
            (self.recent())
            (self.rules())
        }
    }

    /// The channels whose alerts are known.
    fn known(&self) -> impl Iterator<Item = (&ChannelPicture, &ChannelAlerts)> {
        self.picture.channels.iter().filter_map(|channel| Some((channel, channel.alert_records.as_deref()?)))
    }

    fn rules_of(&self, channel: &str) -> &[Rule] {
        self.dashboard.config.channels.get(channel).map_or(&[][..], |channel| &channel.rules)
    }

    /// Channels whose stores do not answer: their alerts are the last known ones.
    fn troubles(&self) -> Markup {
        let words = self.words;
        let of_rules = |channel: &&ChannelPicture| !self.rules_of(&channel.name).is_empty();
        let silent =
            self.picture.channels.iter().filter(of_rules).filter(|channel| channel.store_error.is_some());
        html! {
            @for channel in silent {
                p class="failure" { (channel.name) ": " (words.store_does_not_answer) }
            }
        }
    }

    /// The alerts that fire or are about to.
    fn present(&self) -> Markup {
        let words = self.words;
        let mut alerts: Vec<_> = self
            .known()
            .flat_map(|(channel, alerts)| {
                alerts.present().into_iter().map(move |alert| (channel, alerts, alert))
            })
            .collect();
        alerts.sort_by_key(|(_, _, alert)| (!alert.is_firing, std::cmp::Reverse(alert.record.severity)));
        html! {
            section class="card" {
                h2 { (words.alert.firing_and_pending) }
                @if alerts.is_empty() {
                    p class="empty" { (words.alert.none_fires) }
                } @else {
                    table {
                        thead {
                            tr {
                                th scope="col" { (words.state) }
                                th scope="col" { (words.channel) }
                                th scope="col" { (words.alert.rule) }
                                th scope="col" { (words.alert.severity) }
                                th scope="col" class="number" { (words.alert.lasting) }
                                th scope="col" { (words.alert.values) }
                                th scope="col" class="number" { (words.alert.last_sent) }
                                @if self.is_operator() { th scope="col" { (words.alert.silence_for) } }
                            }
                        }
                        tbody {
                            @for (channel, alerts, alert) in alerts.iter().take(MAX_ALERTS) {
                                (self.alert(channel, alerts, alert))
                            }
                        }
                    }
                }
            }
        }
    }

    fn alert(&self, channel: &ChannelPicture, alerts: &ChannelAlerts, alert: &PresentAlert<'_>) -> Markup {
        let (words, record) = (self.words, alert.record);
        let is_silent = alerts.is_silenced(&record.rule);
        let (class, sign, state) = match alert.is_firing {
            _ if is_silent => ("state held", "‖", words.alert.silent),
            true => ("state bad", "⚠", words.alert.fires),
            false => ("state held", "…", words.alert.pending),
        };
        html! {
            tr id={ "alert-" (alert.fingerprint) } {
                td data-label=(words.state) { span class=(class) { span aria-hidden="true" { (sign) } " " (state) } }
                td data-label=(words.channel) { (self.channel_link(&channel.name)) }
                td data-label=(words.alert.rule) {
                    (sanitize::line(&record.rule))
                    @if let Some(host) = &record.host { " (" (sanitize::line(host)) ")" }
                }
                td data-label=(words.alert.severity) { (record.severity) }
                td class="number" data-label=(words.alert.lasting) { (since(alerts.now, alert.since)) }
                td class="wide" data-label=(words.alert.values) {
                    (values(record)) " " code { (sanitize::line(&record.condition)) }
                }
                td class="number" data-label=(words.alert.last_sent) { (sent(alerts.now, alert.last_sent, words)) }
                @if self.is_operator() {
                    td class="wide" data-label=(words.alert.silence_for) {
                        @if !is_silent { (self.silence_form(&channel.name, &record.rule)) }
                    }
                }
            }
        }
    }

    fn is_operator(&self) -> bool {
        self.visitor.role >= Role::Operator
    }

    fn channel_link(&self, name: &str) -> Markup {
        html! { a href=(self.dashboard.frame.link(&channel_path(name))) { (name) } }
    }

    /// Buttons rather than a list of times: the part is replaced while it is read, and a choice would be lost.
    fn silence_form(&self, channel: &str, rule: &str) -> Markup {
        let action = format!("{}/actions/silence", channel_path(channel));
        let times = [("3600", "1 h"), ("28800", "8 h"), ("86400", "1 d")];
        html! {
            form method="post" action=(self.dashboard.frame.link(&action)) class="session" {
                input type="hidden" name="rule" value=(rule);
                @for (seconds, time) in times {
                    button type="submit" name="seconds" value=(seconds)
                        aria-label={ (self.words.alert.silence_for) " " (time) ": " (rule) } { (time) }
                }
            }
        }
    }

    fn silences(&self) -> Markup {
        let words = self.words;
        let silences: Vec<_> = self
            .known()
            .flat_map(|(channel, alerts)| alerts.silences.iter().map(move |silence| (channel, silence)))
            .collect();
        html! {
            @if !silences.is_empty() {
                section class="card" {
                    h2 { (words.alert.silences) }
                    table {
                        thead {
                            tr {
                                th scope="col" { (words.channel) }
                                th scope="col" { (words.alert.rule) }
                                th scope="col" { (words.alert.until) }
                                th scope="col" { (words.alert.comment) }
                                @if self.is_operator() { th scope="col" { span class="hidden" { (words.alert.end_silence) } } }
                            }
                        }
                        tbody {
                            @for (channel, silence) in silences.iter().take(MAX_ALERTS) {
                                tr {
                                    td data-label=(words.channel) { (self.channel_link(&channel.name)) }
                                    td data-label=(words.alert.rule) { (rule_name(silence, words)) }
                                    td data-label=(words.alert.until) { (clock_time(silence.until)) }
                                    // Comments are for people who have a token.
                                    td class="wide" data-label=(words.alert.comment) {
                                        @if self.visitor.sees_payloads { (sanitize::line(&silence.comment)) } @else { "–" }
                                    }
                                    @if self.is_operator() {
                                        td { (self.unsilence_form(&channel.name, &silence.rule)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn unsilence_form(&self, channel: &str, rule: &str) -> Markup {
        let action = format!("{}/actions/unsilence", channel_path(channel));
        html! {
            form method="post" action=(self.dashboard.frame.link(&action)) class="session" {
                input type="hidden" name="rule" value=(rule);
                button type="submit" { (self.words.alert.end_silence) }
            }
        }
    }

    /// The receivers, each with its last answer about any channel, and the troubles of deliveries.
    fn receivers(&self, receivers: &[&Receiver]) -> Markup {
        let words = self.words;
        let mut last: BTreeMap<&str, (Timestamp, &Answer)> = BTreeMap::new();
        let mut troubles: BTreeMap<&str, Vec<(&str, &ReceiverStatus)>> = BTreeMap::new();
        for (_, alerts) in self.known() {
            for (receiver, answer) in alerts.answers() {
                if last.get(&**receiver).is_none_or(|(_, known)| known.at < answer.at) {
                    last.insert(receiver, (alerts.now, answer));
                }
            }
            for (host, receiver, delivery) in &alerts.deliveries {
                let known = troubles.entry(receiver).or_default();
                // Each channel of a master reports the same deliveries.
                if !known.iter().any(|(of, _)| of == host) {
                    known.push((host.as_str(), delivery));
                }
            }
        }
        html! {
            section class="card" {
                h2 { (words.alert.receivers) }
                @if receivers.is_empty() {
                    p class="empty" { (words.alert.no_receivers) }
                } @else {
                    table {
                        thead {
                            tr {
                                th scope="col" { (words.alert.receiver) }
                                th scope="col" { (words.alert.kind) }
                                th scope="col" { (words.alert.last_answer) }
                                @if self.is_operator() { th scope="col" { span class="hidden" { (words.alert.test) } } }
                            }
                        }
                        tbody {
                            @for receiver in receivers {
                                tr {
                                    td data-label=(words.alert.receiver) { (receiver.name) }
                                    td data-label=(words.alert.kind) { (receiver.kind.type_name()) }
                                    td class="wide" data-label=(words.alert.last_answer) {
                                        (self.answer(last.get(receiver.name.as_str())))
                                        @for (host, delivery) in troubles.get(receiver.name.as_str()).into_iter().flatten() {
                                            (self.trouble(host, delivery))
                                        }
                                    }
                                    @if self.is_operator() { td { (self.test_form(&receiver.name)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn answer(&self, answer: Option<&(Timestamp, &Answer)>) -> Markup {
        let words = self.words;
        html! {
            @match answer {
                None => span class="note" { (words.alert.never_used) },
                Some((now, Answer { at, error: None })) => span class="good" {
                    (words.alert.took) " " (words.ago.replace("{time}", &age(Some(now.since(*at)))))
                },
                Some((now, Answer { at, error: Some(error) })) => span class="bad" {
                    (words.alert.failed) " " (words.ago.replace("{time}", &age(Some(now.since(*at)))))
                    // The answer of a service may repeat the text of a message.
                    @if self.visitor.sees_payloads { ": " (sanitize::line(error)) }
                },
            }
        }
    }

    fn trouble(&self, host: &str, delivery: &ReceiverStatus) -> Markup {
        let words = self.words;
        let ReceiverStatus { counts, waiting, muted_until, last_error, .. } = delivery;
        let counts = [
            (words.alert.waiting, *waiting as u64),
            (words.alert.failed, counts.failed),
            (words.alert.dropped, counts.dropped),
        ];
        let counts = counts.iter().filter(|(_, number)| *number > 0);
        let mut parts: Vec<_> =
            counts.map(|(word, number)| format!("{word} {}", count(Some(*number)))).collect();
        parts.extend(muted_until.map(|until| format!("{} {}", words.alert.muted, clock_time(until))));
        let error = last_error.as_deref().filter(|_| self.visitor.sees_payloads);
        parts.extend(error.map(|error| sanitize::line(error).into_owned()));
        html! { div class="note" { (sanitize::line(host)) ": " (parts.join(", ")) } }
    }

    fn test_form(&self, receiver: &str) -> Markup {
        html! {
            form method="post" action=(self.dashboard.frame.link("/alerts/test")) class="session" {
                input type="hidden" name="receiver" value=(receiver);
                button type="submit" { (self.words.alert.test) }
            }
        }
    }

    fn recent(&self) -> Markup {
        let words = self.words;
        let mut ended: Vec<_> = self
            .known()
            .flat_map(|(channel, alerts)| {
                alerts.recent().into_iter().map(move |ended| (channel, alerts.now, ended))
            })
            .collect();
        ended.sort_by_key(|(_, _, ended)| std::cmp::Reverse(ended.ended.at));
        html! {
            section class="card" {
                h2 { (words.alert.recent) }
                @if ended.is_empty() {
                    p class="empty" { (words.alert.none_recent) }
                } @else {
                    table {
                        thead {
                            tr {
                                th scope="col" { (words.channel) }
                                th scope="col" { (words.alert.rule) }
                                th scope="col" { (words.alert.severity) }
                                th scope="col" class="number" { (words.alert.ended) }
                                th scope="col" class="number" { (words.alert.lasted) }
                            }
                        }
                        tbody {
                            @for (channel, now, ended) in ended.iter().take(MAX_ALERTS) {
                                tr {
                                    td data-label=(words.channel) { (self.channel_link(&channel.name)) }
                                    td data-label=(words.alert.rule) {
                                        (sanitize::line(&ended.rule))
                                        @if let Some(host) = &ended.host { " (" (sanitize::line(host)) ")" }
                                    }
                                    td data-label=(words.alert.severity) { (ended.severity) }
                                    td class="number" data-label=(words.alert.ended) { (since(*now, ended.ended.at)) }
                                    td class="number" data-label=(words.alert.lasted) { (age(Some(ended.ended.at.since(ended.ended.since)))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The rules of each channel, and the channels that no rule watches.
    fn rules(&self) -> Markup {
        let words = self.words;
        html! {
            section class="card" {
                h2 { (words.alert.rules) }
                @for channel in &self.picture.channels {
                    @let rules = self.rules_of(&channel.name);
                    @if rules.is_empty() {
                        p class="note" { (channel.name) ": " (words.alert.no_rules) }
                    } @else {
                        details {
                            summary {
                                (channel.name) ": " (count(Some(rules.len() as u64))) " · "
                                @match channel.alert_records.as_deref().and_then(|alerts| alerts.watched_by.as_deref()) {
                                    Some(host) => { (words.alert.watched_by) " " (sanitize::line(host)) },
                                    None => { (words.alert.unwatched) },
                                }
                            }
                            (self.rule_table(&channel.name, rules))
                        }
                    }
                }
            }
        }
    }

    fn rule_table(&self, channel: &str, rules: &[Rule]) -> Markup {
        let words = self.words;
        html! {
            table {
                thead {
                    tr {
                        th scope="col" { (words.alert.rule) }
                        th scope="col" { (words.alert.severity) }
                        th scope="col" { (words.alert.condition) }
                        th scope="col" class="number" { (words.alert.lasting) }
                        @if self.is_operator() { th scope="col" { (words.alert.silence_for) } }
                    }
                }
                tbody {
                    @for rule in rules {
                        tr {
                            td data-label=(words.alert.rule) { (rule.name) }
                            td data-label=(words.alert.severity) { (rule.severity) }
                            td class="wide" data-label=(words.alert.condition) { code { (rule.when.to_string()) } }
                            td class="number" data-label=(words.alert.lasting) { (lasting(rule.for_time)) }
                            @if self.is_operator() {
                                td class="wide" data-label=(words.alert.silence_for) { (self.silence_form(channel, &rule.name)) }
                            }
                        }
                    }
                    @if self.is_operator() {
                        tr {
                            td colspan="4" data-label=(words.alert.rule) { (words.alert.all_rules) }
                            td class="wide" data-label=(words.alert.silence_for) { (self.silence_form(channel, Silence::ALL_RULES)) }
                        }
                    }
                }
            }
        }
    }
}

fn lasting(time: Duration) -> String {
    if time.is_zero() { "–".to_owned() } else { age(Some(time)) }
}

fn sent(now: Timestamp, at: Option<Timestamp>, words: &Words) -> Markup {
    match at {
        Some(at) => since(now, at),
        None => html! { (words.alert.not_sent) },
    }
}

fn rule_name(silence: &Silence, words: &Words) -> String {
    match silence.rule == Silence::ALL_RULES {
        true => words.alert.all_rules.to_owned(),
        false => sanitize::line(&silence.rule).into_owned(),
    }
}

/// The values that the condition of an alert names.
fn values(record: &AlertRecord) -> String {
    let value = |(name, value): (&String, &f64)| {
        Field::named(name).map(|field| format!("{name} {}", field_value(field, *value)))
    };
    record.values.iter().filter_map(value).collect::<Vec<_>>().join(", ")
}
