//! Configuration: from a TOML file to checked, complete values.
//!
//! Everything behind this module sees only complete values: defaults are filled in, channels have inherited
//! from `[defaults]`, paths are absolute, `worker.type` has become a [`Plan`].
//!
//! On the way from the file to the values, each step is a file here: `tree` (the TOML with its places and with
//! `${ENV}` put in), `check` (each table against the list of `keys`), `merge` (inheritance), `read` (defaults and
//! contradictions). One run reports every mistake with its place and its remedy.

mod build;
#[cfg(feature = "server")]
pub mod command_check;
mod error;
mod http;
mod inherit;
mod keys;
mod load;
pub mod plan;
mod redis_url;
#[cfg(feature = "server")]
mod reload_diff;
#[cfg(feature = "server")]
mod render;
mod spanned;
mod suggest;
#[cfg(test)]
mod tests;
mod typed;
mod validate;
#[cfg(feature = "server")]
pub mod webhook;
#[cfg(not(feature = "server"))]
#[path = "webhook/unchecked.rs"]
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use error::{ConfigError, Problem, UndeclaredChannel};
pub use keys::key_table;
use load::run_directory;
pub use load::{DEFAULT_FILE, FILE_VARIABLE, is_channel_name};
#[cfg(feature = "server")]
pub use reload_diff::{ReloadDiff, changed_tables, reload_diff};

use plan::{Plan, Recycling, Scaling};

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None` for the built-in configuration.
    pub file: Option<PathBuf>,
    /// The declared channels, by name.
    pub channels: BTreeMap<String, Channel>,
    /// The HTTP listener of a master; `None` for none.
    pub http: Option<Http>,
    /// What is allowed but likely not meant; commands show it on standard error.
    pub warnings: Vec<Problem>,
}

/// One channel's settings.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The channel's name.
    pub name: String,
    /// The run directory: pid file, lock and control socket live here.
    pub pid_path: PathBuf,
    /// The master's own memory limit in MiB.
    pub memory_limit: u64,
    /// Attempts of a job that does not set its own.
    pub max_attempts: u32,
    /// The wait before another attempt.
    pub backoff: Backoff,
    /// How long a stop waits for running jobs.
    pub stop_wait: Duration,
    /// Between asking a worker to stop and killing it.
    pub stop_grace: Duration,
    /// Between asking a timed-out job to end and killing it.
    pub timeout_grace: Duration,
    /// Where the jobs are.
    pub driver: Driver,
    /// Periodic counts and who gets them.
    pub snapshot: Snapshot,
    /// How jobs run.
    pub worker: Worker,
}

/// The HTTP listener of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// What clients must send; always there when `listen` is not on loopback.
    pub token: Option<Secret>,
    /// Names beside `localhost` under which clients may reach it, in lower case.
    pub hosts: Vec<String>,
    /// Largest body of a request, in bytes.
    pub max_body: usize,
    /// Connections at once.
    pub max_connections: usize,
    /// How long a head, a body, a part of an answer may take.
    pub timeout: Duration,
}

/// The wait before attempt n + 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// How the wait grows.
    pub kind: BackoffKind,
    /// The wait after the first attempt.
    pub base: Duration,
    /// The longest wait, before jitter.
    pub max: Duration,
    /// Up to this share of the wait is added at random, 0.0 to 1.0.
    pub jitter: f64,
}

/// How a [`Backoff`] grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffKind {
    /// Always `base`.
    Fixed,
    /// `base` times the attempts so far.
    Linear,
    /// `base` doubled with every attempt.
    Exponential,
}

impl BackoffKind {
    /// The value of `backoff.kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Linear => "linear",
            Self::Exponential => "exponential",
        }
    }
}

/// Where a channel's jobs are.
#[derive(Clone, Debug, PartialEq)]
pub enum Driver {
    /// A SQLite file.
    Sqlite {
        /// The file, absolute.
        path: PathBuf,
    },
    /// A Redis or Valkey server.
    Redis(Redis),
    /// Nowhere: a push runs the job in the caller.
    Sync,
}

impl Driver {
    /// The value of `driver.type`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Redis(_) => "redis",
            Self::Sync => "sync",
        }
    }
}

/// How to reach a Redis server.
#[derive(Clone, Debug, PartialEq)]
pub struct Redis {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database number.
    pub database: i64,
    /// ACL user, if any.
    pub username: Option<String>,
    /// Password, if any.
    pub password: Option<Secret>,
    /// Deadline of one call.
    pub read_write_timeout: Duration,
    /// Accept a `maxmemory-policy` that may evict jobs.
    pub allow_eviction: bool,
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Periodic counts and who gets them.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// How often; `None` when there is no handler.
    pub interval: Duration,
    /// Who gets them.
    pub handlers: Vec<SnapshotHandler>,
}

/// One receiver of snapshots.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotHandler {
    /// A line in the master's log.
    Log,
    /// A program that gets the snapshot as JSON on stdin.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may run.
        timeout: Duration,
    },
}

/// How a channel's jobs run.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The mode's name, for people.
    pub mode: Mode,
    /// The mode as numbers, for the engine.
    pub plan: Plan,
    /// What runs the jobs.
    pub handler: Handler,
    /// Longest idle wait; a push wakes the channel at once.
    pub sleep: Duration,
    /// When a worker is replaced or killed.
    pub recycling: Recycling,
    /// Longest run of a job that does not set its own, from dispatch; `None` for no limit.
    pub max_execute: Option<Duration>,
    /// When the number of workers changes.
    pub scaling: Scaling,
    /// How long a worker may take from its start to its hello.
    pub boot_timeout: Duration,
    /// Variables set for the worker, beside those it inherits.
    pub env: BTreeMap<String, String>,
    /// The user to run as, as it was written; the master's when absent.
    pub user: Option<String>,
    /// The group to run as, as it was written; the user's when absent.
    pub group: Option<String>,
    /// How far workers stand back for others; as the master when absent.
    pub nice: Option<i32>,
    /// What the system limits.
    pub limits: Limits,
}

/// Limits of the system on each worker; those of the master where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Descriptors open at once.
    pub open_files: Option<u64>,
    /// Processes and threads of the user.
    pub processes: Option<u64>,
    /// A core dump, in MiB.
    pub core_mib: Option<u64>,
    /// Processor time.
    pub cpu_seconds: Option<u64>,
    /// Address space, in MiB.
    pub address_space_mib: Option<u64>,
    /// A file it writes, in MiB.
    pub file_size_mib: Option<u64>,
}

/// The three modes of `worker.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One fresh process per job, one after the other.
    Process,
    /// Long-lived processes, one job each.
    ProcessPool,
    /// One process, many jobs at once.
    Coroutine,
}

impl Mode {
    /// The value of `worker.type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::ProcessPool => "process-pool",
            Self::Coroutine => "coroutine",
        }
    }
}

/// What runs a channel's jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// The jobs registered in this binary.
    Registered,
    /// A long-lived program that speaks the worker protocol.
    Wire {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// A program started once per job.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// A server that gets each job as a signed request.
    Webhook(Box<webhook::Settings>),
}

impl Handler {
    /// The program and its arguments, if there is one.
    #[must_use]
    pub fn command(&self) -> Option<&[String]> {
        match self {
            Self::Wire { command } | Self::Exec { command } => Some(command),
            Self::Registered | Self::Webhook(_) => None,
        }
    }

    /// The value of `worker.protocol`, if there is a program.
    #[must_use]
    pub fn protocol(&self) -> Option<&'static str> {
        match self {
            Self::Wire { .. } => Some("wire"),
            Self::Exec { .. } => Some("exec"),
            Self::Registered | Self::Webhook(_) => None,
        }
    }
}
