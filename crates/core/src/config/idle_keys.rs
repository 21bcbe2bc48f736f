//! Warnings for keys that have no effect in their combination with others.

use super::error::Problems;
use super::schema::Property;
use super::spanned::{Node, Table, Value};
use super::typed::TypedTable;
use super::{Channel, Handler, keys};

/// Keys without effect beside another one.
struct IdleKeys {
    keys: &'static [&'static str],
    /// The key that takes their effect.
    beside: &'static str,
    /// Whether that key does so in a channel.
    applies: fn(&Channel) -> bool,
    /// The combination, as the rest of "has no effect".
    when: &'static str,
    remedy: &'static str,
}

const IDLE_KEYS: &[IdleKeys] = &[
    IdleKeys {
        keys: &["backoff.kind", "backoff.base", "backoff.max"],
        beside: "backoff.delays",
        applies: |channel| !channel.backoff.delays.is_empty(),
        when: "beside delays, which lists the waits",
        remedy: "remove it, or remove delays",
    },
    IdleKeys {
        keys: &["keep_done.seconds"],
        beside: "keep_done",
        applies: |channel| channel.keep_done.is_none(),
        when: "without a count: no done job stays in the store",
        remedy: "write count = 10000 beside it, or remove it",
    },
    IdleKeys {
        keys: &["worker.demo_jobs"],
        beside: "worker.command",
        applies: |channel| channel.worker.demo_jobs,
        when: "beside command: that program runs all jobs",
        remedy: "remove one of the two",
    },
    IdleKeys {
        keys: &["worker.demo_jobs"],
        beside: "worker.url",
        applies: |channel| channel.worker.demo_jobs,
        when: "beside url: every job is sent there",
        remedy: "remove one of the two",
    },
    IdleKeys {
        keys: &["worker.max_handle_number", "worker.max_life_seconds"],
        beside: "worker.protocol",
        applies: |channel| matches!(channel.worker.handler, Handler::Exec { .. }),
        when: "with protocol = \"exec\": each process runs one job",
        remedy: "remove it, or use a program that speaks protocol = \"wire\"",
    },
    IdleKeys {
        keys: &["worker.target_wait_seconds", "worker.capacity"],
        beside: "worker.dynamic_mode",
        applies: |channel| !channel.worker.scaling.dynamic,
        when: "with dynamic_mode = false: demand does not change the number of workers",
        remedy: "remove it, or write dynamic_mode = true",
    },
    IdleKeys {
        keys: &["job_log.lines_per_second"],
        beside: "job_log.level",
        applies: |channel| channel.job_log.level == super::JobLogLevel::Off,
        when: "with level = \"off\": there are no such lines",
        remedy: "remove it, or choose another level",
    },
];

/// Warns of keys that have no effect in a channel. `own` is its table in the file, `merged` the same with the defaults. A default
/// that only some channels do not use is no mistake.
pub(super) fn warn_of_idle_keys(own: &Table, merged: &Table, channel: &Channel, warnings: &mut Problems<'_>) {
    warn_of_mode(own, channel, warnings);
    let read = TypedTable::new(merged, keys::KEYS);
    for rule in IDLE_KEYS.iter().filter(|rule| (rule.applies)(channel)) {
        let Some(beside) = read.node(rule.beside) else { continue };
        for node in rule.keys.iter().filter_map(|key| read.node(key)) {
            // A channel may set a key aside that the defaults set for others.
            let is_meant_for_others = is_default(node) && !is_default(beside);
            if !is_meant_for_others && !matches!(node.value, Value::Broken) {
                warnings.of_key(node, format!("has no effect {}", rule.when), rule.remedy);
            }
        }
    }
}

/// Whether a node is one of `[defaults]`.
fn is_default(node: &Node) -> bool {
    node.key.starts_with("defaults.")
}

/// Warns of keys in a channel's own table that its mode, or a handler other than `url`, does not use.
fn warn_of_mode(own: &Table, channel: &Channel, warnings: &mut Problems<'_>) {
    let read = TypedTable::new(own, keys::KEYS);
    let is_webhook = matches!(channel.worker.handler, Handler::Webhook(_));
    for key in keys::KEYS {
        let Some(node) = read.node(key.path) else { continue };
        let (message, remedy) = if !key.is_used_in(channel.worker.mode) {
            let message = format!("has no effect in worker.type = \"{}\"", channel.worker.mode.as_str());
            (message, "remove it or change the type")
        } else if key.properties.contains(&Property::WithUrl) && !is_webhook {
            ("has no effect without url".to_owned(), "remove it or add url = \"https://…\"")
        } else {
            continue;
        };
        warnings.of_key(node, message, remedy);
    }
}
