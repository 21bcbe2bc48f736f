//! Configuration: from a TOML file to checked, complete values.
//!
//! Code behind this module sees complete values only: defaults are filled in, channels have inherited from
//! `[defaults]`, paths are absolute, `worker.type` has become a [`Plan`].
//!
//! Each step from the file to the values is one file here: `spanned` (the TOML with the position of every value and
//! with `${…}` substituted), `validate` (each table against the list in `keys`), `inherit` (`[defaults]` under each
//! channel), `build` (defaults of keys, contradictions). One run reports every mistake with its position and its remedy.

pub mod alerts;
mod base_url;
mod build;
mod channel_name;
#[cfg(feature = "server")]
pub mod command_check;
mod command_line;
mod connector;
mod dashboard;
#[cfg(feature = "server")]
mod effective_value;
mod error;
mod http;
mod idle_keys;
mod inherit;
mod interpolation;
mod key_table;
mod keys;
mod load;
mod log_file;
mod metrics;
mod otel;
pub mod passed_env;
pub mod plan;
mod push_destinations;
mod redis_url;
#[cfg(feature = "server")]
mod reload_diff;
#[cfg(feature = "server")]
mod render;
#[cfg(feature = "server")]
mod run_directories;
mod run_directory;
mod schema;
mod spanned;
#[cfg(test)]
mod tests;
mod token_strength;
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

pub use channel_name::is_channel_name;
pub use command_line::CommandLine;
pub use error::{ConfigError, Problem, UndeclaredChannel};
pub use key_table::key_table;
pub use load::{DEFAULT_FILE, FILE_VARIABLE, LOCAL_FILE};
#[doc(hidden)]
pub use otel::traces_endpoint;
pub use push_destinations::PushDestinations;
#[cfg(feature = "server")]
pub use reload_diff::{ReloadDiff, changed_tables, reload_diff};
#[cfg(feature = "server")]
#[doc(hidden)]
pub use run_directories::run_directories;
#[doc(hidden)]
pub use run_directory::{canonical, stable_hash};

use passed_env::PassedEnv;
use plan::{Plan, Recycling, Scaling};

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from; `None` for the built-in configuration.
    pub file: Option<PathBuf>,
    /// Another file that was found beside it and is not used.
    pub ignored: Option<PathBuf>,
    /// Of a file that no operator has named: the number of directories below and including the one where it was looked for.
    pub(crate) found_below: Option<usize>,
    /// The declared channels, by name.
    pub channels: BTreeMap<String, Channel>,
    /// The HTTP listener of a master; `None` for none.
    pub http: Option<Http>,
    /// The log file of a master; `None` for standard error.
    pub log: Option<LogFile>,
    /// Alerts; `None` without the table `[alerts]`.
    #[cfg(feature = "server")]
    pub alerts: Option<alerts::Alerts>,
    /// The readers of metrics and health.
    pub metrics: Metrics,
    /// Traces for OpenTelemetry; `None` without the table `[otel]`.
    pub otel: Option<Otel>,
    /// Settings that are allowed but probably unintended; commands print them on standard error.
    pub warnings: Vec<Problem>,
}

/// The settings of a channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The channel's name.
    pub name: String,
    /// The file that declares the channel; `None` for the built-in configuration.
    pub source: Option<PathBuf>,
    /// The run directory, absolute: pid file, lock file and control socket of the channel.
    pub pid_path: PathBuf,
    /// The master's own memory limit in MiB.
    pub memory_limit: u64,
    /// Attempts of a job that sets no number itself; at least 1.
    pub max_attempts: u32,
    /// Most waiting and delayed jobs; `None` for no limit.
    pub max_waiting: Option<u64>,
    /// Most bytes of all jobs in the store; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Longest time that the front job of a lower priority waits behind jobs of higher ones; `None` for no limit.
    pub priority_max_wait: Option<Duration>,
    /// The wait before the next attempt of a failed job.
    pub backoff: Backoff,
    /// Time that a stop waits for running jobs.
    pub stop_wait: Duration,
    /// Time between asking a worker to stop and killing it.
    pub stop_grace: Duration,
    /// Time between asking a timed-out job to end and killing its worker.
    pub timeout_grace: Duration,
    /// Whether the last lines of a failed run are kept with its job.
    pub keep_output: bool,
    /// How many done jobs stay in the store, and for how long; `None` keeps none.
    pub keep_done: Option<KeepDone>,
    /// The store of the channel.
    pub driver: Driver,
    /// Periodic counts and their receivers.
    pub snapshot: Snapshot,
    /// The rules of alerts; none while no receiver is declared.
    #[cfg(feature = "server")]
    pub rules: Vec<alerts::Rule>,
    /// The lines of the log about jobs that are done or released.
    pub job_log: JobLog,
    /// The workers of the channel.
    pub worker: Worker,
}

/// How many done jobs of a channel stay in its store, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepDone {
    /// Most such jobs, at least 1.
    pub count: u64,
    /// Longest time after the end of a job.
    pub age: Duration,
}

/// The readers of metrics and health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The address of a listener of its own; `None`: the HTTP listener has them, if there is one.
    pub listen: Option<SocketAddr>,
    /// Host names beside `localhost` that requests to that listener may use, in lower case.
    pub hosts: Vec<String>,
    /// The bearer token of scrapes.
    pub token: Option<Secret>,
}

/// Traces for OpenTelemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Otel {
    /// Whether spans are sent.
    pub enabled: bool,
    /// The base URL of the collector; `None`: `OTEL_EXPORTER_OTLP_ENDPOINT` names it.
    pub endpoint: Option<String>,
    /// The name of the service in traces; `None`: `OTEL_SERVICE_NAME` has it.
    pub service_name: Option<String>,
    /// The share of new traces that is recorded; `None`: `OTEL_TRACES_SAMPLER` decides.
    pub sample_ratio: Option<f64>,
    /// The parent of the span of a run.
    pub parent: RunParent,
    /// Whether turns at the store have spans.
    pub turns: bool,
}

/// The parent of the span of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunParent {
    /// The push, for a run that starts within an hour of it; else none, with a link to the push.
    #[default]
    Auto,
    /// The push.
    Child,
    /// None: a trace of its own, with a link to the push.
    Link,
}

impl RunParent {
    /// The value of `otel.parent`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Child => "child",
            Self::Link => "link",
        }
    }
}

/// The HTTP listener of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The bearer token of clients; always set when `listen` is not a loopback address.
    pub token: Option<Secret>,
    /// Host names beside `localhost` that requests may use, in lower case.
    pub hosts: Vec<String>,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most connections of one address at once; without effect on loopback addresses.
    pub max_connections_per_peer: usize,
    /// Longest time for the head of a request, its body, and each part of the response.
    pub timeout: Duration,
    /// The base of links to pages, without a slash at its end; `None` for no links.
    pub public_url: Option<String>,
    /// The dashboard; `None` while it is off.
    pub dashboard: Option<Dashboard>,
}

/// The settings of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dashboard {
    /// The name of the installation in titles; `None` for the name of the host.
    pub title: Option<String>,
    /// The tokens of people who see everything and change nothing, by name.
    pub viewers: BTreeMap<String, Secret>,
    /// The tokens of people who may also act, by name.
    pub operators: BTreeMap<String, Secret>,
    /// Whether a visitor without a token sees counts, names and states.
    pub anonymous: bool,
    /// Whether a visitor without a token sees payloads, headers, output and errors, too.
    pub anonymous_sees_payloads: bool,
    /// Parts of names whose values are shown as dots, in lower case.
    pub hide: Vec<String>,
}

/// The log file of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// The file, as an absolute path.
    pub file: PathBuf,
    /// Size at which the file is renamed; 0 = no limit.
    pub max_bytes: u64,
    /// Renamed files that are kept.
    pub keep: u32,
}

/// The lines of the log about jobs that are done or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLog {
    /// The level of the lines.
    pub level: JobLogLevel,
    /// Most lines per second; 0 = no limit.
    pub lines_per_second: u32,
}

/// The level of a [`JobLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobLogLevel {
    /// No lines.
    Off,
    /// Lines with `-v`.
    Debug,
    /// Lines in the usual log.
    Info,
}

impl JobLogLevel {
    /// The value of `job_log.level`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Debug => "debug",
            Self::Info => "info",
        }
    }
}

/// The wait before the next attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The growth of the wait.
    pub kind: BackoffKind,
    /// The wait after the first attempt.
    pub base: Duration,
    /// The longest wait, before jitter.
    pub max: Duration,
    /// The waits after the first, second … attempt, in place of `kind`, `base` and `max`; the last one repeats. Empty for none.
    pub delays: Vec<Duration>,
    /// Largest random share added to the wait, 0.0 to 1.0.
    pub jitter: f64,
}

/// The growth of a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffKind {
    /// Always `base`.
    Fixed,
    /// `base` times the attempts so far.
    Linear,
    /// `base`, doubled with every attempt.
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

/// The store of a channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Driver {
    /// A SQLite file.
    Sqlite {
        /// The file, as an absolute path.
        path: PathBuf,
        /// Whether a configuration file names it, by `driver.path` or by its own place. A file that is merely found in the
        /// current directory must belong to this user or root.
        named: bool,
    },
    /// A Redis or Valkey server.
    Redis(Redis),
    /// No store: a push runs the job in the caller.
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

/// The connection to a Redis server.
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
    /// Send the password to another host without encryption and without a warning.
    pub allow_cleartext: bool,
    /// Text before the names of all keys; empty for none.
    pub prefix: String,
}

/// A value that is hidden in every output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the code that sends it.
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

/// Periodic counts and their receivers.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Time between two snapshots.
    pub interval: Duration,
    /// The receivers; empty for none.
    #[cfg(feature = "server")]
    pub handlers: Vec<SnapshotHandler>,
}

/// A receiver of snapshots, or one of alerts with its only rule.
#[cfg(feature = "server")]
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotHandler {
    /// The receiver. Its name has the name of the channel.
    pub receiver: alerts::Receiver,
    /// The rule, for a receiver of alerts; without one every snapshot is sent.
    pub rule: Option<alerts::Rule>,
}

/// The workers of a channel.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The mode by name, for output.
    pub mode: Mode,
    /// The mode as numbers, for the engine.
    pub plan: Plan,
    /// The code that runs the jobs.
    pub handler: Handler,
    /// The demo jobs of the `aint-queue` binary run. A configuration file must switch them on.
    pub demo_jobs: bool,
    /// Longest idle wait of the master; a push wakes the channel at once.
    pub sleep: Duration,
    /// The rules for replacing or killing a worker.
    pub recycling: Recycling,
    /// Longest run, from dispatch, of a job that sets no limit itself; `None` for no limit.
    pub max_execute: Option<Duration>,
    /// The rules for the number of workers.
    pub scaling: Scaling,
    /// Bytes of output of one worker that are logged per second; 0 = no limit.
    pub log_rate: u64,
    /// Longest time from the start of a worker to its hello.
    pub boot_timeout: Duration,
    /// Environment variables of the worker, beside those it inherits.
    pub env: BTreeMap<String, String>,
    /// The variables of the master's environment that the worker inherits.
    pub passed_env: PassedEnv,
    /// The channels that jobs may push into.
    pub may_push: PushDestinations,
    /// The user of the workers, as written; the master's when absent.
    pub user: Option<String>,
    /// The group of the workers, as written; the user's when absent.
    pub group: Option<String>,
    /// The nice value of the workers; the master's when absent.
    pub nice: Option<i32>,
    /// Resource limits of each worker.
    pub limits: Limits,
}

/// Resource limits (`setrlimit`) of each worker; those of the master where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// Processes and threads of the user.
    pub processes: Option<u64>,
    /// Size of a core dump, in MiB.
    pub core_mib: Option<u64>,
    /// Processor time, in seconds.
    pub cpu_seconds: Option<u64>,
    /// Address space, in MiB.
    pub address_space_mib: Option<u64>,
    /// Size of a written file, in MiB.
    pub file_size_mib: Option<u64>,
}

/// The three modes of `worker.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A fresh process per job, one after the other.
    Process,
    /// Long-lived processes, one job each.
    ProcessPool,
    /// A process, many jobs at once.
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

/// The code that runs a channel's jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// The jobs registered in this binary.
    Registered,
    /// A long-lived program that uses the worker protocol.
    Wire {
        /// The program and its arguments.
        command: CommandLine,
    },
    /// A program started once per job.
    Exec {
        /// The program and its arguments.
        command: CommandLine,
    },
    /// A server that gets each job as a signed request.
    Webhook(Box<webhook::Settings>),
}

impl Handler {
    /// The program and its arguments, if there is one.
    #[must_use]
    pub fn command(&self) -> Option<&CommandLine> {
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
