//! Which channels a master serves, and how.

use std::sync::Arc;

use crate::config::Config;
use crate::logging::LogWriter;
use crate::snapshot::NamedHandler;

/// The channels to serve and the options of the master.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// The configuration.
    pub config: Arc<Config>,
    /// Names of the channels to serve; each is declared in the configuration.
    pub channels: Vec<String>,
    /// Whether to open the configured HTTP listener.
    pub http: bool,
    /// Whether a master above its `memory_limit` may re-exec. False where the process does more than run a master.
    pub may_reexec: bool,
    /// The log of the process, whose dropped lines the master reports; `None` without a log.
    pub log: Option<LogWriter>,
    /// The handlers of snapshots that the program has registered.
    pub snapshot_handlers: Vec<NamedHandler>,
}

impl ListenOptions {
    /// The limit on the master's own memory, in MiB: the largest one among the served channels.
    pub(super) fn memory_limit(&self) -> u64 {
        let channels = self.channels.iter().filter_map(|name| self.config.channels.get(name));
        channels.map(|channel| channel.memory_limit).max().unwrap_or(u64::MAX >> 20)
    }
}
