//! Renders the effective configuration as TOML and as JSON: the value of every key of [`KEYS`], secrets hidden.

use std::fmt;

use serde_json::{Map, Value as Json, json};

use super::alerts::{Alerts, effective_handler, effective_receiver, effective_rules, effective_settings};
use super::keys::{HTTP_KEYS, KEYS, LOG_KEYS, METRICS_KEYS, OTEL_KEYS};
use super::schema::{Getter, Key};
use super::{Channel, Config, Driver, Http, LogFile, Metrics, Otel};

/// A table of the effective configuration: its path and its keys, in order.
type Section<'a> = (&'static str, Vec<(&'a str, Json)>);

impl Config {
    /// The effective configuration as TOML: every key of every channel, secrets hidden.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut tables = Vec::new();
        for channel in self.channels.values() {
            let name = format!("channels.{}", toml_key(&channel.name));
            tables.extend(channel_sections(channel).into_iter().map(|section| (name.clone(), section)));
        }
        tables.extend(self.http.iter().flat_map(http_sections).map(|section| ("http".to_owned(), section)));
        tables.extend(
            metrics_sections(&self.metrics).into_iter().map(|section| ("metrics".to_owned(), section)),
        );
        tables.extend(self.otel.iter().flat_map(otel_sections).map(|section| ("otel".to_owned(), section)));
        tables.extend(self.log.iter().flat_map(log_sections).map(|section| ("log".to_owned(), section)));
        tables.extend(
            self.alerts.iter().flat_map(alert_sections).map(|section| ("alerts".to_owned(), section)),
        );
        let table = |(root, (path, keys)): &(String, Section<'_>)| {
            let dot = if path.is_empty() { "" } else { "." };
            let lines = keys.iter().map(|(key, value)| format!("{key} = {}\n", toml_value(value)));
            format!("[{root}{dot}{path}]\n{}", lines.collect::<String>())
        };
        tables.iter().map(table).collect::<Vec<_>>().join("\n")
    }

    /// The effective configuration as JSON, by channel, secrets hidden.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let channel = |channel: &Channel| (channel.name.clone(), nested(channel_sections(channel)));
        let channels: Map<_, _> = self.channels.values().map(channel).collect();
        let http = self.http.as_ref().map(|http| nested(http_sections(http)));
        let otel = self.otel.as_ref().map(|otel| nested(otel_sections(otel)));
        let log = self.log.as_ref().map(|log| nested(log_sections(log)));
        let alerts = self.alerts.as_ref().map(|alerts| nested(alert_sections(alerts)));
        json!({ "file": self.file, "channels": channels, "http": http, "metrics": nested(metrics_sections(&self.metrics)), "otel": otel, "log": log, "alerts": alerts })
    }
}

/// The store of a channel without secrets, as in `sqlite at /srv/aint-queue.db`.
impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "sqlite at {}", path.display()),
            Self::Sync => f.write_str("sync"),
            Self::Redis(redis) => {
                let host = &redis.host;
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                write!(f, "redis at {host}:{}, database {}", redis.port, redis.database)?;
                match redis.prefix.as_str() {
                    "" => Ok(()),
                    prefix => write!(f, ", prefix {prefix}"),
                }
            }
        }
    }
}

fn channel_sections(channel: &Channel) -> Vec<Section<'static>> {
    sections(KEYS, |key| match key.value {
        // The table of keys knows nothing of rules and handlers, whose own keys are in other tables.
        _ if key.path == "job_snapshot.handler" => {
            Some(channel.snapshot.handlers.iter().map(effective_handler).collect())
        }
        _ if key.path == "alerts.rule" => effective_rules(&channel.rules, &channel.snapshot.handlers),
        Getter::Channel(get) if key.is_used_in(channel.worker.mode) => get(channel),
        _ => None,
    })
}

fn http_sections(http: &Http) -> Vec<Section<'static>> {
    sections(HTTP_KEYS, |key| match key.value {
        Getter::Http(get) => get(http),
        _ => None,
    })
}

fn log_sections(log: &LogFile) -> Vec<Section<'static>> {
    sections(LOG_KEYS, |key| match key.value {
        Getter::Log(get) => get(log),
        _ => None,
    })
}

fn metrics_sections(metrics: &Metrics) -> Vec<Section<'static>> {
    sections(METRICS_KEYS, |key| match key.value {
        Getter::Metrics(get) => get(metrics),
        _ => None,
    })
}

fn otel_sections(otel: &Otel) -> Vec<Section<'static>> {
    sections(OTEL_KEYS, |key| match key.value {
        Getter::Otel(get) => get(otel),
        _ => None,
    })
}

/// The settings of alerts, and the receivers as a table of their own.
fn alert_sections(alerts: &Alerts) -> Vec<Section<'_>> {
    let declared = alerts.receivers.values().filter(|receiver| !receiver.is_handler);
    let receivers = declared.map(|receiver| (receiver.name.as_str(), effective_receiver(receiver)));
    vec![("", effective_settings(alerts)), ("receivers", receivers.collect())]
}

/// The keys that have a value, by their tables.
fn sections(keys: &'static [Key], value: impl Fn(&Key) -> Option<Json>) -> Vec<Section<'static>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for key in keys {
        let Some(value) = value(key) else { continue };
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        match sections.iter_mut().find(|(path, _)| *path == table) {
            Some((_, keys)) => keys.push((name, value)),
            None => sections.push((table, vec![(name, value)])),
        }
    }
    sections
}

/// The same as tables within tables.
fn nested(sections: Vec<Section<'_>>) -> Json {
    let mut root = json!({});
    for (path, keys) in sections {
        let names = path.split('.').filter(|name| !name.is_empty());
        let table = names.fold(&mut root, |table, name| &mut table[name]);
        for (name, value) in keys {
            table[name] = value;
        }
    }
    root
}

fn toml_value(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            let items: Vec<_> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(table) => {
            let keys = table.iter().map(|(key, value)| format!("{} = {}", toml_key(key), toml_value(value)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        Json::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

fn toml_key(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        toml::Value::String(key.to_owned()).to_string()
    }
}
