//! Builds the settings of alerts from the table `[alerts]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::tz::TimeZone;

use super::Severity;
use super::keys::ALERT_KEYS;
use super::language::Language;
use super::quiet_hours::{Days, QuietHours, time_of_day};
use super::receiver::{Receiver, ReceiverKind};
use super::receiver_build::declared_receiver;
use super::settings::{Alerts, Route};
use crate::config::error::Diagnostics;
use crate::config::passed_env::PassedEnv;
use crate::config::spanned::{Node, Table, Value};
use crate::config::typed::TypedTable;
use crate::config::validate;
use crate::suggest::nearest;

/// The settings described by `table`. Relative paths start at `base`; `channels` are the names of the declared ones.
pub(in crate::config) fn alerts(
    mut table: Table,
    base: &Path,
    channels: &[String],
    diagnostics: &mut Diagnostics<'_>,
) -> Alerts {
    // Receivers with mistakes are known, too: a route to one of them is no further mistake.
    let names = receiver_names(&table);
    validate::table(&mut table, "alerts", ALERT_KEYS, &mut diagnostics.problems);
    let receivers = match table.remove("receivers") {
        Some(Node { value: Value::Table(tables), .. }) => tables,
        _ => Table::new(),
    };
    let read = TypedTable::new(&table, ALERT_KEYS);
    let language = Language::named(&read.word("language")).unwrap_or_default();
    let receivers: BTreeMap<String, Receiver> = receivers
        .into_iter()
        .filter_map(|(name, node)| {
            let receiver = declared_receiver(&name, node, language, base, diagnostics)?;
            Some((name, receiver))
        })
        .collect();
    Alerts {
        evaluate_every: read.seconds("evaluate_every"),
        group_wait: read.seconds("group_wait"),
        group_interval: read.seconds("group_interval"),
        resend: read.seconds("resend"),
        send_resolved: read.flag("send_resolved"),
        language,
        routes: routes(&read, &names, &receivers, channels, diagnostics),
        quiet_hours: items(&read, "quiet_hours").filter_map(|item| quiet_hours(item, diagnostics)).collect(),
        receivers,
        // Set when the whole file is read.
        passed_env: PassedEnv::default(),
    }
}

fn receiver_names(table: &Table) -> BTreeSet<String> {
    let receivers = table.get("receivers").and_then(|node| node.value.as_table());
    receivers.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn items<'a>(read: &TypedTable<'a>, path: &str) -> impl Iterator<Item = &'a Node> {
    read.node(path).map_or(&[][..], |node| node.value.items()).iter()
}

fn routes(
    read: &TypedTable<'_>,
    names: &BTreeSet<String>,
    receivers: &BTreeMap<String, Receiver>,
    channels: &[String],
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    let takes_all =
        |route: &Route| route.severity.is_none() && route.channel.is_none() && route.rule.is_none();
    for item in items(read, "route") {
        let Some(table) = item.value.as_table() else { continue };
        let read = TypedTable::new(table, ALERT_KEYS);
        let Some(to) = read.node("to") else {
            let remedy = "add to = [\"name\"] with receivers of [alerts], or to = [] for no receiver";
            diagnostics.problems.of_value(item, "has no receivers", remedy);
            continue;
        };
        check_receivers(to, names, receivers, diagnostics);
        check_channel(&read, channels, diagnostics);
        if routes.iter().any(takes_all) {
            let message = "has no effect: a route before it takes every alert";
            diagnostics.warnings.of_value(item, message, "move it before that route, or remove it");
        }
        routes.push(Route {
            severity: read.text("severity").and_then(Severity::named),
            channel: read.text("channel").map(str::to_owned),
            rule: read.text("rule").map(str::to_owned),
            to: read.names("to").into_iter().flatten().collect(),
        });
    }
    if let (Some(node), false) = (read.node("route"), routes.is_empty() || routes.iter().any(takes_all)) {
        let message = "has no route for all alerts: those that fit none reach no receiver";
        let remedy = "add { to = [\"name\"] } at its end, or { to = [] } if that is meant";
        diagnostics.warnings.of_value(node, message, remedy);
    }
    routes
}

fn check_receivers(
    to: &Node,
    names: &BTreeSet<String>,
    receivers: &BTreeMap<String, Receiver>,
    diagnostics: &mut Diagnostics<'_>,
) {
    for item in to.value.items() {
        let Some(name) = item.value.as_text() else { continue };
        let is_heartbeat = |receiver: &Receiver| matches!(receiver.kind, ReceiverKind::Heartbeat { .. });
        if receivers.get(name).is_some_and(is_heartbeat) {
            let message = format!("= \"{name}\" is a heartbeat, which sends no alerts");
            diagnostics.problems.of_value(item, message, "remove it: a heartbeat needs no route");
        }
        if names.contains(name) {
            continue;
        }
        unknown_receiver(item, name, names.iter().map(String::as_str), diagnostics);
    }
}

/// Reports a name that is none of the declared receivers.
pub(super) fn unknown_receiver<'a>(
    item: &Node,
    name: &str,
    names: impl Iterator<Item = &'a str>,
    diagnostics: &mut Diagnostics<'_>,
) {
    let remedy = match nearest(name, names) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("declare it as receivers.{} in [alerts], or remove it", name.escape_debug()),
    };
    let message = format!("= \"{}\" is not a declared receiver", name.escape_debug());
    diagnostics.problems.of_value(item, message, remedy);
}

fn check_channel(read: &TypedTable<'_>, channels: &[String], diagnostics: &mut Diagnostics<'_>) {
    let (Some(node), Some(name)) = (read.node("channel"), read.text("channel")) else { return };
    if channels.iter().any(|known| known == name) {
        return;
    }
    let remedy = match nearest(name, channels.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "write the name of a channel of this file, or remove it".to_owned(),
    };
    let message = format!("= \"{}\" is not a declared channel", name.escape_debug());
    diagnostics.problems.of_value(node, message, remedy);
}

fn quiet_hours(item: &Node, diagnostics: &mut Diagnostics<'_>) -> Option<QuietHours> {
    let read = TypedTable::new(item.value.as_table()?, ALERT_KEYS);
    let mut time = |key: &str| {
        let Some(node) = read.node(key) else {
            let remedy = "write a time of day, as in { from = \"22:00\", to = \"07:00\" }";
            diagnostics.problems.of_value(item, format!("has no {key}"), remedy);
            return None;
        };
        let time = time_of_day(node.value.as_text()?);
        if time.is_none() {
            let remedy = "write hours and minutes, such as \"07:00\" or \"22:30\"";
            diagnostics.problems.of_value(node, "is no time of day", remedy);
        }
        time
    };
    let (from, to) = (time("from"), time("to"));
    if let (Some(node), true) = (read.node("to"), from.is_some() && read.text("from") == read.text("to")) {
        let message = "is the same as from: the quiet hours have no length";
        diagnostics.problems.of_value(
            node,
            message,
            "write from = \"00:00\" and to = \"24:00\" for whole days",
        );
    }
    let days = match (read.node("days"), read.text("days")) {
        (Some(node), Some(text)) => {
            let days = Days::parse(text);
            if days.is_none() {
                let remedy = "write days or ranges of mon, tue, wed, thu, fri, sat, sun, such as \"mon-fri\" or \"sat,sun\"";
                diagnostics.problems.of_value(node, "is no list of days", remedy);
            }
            days
        }
        _ => Some(Days::ALL),
    };
    let zone = zone(&read, diagnostics);
    let below = read.text("below").and_then(Severity::named).unwrap_or(Severity::Critical);
    Some(QuietHours { from: from?, to: to?, days: days?, zone: zone?, below })
}

fn zone(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<TimeZone> {
    let (Some(node), Some(name)) = (read.node("zone"), read.text("zone")) else {
        return Some(TimeZone::system());
    };
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    let remedy = if known.len() < 2 {
        "install the package tzdata: this machine knows no time zones".to_owned()
    } else {
        match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write a name such as \"Asia/Shanghai\" or \"Europe/Berlin\"".to_owned(),
        }
    };
    diagnostics.problems.of_value(node, "is not a known time zone", remedy);
    None
}
