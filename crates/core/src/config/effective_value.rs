//! The effective value of a key as JSON, secrets hidden.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::passed_env::PassedEnv;
use super::webhook::Settings;
use super::{Channel, CommandLine, Driver, Handler, Mode, Redis, Secret};

/// Placeholder of a secret.
pub(super) const HIDDEN: &str = "[hidden]";
/// The value of a key that only sets other keys.
pub(super) const NOT_SHOWN: Option<bool> = None;

/// A value as `config:check` shows it; `None` when there is none.
pub(super) trait Rendered {
    fn rendered(&self) -> Option<Json>;
}

macro_rules! rendered_as_json {
    ($($type:ty),*) => {
        $(impl Rendered for $type {
            fn rendered(&self) -> Option<Json> {
                Some(json!(self))
            }
        })*
    };
}
rendered_as_json!(
    bool,
    u16,
    u32,
    u64,
    usize,
    i32,
    i64,
    f64,
    str,
    String,
    Path,
    PathBuf,
    [String],
    BTreeSet<String>,
    Vec<String>,
    Json
);

impl<T: Rendered + ?Sized> Rendered for &T {
    fn rendered(&self) -> Option<Json> {
        (*self).rendered()
    }
}

impl<T: Rendered> Rendered for Option<T> {
    fn rendered(&self) -> Option<Json> {
        self.as_ref()?.rendered()
    }
}

/// Whole seconds as an integer, others as a fraction.
impl Rendered for Duration {
    fn rendered(&self) -> Option<Json> {
        Some(if self.subsec_nanos() == 0 { json!(self.as_secs()) } else { json!(self.as_secs_f64()) })
    }
}

impl Rendered for Vec<Duration> {
    fn rendered(&self) -> Option<Json> {
        self.iter().map(Rendered::rendered).collect::<Option<Vec<_>>>().map(Json::Array)
    }
}

impl Rendered for Secret {
    fn rendered(&self) -> Option<Json> {
        Some(json!(HIDDEN))
    }
}

impl Rendered for CommandLine {
    fn rendered(&self) -> Option<Json> {
        self.shown().rendered()
    }
}

/// As in the file; nothing for the default.
impl Rendered for PassedEnv {
    fn rendered(&self) -> Option<Json> {
        match self {
            Self::AllBut(_) => None,
            Self::All => Some(json!(true)),
            Self::Only(names) if names.is_empty() => Some(json!(false)),
            Self::Only(names) => Some(json!(names)),
        }
    }
}

/// A table whose values are secrets; `None` for an empty one.
pub(super) fn hidden<'a>(names: impl Iterator<Item = &'a String>) -> Option<Json> {
    let table: Map<_, _> = names.map(|name| (name.clone(), json!(HIDDEN))).collect();
    (!table.is_empty()).then_some(Json::Object(table))
}

pub(super) fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn sqlite(channel: &Channel) -> Option<&Path> {
    if let Driver::Sqlite { path, .. } = &channel.driver { Some(path) } else { None }
}

pub(super) fn redis(channel: &Channel) -> Option<&Redis> {
    if let Driver::Redis(redis) = &channel.driver { Some(redis) } else { None }
}

pub(super) fn webhook(channel: &Channel) -> Option<&Settings> {
    if let Handler::Webhook(settings) = &channel.worker.handler { Some(settings) } else { None }
}

/// Whether a worker outlives its job, so that limits on its life mean something.
pub(super) fn kept(channel: &Channel) -> bool {
    channel.worker.mode != Mode::Process && !matches!(channel.worker.handler, Handler::Exec { .. })
}
