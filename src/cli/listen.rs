//! `queue:listen`: runs the master.

use std::sync::Arc;

use clap::Args;

use super::log::LogFormat;
use super::{CommandContext, Exit, Failure};
use crate::master::{self, Handover, ListenError, MasterExit};

/// Run the jobs of channels until stopped
#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// All declared channels (or give --channel more than once)
    #[arg(long, conflicts_with = "channels")]
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
        }
        let channels = channels.iter().map(|channel| channel.name.clone()).collect();
        let config = Arc::new(context.checked_config()?.clone());
        let log = Some(log.writer());
        let listen = master::ListenOptions { config, channels, http: !self.no_http, may_reexec: true, log };
        match master::listen(listen, handover).map_err(failure)? {
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
pub(super) fn failure(error: ListenError) -> Failure {
    let doing = "run the jobs";
    match error {
        ListenError::Store { channel, source } => {
            Failure::store(format!("open the store of channel \"{channel}\""), source)
        }
        error @ ListenError::Http { .. } => Failure::new(Exit::Failed, doing).because(error).hint(
            "change listen in [http], or start this master with --no-http if another master of the same configuration has the port",
        ),
        error => {
            let exit = match &error {
                ListenError::Lock { source, .. } if source.is_held() => Exit::Running,
                ListenError::Program { .. } | ListenError::Account { .. } => Exit::Config,
                _ => Exit::Failed,
            };
            Failure::new(exit, doing).because(error)
        }
    }
}
