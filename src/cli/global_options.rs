//! The options that every command accepts.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// The global options.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct GlobalOptions {
    /// Name of the channel [default: the only declared one, else default]
    #[arg(short = 't', long = "channel", value_name = "NAME", global = true)]
    pub(super) channels: Vec<String>,
    /// Configuration file [default: $AINT_QUEUE_CONFIG, else config/aint-queue.toml, else aint-queue.toml, else built in]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Use files and run directories whatever their owner and mode [env: AINT_QUEUE_TRUST_FILES=1]
    #[arg(long, global = true)]
    pub(super) trust_files: bool,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print only errors and JSON
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Print more; repeat the option for even more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(super) verbose: u8,
    /// Use colours even if the output is not a terminal
    #[arg(long, overrides_with = "no_ansi", global = true)]
    pub(super) ansi: bool,
    /// Use no colours (same as the environment variable NO_COLOR)
    #[arg(long, overrides_with = "ansi", global = true)]
    pub(super) no_ansi: bool,
    /// Never ask for confirmation; refuse what would need one
    #[arg(short = 'n', long, global = true)]
    pub(super) no_interaction: bool,
    /// Confirm without being asked
    #[arg(short = 'y', long, global = true)]
    pub(super) yes: bool,
}
