//! Builds the rules of a channel: the built-in ones, changed and completed by `[[alerts.rule]]` and `[[channels.NAME.alerts.rule]]`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Severity;
use super::build::unknown_receiver;
use super::keys::RULE_KEYS;
use super::rule::Rule;
use super::template::check_template;
use crate::condition::{Condition, ConditionError, seconds_of};
use crate::config::error::Diagnostics;
use crate::config::spanned::{Node, Table, Value};
use crate::config::typed::TypedTable;
use crate::config::validate;

/// Most rules of a channel.
pub(super) const MAX_RULES: usize = 100;

/// Changes the rules as the items of an array say: an item with the name of a rule changes it, another one adds a rule. `receivers`
/// are the names of the declared ones.
pub(in crate::config) fn change_rules(
    rules: &mut Vec<Rule>,
    items: &[Node],
    receivers: &BTreeSet<&str>,
    diagnostics: &mut Diagnostics<'_>,
) {
    for item in items {
        let Some(mut table) = item.value.as_table().cloned() else { continue };
        read_durations(&mut table);
        validate::table(&mut table, "alerts.rule[]", RULE_KEYS, &mut diagnostics.problems);
        let read = TypedTable::new(&table, RULE_KEYS);
        let Some(name) = read.text("name") else {
            diagnostics.problems.of_value(item, "has no name", "add name = \"backlog\", or another name");
            continue;
        };
        let place = rules.iter().position(|rule| *rule.name == *name);
        if !read.flag("enabled") {
            match place {
                Some(place) => drop(rules.remove(place)),
                None if read.node("when").is_some() => {}
                None => {
                    let remedy =
                        "write the name of a built-in rule, or remove it: docs/alerts.md lists the rules";
                    diagnostics.warnings.of_value(item, "switches off a rule that does not exist", remedy);
                }
            }
            continue;
        }
        let Some(mut rule) =
            place.map(|place| rules[place].clone()).or_else(|| first(item, name, &read, diagnostics))
        else {
            continue;
        };
        change(&mut rule, &read, receivers, diagnostics);
        match place {
            Some(place) => rules[place] = rule,
            None if rules.len() == MAX_RULES => {
                let message = format!("is one rule too many: a channel has at most {MAX_RULES}");
                diagnostics.problems.of_value(item, message, "join conditions with or, or remove rules");
            }
            None => rules.push(rule),
        }
    }
}

/// The rule of a snapshot handler; `table` has the keys of the rule alone. Its alerts go to `receiver`.
pub(super) fn rule_of_handler(
    item: &Node,
    table: &Table,
    usual_name: &str,
    receiver: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Rule> {
    let read = TypedTable::new(table, RULE_KEYS);
    let mut rule = first(item, read.text("name").unwrap_or(usual_name), &read, diagnostics)?;
    change(&mut rule, &read, &BTreeSet::new(), diagnostics);
    rule.to = Some(vec![receiver.to_owned()]);
    Some(rule)
}

/// Replaces durations such as "60s" by seconds.
pub(super) fn read_durations(table: &mut Table) {
    for key in RULE_KEYS.iter().filter(|key| key.unit == "seconds") {
        let Some(node) = table.get_mut(key.path) else { continue };
        if let Some(seconds) = node.value.as_text().and_then(seconds_of) {
            node.value = Value::Number(seconds);
        }
    }
}

/// A rule that is not built in.
fn first(item: &Node, name: &str, read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<Rule> {
    if name.len() > 60 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        let remedy = "write up to 60 of the characters A-Z a-z 0-9 _ - .";
        diagnostics.problems.of_value(read.node("name")?, "is no name for a rule", remedy);
        return None;
    }
    if read.node("when").is_none() {
        let built_in = Rule::built_in();
        let names = built_in.iter().map(|rule| &*rule.name);
        let remedy = match crate::suggest::nearest(name, names) {
            Some(near) => format!("did you mean the built-in rule \"{near}\"? A new rule needs a condition"),
            None => "add when = \"waiting > 1000\", or another condition".to_owned(),
        };
        diagnostics.problems.of_value(item, "has no condition", remedy);
        return None;
    }
    Some(Rule::new(name, condition(read, "when", diagnostics)?))
}

fn change(
    rule: &mut Rule,
    read: &TypedTable<'_>,
    receivers: &BTreeSet<&str>,
    diagnostics: &mut Diagnostics<'_>,
) {
    if let Some(when) = condition(read, "when", diagnostics) {
        rule.when = when;
    }
    if let Some(until) = condition(read, "until", diagnostics) {
        rule.until = Some(until);
    }
    let time = |key: &str| read.node(key).map(|_| read.seconds(key));
    rule.for_time = time("for").unwrap_or(rule.for_time);
    rule.keep_firing_for = time("keep_firing_for").unwrap_or(rule.keep_firing_for);
    rule.resend = time("resend").or(rule.resend).map(|time| time.max(Duration::from_secs(1)));
    rule.severity = read.text("severity").and_then(Severity::named).unwrap_or(rule.severity);
    if let (Some(node), Some(text)) = (read.node("summary"), read.text("summary")) {
        if let Err(message) = check_template(text) {
            diagnostics.problems.of_value(node, format!("is refused: {message}"), "see docs/alerts.md");
        }
        rule.summary = Some(text.into());
    }
    if let Some(runbook) = read.text("runbook") {
        rule.runbook = Some(runbook.to_owned());
    }
    if let Some(node) = read.node("to") {
        for item in node.value.items() {
            if let Some(name) = item.value.as_text().filter(|name| !receivers.contains(name)) {
                unknown_receiver(item, name, receivers.iter().copied(), diagnostics);
            }
        }
        rule.to = Some(read.names("to").into_iter().flatten().collect());
    }
}

fn condition(read: &TypedTable<'_>, key: &str, diagnostics: &mut Diagnostics<'_>) -> Option<Condition> {
    let (node, text) = (read.node(key)?, read.text(key)?);
    text.parse()
        .map_err(|ConditionError { column, message }: ConditionError| {
            let message = format!("is no condition, column {column} of it: {message}");
            diagnostics.problems.of_value(node, message, "docs/alerts.md has the language of conditions");
        })
        .ok()
}
