//! Builds the snapshot handlers of a channel: receivers of every snapshot, and receivers of alerts with a rule of their own.

use std::collections::BTreeMap;
use std::path::Path;

use super::keys::{HANDLER_KEYS, HANDLER_RULE_KEYS};
use super::language::Language;
use super::receiver::ReceiverKind;
use super::receiver_build::receiver;
use super::rule::Rule;
use super::rule_build::{MAX_RULES, read_durations, rule_of_handler};
use super::settings::Alerts;
use crate::config::SnapshotHandler;
use crate::config::error::Diagnostics;
use crate::config::spanned::{Node, Table, Value};

/// The types that get snapshots.
const SNAPSHOT_TYPES: [&str; 5] = ["log", "command", "webhook", "email", "file"];

/// The handlers that the items of `job_snapshot.handler` describe. Relative paths start at `base`.
pub(in crate::config) fn snapshot_handlers(
    channel: &str,
    items: &[Node],
    language: Language,
    base: &Path,
    diagnostics: &mut Diagnostics<'_>,
) -> Vec<SnapshotHandler> {
    let mut names = Names::default();
    items.iter().filter_map(|item| handler(channel, item, &mut names, language, base, diagnostics)).collect()
}

/// The names of the handlers of a channel so far, each with the number of its handlers.
#[derive(Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    /// The name of a handler of snapshots: its type and its number among those of the type.
    fn numbered(&mut self, kind: &str) -> String {
        format!("{kind}-{}", self.count(kind))
    }

    /// The name of a handler of alerts. A running master keeps its receivers at a reload, so the name must not depend on other
    /// handlers, but for those with the same target.
    fn of_target(&mut self, kind: &ReceiverKind) -> String {
        let identity = kind.identity();
        match self.count(&identity) {
            1 => identity,
            number => format!("{identity}-{number}"),
        }
    }

    fn count(&mut self, name: &str) -> usize {
        let count = self.0.entry(name.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// The handler that an item describes; `None` when it has a mistake, which is then reported.
fn handler(
    channel: &str,
    item: &Node,
    names: &mut Names,
    language: Language,
    base: &Path,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<SnapshotHandler> {
    let mut item = item.clone();
    if let Value::Table(table) = &mut item.value {
        read_durations(table);
    }
    let mut receiver = receiver(channel, &mut item, &HANDLER_KEYS, language, base, diagnostics)?;
    receiver.is_handler = true;
    let table = item.value.as_table()?;
    let of_rule = table.iter().filter(|(key, _)| HANDLER_RULE_KEYS.contains(&key.as_str()));
    let of_rule: Table = of_rule.map(|(key, node)| (key.clone(), node.clone())).collect();
    let kind = receiver.kind.type_name();
    if matches!(receiver.kind, ReceiverKind::Heartbeat { .. }) {
        let remedy = "declare it in [alerts.receivers]";
        diagnostics.problems.of_value(&item, "is a heartbeat, which gets no snapshots", remedy);
        return None;
    }
    if of_rule.contains_key("when") {
        let name = names.of_target(&receiver.kind);
        receiver.name = format!("{channel}/{name}");
        let rule = rule_of_handler(&item, &of_rule, &name, &receiver.name, diagnostics)?;
        return Some(SnapshotHandler { receiver, rule: Some(rule) });
    }
    if let Some(node) = of_rule.values().next() {
        diagnostics.problems.of_key(
            node,
            "has no meaning without when",
            "add when = \"waiting > 1000\", or remove it",
        );
        return None;
    }
    if !SNAPSHOT_TYPES.contains(&kind) {
        let message = format!("of type \"{kind}\" gets no snapshots, only alerts");
        let remedy =
            format!("add when = \"waiting > 1000\", or use one of the types {}", SNAPSHOT_TYPES.join(", "));
        diagnostics.problems.of_value(&item, message, remedy);
        return None;
    }
    receiver.name = format!("{channel}/{}", names.numbered(kind));
    Some(SnapshotHandler { receiver, rule: None })
}

/// Adds the rules of the handlers to those of their channel, and their receivers to the declared ones.
pub(in crate::config) fn add_handler_rules(
    handlers: &[SnapshotHandler],
    items: &[Node],
    rules: &mut Vec<Rule>,
    settings: &mut Alerts,
    diagnostics: &mut Diagnostics<'_>,
) {
    for (SnapshotHandler { receiver, rule }, item) in handlers.iter().zip(items) {
        let Some(rule) = rule else { continue };
        let mut refuse = |message: String, remedy: &str| diagnostics.problems.of_value(item, message, remedy);
        if rules.iter().any(|other| other.name == rule.name) {
            let remedy = "write another name = \"…\" beside when";
            refuse(format!("has the name of another rule, \"{}\"", rule.name), remedy);
        } else if rules.len() == MAX_RULES {
            let message = format!("is one rule too many: a channel has at most {MAX_RULES}");
            refuse(message, "join conditions with or, or remove rules");
        } else if settings.receivers.contains_key(&receiver.name) {
            refuse(format!("has the name of a receiver, \"{}\"", receiver.name), "rename that receiver");
        } else {
            rules.push(rule.clone());
            settings.receivers.insert(receiver.name.clone(), receiver.clone());
        }
    }
}
