//! `queue:listen`: runs the master.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::log::LogFormat;
use super::{CommandContext, Exit, Failure, time};
use crate::config::Config;
use crate::master::{self, Handover, ListenError, LockError, MasterExit};
use crate::store::StoreIdentity;

/// Run the jobs of channels until stopped
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// All declared channels (or give --channel more than once)
    #[arg(long, alias = "all-channels", conflicts_with = "channels")]
    all: bool,
    /// Open no HTTP listener, even if one is configured
    #[arg(long)]
    no_http: bool,
    /// Format of log lines
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
}

impl Listen {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        // Before the log starts its thread, which must not take signals.
        master::block_signals();
        let file = context.log_file();
        let log = context.start_log(self.log_format, "info", file.clone())?;
        let handover = Handover::from_env();
        if let Some(file) = file.filter(|_| handover.is_none() && !context.quiet()) {
            log.note_on_stderr(&format!("logging to {}", file.path.display()));
        }
        // After a re-exec serve the inherited channels only: other channels on the command line may no longer exist.
        let channels = match &handover {
            Some(handover) => context.named(handover.channels())?,
            None => context.channels(self.all)?,
        };
        for channel in &channels {
            CommandContext::check_served(channel, "run the jobs")?;
            context.warn_of_no_handlers(channel);
        }
        if let Err(unknown) = time::check_zone() {
            context.warn(&format!("{}: pushes with a local time are refused", unknown.message()));
        }
        let channels = channels.iter().map(|channel| channel.name.clone()).collect();
        let config = Arc::new(context.checked_config()?.clone());
        let log = Some(log.writer());
        let snapshot_handlers = context.program().snapshot_handlers.clone();
        let listen = master::ListenOptions {
            config,
            channels,
            http: !self.no_http,
            may_reexec: true,
            log,
            snapshot_handlers,
        };
        let config = Arc::clone(&listen.config);
        match master::listen(listen, handover).map_err(|error| failure(error, &config))? {
            MasterExit::Stopped => Ok(()),
            MasterExit::Reexec(handover) => {
                context.end_log();
                let error = handover.exec();
                Err(Failure::new(Exit::Failed, "run this program again").because(error))
            }
        }
    }
}

/// The failure of a master that could not start.
pub(super) fn failure(error: ListenError, config: &Config) -> Failure {
    let doing = "run the jobs";
    let hint = master_hint(&error, config);
    match error {
        ListenError::Store { channel, source } => {
            Failure::store(format!("open the store of channel \"{channel}\""), source)
        }
        ListenError::Address { key, address, source } => {
            let hint = address_hint(key, &source);
            Failure::new(Exit::Failed, doing)
                .because(ListenError::Address { key, address, source })
                .hint(hint)
        }
        ListenError::Lock { channel, source } if source.is_held() => {
            let doing = format!("run the jobs of channel \"{channel}\"");
            Failure::new(Exit::Running, doing).because(source).hint(hint)
        }
        error => {
            let exit = match &error {
                ListenError::Program { .. }
                | ListenError::Account { .. }
                | ListenError::SnapshotHandler { .. } => Exit::Config,
                _ => Exit::Failed,
            };
            Failure::new(exit, doing).because(error)
        }
    }
}

/// The remedy for an address that cannot be listened on.
fn address_hint(key: &str, source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return format!(
            "a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE: choose another one for {key}"
        );
    }
    let change = match key {
        "metrics.listen" => {
            "change metrics.listen, or remove it: the listener of [http], if there is one, has /metrics too"
        }
        _ => "change http.listen",
    };
    format!(
        "{change}; if another master of the same configuration has the port, start this one with --no-http, without listeners"
    )
}

/// The remedy when another master has the lock of a channel; empty for other errors.
fn master_hint(error: &ListenError, config: &Config) -> String {
    let ListenError::Lock { channel, source: LockError::Held { path, store, .. } } = error else {
        return String::new();
    };
    let meant = config.channels.get(channel).and_then(|channel| StoreIdentity::of(&channel.driver));
    match (store, meant) {
        (Some(served), Some(meant)) if !served.is_same(&meant) && !served.is_pending(&meant) => {
            let (served, meant) = served.distinct_texts(&meant);
            let directory = path.parent().unwrap_or(path).display();
            format!(
                "that master serves {served}, this configuration means {meant}: give one of them a pid_path of its own (now \"{directory}\")"
            )
        }
        _ => "queue:status shows it, queue:stop stops it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::Driver;

    #[test]
    fn remedy_names_pid_path_only_for_another_store() {
        let config = Config::built_in(Path::new("/srv/shop"));
        let said = |store: &str| {
            let driver = Driver::Sqlite { path: PathBuf::from(store), named: true };
            let held = LockError::Held {
                pid: Some(7),
                path: PathBuf::from("/run/shop/default-master.lock"),
                store: StoreIdentity::of(&driver).map(Box::new),
            };
            failure(ListenError::Lock { channel: "default".to_owned(), source: held }, &config).to_string()
        };
        let running =
            "could not run the jobs of channel \"default\": another master is running, pid 7\nhint: ";
        assert_eq!(
            said("/srv/shop/aint-queue.db"),
            format!("{running}queue:status shows it, queue:stop stops it")
        );
        let other = said("/srv/blog/aint-queue.db");
        assert!(other.starts_with(&format!("{running}that master serves")), "{other}");
        assert!(other.contains("/srv/blog/aint-queue.db") && other.contains("pid_path"), "{other}");
    }
}
