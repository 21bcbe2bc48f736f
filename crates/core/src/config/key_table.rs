//! The tables of keys as Markdown, for `config:check --keys` and the documentation.

use super::Mode;
use super::alerts::keys::{ALERT_KEYS, RECEIVER_KEYS, RECEIVER_TYPES, RULE_KEYS};
use super::keys::{HTTP_KEYS, KEYS, LOG_KEYS, METRICS_KEYS, OTEL_KEYS};
use super::schema::Key;
use super::schema::Property::Restart;

/// Every key with its type, default, range and meaning, as the Markdown tables of `docs/configuration.md`.
#[must_use]
pub fn key_table() -> String {
    format!(
        "{}\nThe keys of `[http]`:\n\n{}\nThe keys of `[metrics]`:\n\n{}\nThe keys of `[otel]`:\n\n{}\nThe keys of `[log]`:\n\n{}\nThe keys of `[alerts]`:\n\n{}\nThe keys of a receiver of alerts:\n\n{}\nThe keys of a rule of alerts:\n\n{}",
        table_of(KEYS),
        table_of(HTTP_KEYS),
        table_of(METRICS_KEYS),
        table_of(OTEL_KEYS),
        table_of(LOG_KEYS),
        table_of(ALERT_KEYS),
        table_of(RECEIVER_KEYS),
        table_of(RULE_KEYS)
    )
}

fn table_of(keys: &[Key]) -> String {
    let mut table = String::from("| key | type | default | range, unit | meaning |\n|---|---|---|---|---|\n");
    for key in keys {
        let default = match key.default {
            "" => "none".to_owned(),
            words if words.contains(' ') => words.to_owned(),
            literal => format!("`{literal}`"),
        };
        let Key { path, meaning, .. } = key;
        let users = users(key);
        let restart = if key.properties.contains(&Restart) { "; needs a restart" } else { "" };
        let (kind, range) = (key.type_name(), key.range().replace('"', "`"));
        table.push_str(&format!("| `{path}` | {kind} | {default} | {range} | {users}{meaning}{restart} |\n"));
    }
    table
}

/// The modes or the types of receivers that use a key, before its meaning; nothing when all do.
fn users(key: &Key) -> String {
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let types = key.receiver_types();
    let others: Vec<_> = RECEIVER_TYPES.iter().copied().filter(|name| !types.contains(name)).collect();
    let modes: Vec<_> = key.modes().map(Mode::as_str).collect();
    match (modes.as_slice(), types) {
        ([], []) => String::new(),
        ([], types) if types.len() > others.len() => format!("all but {}: ", quoted(&others)),
        ([], types) => quoted(types) + ": ",
        (modes, _) => quoted(modes) + ": ",
    }
}
