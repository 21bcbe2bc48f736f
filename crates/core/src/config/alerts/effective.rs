//! The effective settings of alerts for `config:check`, secrets hidden.

use serde_json::{Map, Value as Json, json};

use super::quiet_hours::QuietHours;
use super::receiver::{HttpTarget, Mentions, Receiver, ReceiverKind};
use super::rule::Rule;
use super::settings::{Alerts, Route};
use crate::config::effective_value::{HIDDEN, Rendered, hidden};
use crate::config::{Secret, SnapshotHandler};

/// The settings beside the receivers, in the order of the reference file.
pub(in crate::config) fn effective_settings(alerts: &Alerts) -> Vec<(&'static str, Json)> {
    let seconds = |time: std::time::Duration| time.rendered().unwrap_or_default();
    vec![
        ("evaluate_every", seconds(alerts.evaluate_every)),
        ("group_wait", seconds(alerts.group_wait)),
        ("group_interval", seconds(alerts.group_interval)),
        ("resend", seconds(alerts.resend)),
        ("send_resolved", json!(alerts.send_resolved)),
        ("language", json!(alerts.language.as_str())),
        ("route", alerts.routes.iter().map(route).collect()),
        ("quiet_hours", alerts.quiet_hours.iter().map(quiet_hours).collect()),
    ]
}

/// The rules of a channel as far as they differ from the built-in ones; `None` for no difference. Those of snapshot handlers are shown
/// with their handlers.
pub(in crate::config) fn effective_rules(rules: &[Rule], handlers: &[SnapshotHandler]) -> Option<Json> {
    let built_in = Rule::built_in();
    let is_of_handler = |rule: &Rule| handlers.iter().any(|handler| handler.rule.as_ref() == Some(rule));
    let rules: Vec<_> = rules.iter().filter(|rule| !is_of_handler(rule)).collect();
    let changed = rules.iter().filter(|rule| !built_in.contains(rule)).map(|rule| {
        let to = rule.to.as_ref().map(|to| ("to".to_owned(), json!(to)));
        Json::Object(rule_settings(rule).chain(to).collect())
    });
    // Without a receiver there are no rules at all.
    let gone =
        built_in.iter().filter(|rule| !rules.is_empty() && rules.iter().all(|kept| kept.name != rule.name));
    let gone = gone.map(|rule| json!({ "name": *rule.name, "enabled": false }));
    let all: Vec<_> = changed.chain(gone).collect();
    (!all.is_empty()).then_some(Json::Array(all))
}

/// The settings of a rule beside its receivers.
fn rule_settings(rule: &Rule) -> impl Iterator<Item = (String, Json)> {
    let seconds = |time: std::time::Duration| time.rendered().unwrap_or_default();
    let all = [
        ("name", json!(*rule.name)),
        ("when", json!(rule.when.to_string())),
        ("until", json!(rule.until.as_ref().map(ToString::to_string))),
        ("for", seconds(rule.for_time)),
        ("keep_firing_for", seconds(rule.keep_firing_for)),
        ("severity", json!(rule.severity)),
        ("summary", json!(rule.summary.as_deref())),
        ("runbook", json!(rule.runbook)),
        ("resend", rule.resend.map_or(Json::Null, seconds)),
    ];
    all.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value))
}

/// The settings of a snapshot handler. The language matters to texts only.
pub(in crate::config) fn effective_handler(handler: &SnapshotHandler) -> Json {
    let SnapshotHandler { receiver, rule } = handler;
    let mut shown = match effective_receiver(receiver) {
        Json::Object(shown) => shown,
        _ => Map::new(),
    };
    if rule.is_none() && !matches!(receiver.kind, ReceiverKind::Email { .. }) {
        shown.remove("language");
    }
    shown.extend(rule.iter().flat_map(rule_settings));
    Json::Object(shown)
}

/// The settings of a receiver.
pub(in crate::config) fn effective_receiver(receiver: &Receiver) -> Json {
    let mut shown = Map::new();
    let mut show = |key: &str, value: Json| {
        if !value.is_null() {
            shown.insert(key.to_owned(), value);
        }
    };
    show("type", json!(receiver.kind.type_name()));
    show("language", json!(receiver.language.as_str()));
    if let Some(target) = receiver.kind.target() {
        target_settings(target, &mut show);
    }
    match &receiver.kind {
        ReceiverKind::DingTalk { secret, mentions, .. } | ReceiverKind::Feishu { secret, mentions, .. } => {
            show("secret", secret_value(secret.as_ref()));
            show_mentions(mentions, &mut show);
        }
        ReceiverKind::WeCom { mentions, .. }
        | ReceiverKind::Slack { mentions, .. }
        | ReceiverKind::Discord { mentions, .. } => show_mentions(mentions, &mut show),
        ReceiverKind::Teams { .. } | ReceiverKind::Alertmanager { .. } | ReceiverKind::Log => {}
        ReceiverKind::PagerDuty { .. } => show("routing_key", json!(HIDDEN)),
        ReceiverKind::Webhook { keys, .. } => {
            show("secret", keys.first().map_or(Json::Null, |_| json!(HIDDEN)));
        }
        ReceiverKind::Email { server, from, to } => {
            show("to", json!(to));
            show("from", json!(from));
            show("smtp", json!(HIDDEN));
            show("username", json!(server.username));
            show("password", secret_value(server.password.as_ref()));
            show("allow_private", json!(server.allow_private));
            show("ca_file", json!(server.ca_file));
        }
        ReceiverKind::Command { command, timeout, .. } => {
            show("command", json!(command.shown()));
            show("timeout_seconds", timeout.rendered().unwrap_or_default());
        }
        ReceiverKind::File { path, max_bytes } => {
            show("path", json!(path));
            show("max_bytes", json!(max_bytes));
        }
        ReceiverKind::Heartbeat { every, form, fail, per_host, .. } => {
            show("every", every.rendered().unwrap_or_default());
            show("form", json!(form.as_str()));
            show("fail", json!(fail));
            show("per_host", json!(per_host));
        }
    }
    Json::Object(shown)
}

fn target_settings(target: &HttpTarget, show: &mut impl FnMut(&str, Json)) {
    show("url", json!(target.url.to_string()));
    show("headers", hidden(target.headers.iter().map(|(name, _)| name)).unwrap_or_default());
    show("allow_private", json!(target.allow_private));
    show("ca_file", json!(target.ca_file));
}

fn secret_value(secret: Option<&Secret>) -> Json {
    secret.map_or(Json::Null, |_| json!(HIDDEN))
}

fn show_mentions(mentions: &Mentions, show: &mut impl FnMut(&str, Json)) {
    let Mentions { users, mobiles, all } = mentions;
    for (key, names) in [("at_users", users), ("at_mobiles", mobiles)] {
        if !names.is_empty() {
            show(key, json!(names));
        }
    }
    if *all {
        show("at_all", json!(all));
    }
}

fn route(route: &Route) -> Json {
    let mut shown = Map::new();
    let conditions = [
        ("severity", route.severity.map(|severity| severity.as_str())),
        ("channel", route.channel.as_deref()),
        ("rule", route.rule.as_deref()),
    ];
    for (key, value) in conditions {
        shown.extend(value.map(|value| (key.to_owned(), json!(value))));
    }
    shown.insert("to".to_owned(), json!(route.to));
    Json::Object(shown)
}

fn quiet_hours(quiet: &QuietHours) -> Json {
    let time = |time: jiff::civil::Time| time.strftime("%H:%M").to_string();
    let mut shown = json!({
        "from": time(quiet.from),
        "to": time(quiet.to),
        "days": quiet.days.to_string(),
        "below": quiet.below.as_str(),
    });
    if let Some(zone) = quiet.zone.iana_name() {
        shown["zone"] = json!(zone);
    }
    shown
}
