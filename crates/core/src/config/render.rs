//! Renders the effective configuration as TOML and as JSON. This file alone decides which values are secret.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::{
    BackoffKind, Channel, Config, Driver, Handler, Http, Limits, Mode, Redis, SnapshotHandler, Worker,
};
use crate::config::webhook::Settings;

/// Placeholder of a secret.
const HIDDEN: &str = "[hidden]";

/// A table of the effective configuration: its header and its keys in order.
struct Section {
    header: String,
    keys: Vec<(&'static str, Json)>,
}

impl Config {
    /// The effective configuration as TOML: every key of every channel, secrets hidden.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for section in self.channels.values().flat_map(sections).chain(self.http.iter().map(http)) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[{}]\n", section.header));
            for (key, value) in &section.keys {
                text.push_str(&format!("{key} = {}\n", toml_value(value)));
            }
        }
        text
    }

    /// The effective configuration as JSON, by channel, secrets hidden.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let channels = self.channels.values().map(|channel| (channel.name.clone(), channel_json(channel)));
        let channels: Map<_, _> = channels.collect();
        let http = self.http.as_ref().map(|settings| {
            let keys = http(settings).keys.into_iter().map(|(key, value)| (key.to_owned(), value));
            Json::Object(keys.collect())
        });
        json!({ "file": self.file, "channels": channels, "http": http })
    }
}

/// The store of a channel without secrets, as in `sqlite at /srv/aint-queue.db`.
impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "sqlite at {}", path.display()),
            Self::Sync => f.write_str("sync"),
            Self::Redis(redis) if redis.host.contains(':') => {
                write!(f, "redis at [{}]:{}, database {}", redis.host, redis.port, redis.database)
            }
            Self::Redis(redis) => {
                write!(f, "redis at {}:{}, database {}", redis.host, redis.port, redis.database)
            }
        }
    }
}

fn http(http: &Http) -> Section {
    let mut keys = vec![
        ("listen", json!(http.listen)),
        ("hosts", json!(http.hosts)),
        ("max_body_bytes", json!(http.max_body)),
        ("max_connections", json!(http.max_connections)),
        ("timeout_seconds", seconds(http.timeout)),
    ];
    if http.token.is_some() {
        keys.push(("token", json!(HIDDEN)));
    }
    Section { header: "http".to_owned(), keys }
}

fn channel_json(channel: &Channel) -> Json {
    let mut object = Map::new();
    for section in sections(channel) {
        let table = section.header.strip_prefix(&header(channel, "")).unwrap_or_default();
        let mut place = &mut object;
        for name in table.split('.').filter(|name| !name.is_empty()) {
            place = place
                .entry(name)
                .or_insert_with(|| Json::Object(Map::new()))
                .as_object_mut()
                .expect("sections are tables");
        }
        place.extend(section.keys.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    Json::Object(object)
}

fn header(channel: &Channel, table: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let name = &channel.name;
    let name = if name.bytes().all(bare) { name.clone() } else { format!("\"{name}\"") };
    format!("channels.{name}{table}")
}

fn sections(channel: &Channel) -> Vec<Section> {
    let section = |table: &str, keys| Section { header: header(channel, table), keys };
    let kind = match channel.backoff.kind {
        BackoffKind::Fixed => "fixed",
        BackoffKind::Linear => "linear",
        BackoffKind::Exponential => "exponential",
    };
    let mut all = vec![
        section(
            "",
            vec![
                ("pid_path", json!(channel.pid_path)),
                ("memory_limit", json!(channel.memory_limit)),
                ("max_attempts", json!(channel.max_attempts)),
                ("stop_wait_seconds", seconds(channel.stop_wait)),
                ("stop_grace_seconds", seconds(channel.stop_grace)),
                ("timeout_grace_ms", json!(u64::try_from(channel.timeout_grace.as_millis()).unwrap_or(0))),
            ],
        ),
        section(
            ".backoff",
            vec![
                ("kind", json!(kind)),
                ("base", seconds(channel.backoff.base)),
                ("max", seconds(channel.backoff.max)),
                ("jitter", json!(channel.backoff.jitter)),
            ],
        ),
    ];
    match &channel.driver {
        Driver::Sqlite { path } => {
            all.push(section(".driver", vec![("type", json!("sqlite")), ("path", json!(path))]));
        }
        Driver::Sync => all.push(section(".driver", vec![("type", json!("sync"))])),
        Driver::Redis(redis) => {
            let keys = vec![("type", json!("redis")), ("allow_eviction", json!(redis.allow_eviction))];
            all.push(section(".driver", keys));
            all.push(section(".driver.connection", connection(redis)));
        }
    }
    all.push(section(
        ".job_snapshot",
        vec![
            ("interval", seconds(channel.snapshot.interval)),
            ("handler", Json::Array(channel.snapshot.handlers.iter().map(snapshot_handler).collect())),
        ],
    ));
    all.push(section(".worker", worker(&channel.worker)));
    let limits = limits(&channel.worker.limits);
    if !limits.is_empty() {
        all.last_mut().expect("just pushed").keys.push(("limits", Json::Object(limits)));
    }
    if !channel.worker.env.is_empty() {
        let hidden = channel.worker.env.keys().map(|name| (name.clone(), json!(HIDDEN)));
        let env = Json::Object(hidden.collect());
        all.last_mut().expect("just pushed").keys.push(("env", env));
    }
    all
}

fn limits(limits: &Limits) -> Map<String, Json> {
    let all = [
        ("open_files", limits.open_files),
        ("processes", limits.processes),
        ("core_mib", limits.core_mib),
        ("cpu_seconds", limits.cpu_seconds),
        ("address_space_mib", limits.address_space_mib),
        ("file_size_mib", limits.file_size_mib),
    ];
    all.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?)))).collect()
}

fn connection(redis: &Redis) -> Vec<(&'static str, Json)> {
    let mut keys = vec![
        ("host", json!(redis.host)),
        ("port", json!(redis.port)),
        ("database", json!(redis.database)),
        ("read_write_timeout", seconds(redis.read_write_timeout)),
    ];
    if let Some(username) = &redis.username {
        keys.push(("username", json!(username)));
    }
    if redis.password.is_some() {
        keys.push(("password", json!(HIDDEN)));
    }
    keys
}

fn snapshot_handler(handler: &SnapshotHandler) -> Json {
    match handler {
        SnapshotHandler::Log => json!({ "type": "log" }),
        SnapshotHandler::Command { command, timeout } => {
            json!({ "type": "command", "command": command, "timeout_seconds": seconds(*timeout) })
        }
    }
}

fn worker(worker: &Worker) -> Vec<(&'static str, Json)> {
    let mut keys = vec![
        ("type", json!(worker.mode.as_str())),
        ("sleep_seconds", seconds(worker.sleep)),
        ("memory_limit", json!(worker.memory_limit)),
        ("max_execute_seconds", seconds(worker.max_execute.unwrap_or_default())),
        ("boot_timeout_seconds", seconds(worker.boot_timeout)),
    ];
    keys.extend(worker.memory_hard_limit.map(|mib| ("memory_hard_limit", json!(mib))));
    for (key, value) in [("user", &worker.user), ("group", &worker.group)] {
        keys.extend(value.as_ref().map(|name| (key, json!(name))));
    }
    keys.extend(worker.nice.map(|nice| ("nice", json!(nice))));
    let plan = worker.plan;
    if worker.mode == Mode::ProcessPool {
        keys.push(("dynamic_mode", json!(worker.dynamic)));
        keys.push(("min_worker_number", json!(plan.min)));
        keys.push(("max_worker_number", json!(plan.max)));
        keys.push(("target_wait_seconds", seconds(worker.target_wait)));
        keys.push(("capacity", json!(worker.capacity)));
        keys.push(("cool_down_seconds", seconds(worker.cool_down)));
        keys.push(("flex_interval", seconds(worker.flex_interval)));
        keys.extend(worker.pool_memory_limit.map(|mib| ("pool_memory_limit", json!(mib))));
    }
    if worker.mode == Mode::Coroutine {
        keys.push(("max_coroutine", json!(plan.slots)));
    }
    if worker.mode != Mode::Process && !matches!(worker.handler, Handler::Exec { .. }) {
        keys.push(("max_handle_number", json!(plan.jobs_per_life)));
        keys.push(("max_life_seconds", seconds(worker.max_life.unwrap_or_default())));
    }
    match &worker.handler {
        Handler::Registered => {}
        Handler::Wire { command } => {
            keys.extend([("command", json!(command)), ("protocol", json!("wire"))]);
        }
        Handler::Exec { command } => {
            keys.extend([("command", json!(command)), ("protocol", json!("exec"))]);
        }
        Handler::Webhook(settings) => keys.extend(webhook(settings)),
    }
    keys
}

fn webhook(settings: &Settings) -> Vec<(&'static str, Json)> {
    let mut keys = vec![
        ("url", json!(settings.url.to_string())),
        ("secret", json!(HIDDEN)),
        ("allow_http", json!(settings.allow_http)),
        ("allow_private", json!(settings.allow_private)),
    ];
    if !settings.headers.is_empty() {
        let hidden = settings.headers.iter().map(|(name, _)| (name.clone(), json!(HIDDEN)));
        keys.push(("headers", Json::Object(hidden.collect())));
    }
    if let Some(file) = &settings.ca_file {
        keys.push(("ca_file", json!(file)));
    }
    keys
}

/// Whole seconds as an integer, others as a float.
fn seconds(duration: Duration) -> Json {
    if duration.subsec_nanos() == 0 { json!(duration.as_secs()) } else { json!(duration.as_secs_f64()) }
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
