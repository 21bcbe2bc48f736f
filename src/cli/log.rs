//! The log of the commands that run jobs: to standard error, for people or as JSON.
//!
//! Writing never holds up the master: lines go through a bounded queue to a thread of their own, and what does not fit is
//! dropped and counted.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::CommandContext;

/// Lines that wait for a slow reader of standard error; at most 4 KiB each.
const MAX_WAITING_LINES: usize = 8192;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    #[default]
    Text,
    /// A JSON object per line
    Json,
}

/// Keeps the log going; dropping it writes what waits.
pub(crate) struct Log {
    _writer: WorkerGuard,
    dropped: ErrorCounter,
}

impl Log {
    /// Starts the log. `usual` is what is logged when neither options nor AINT_QUEUE_LOG say otherwise.
    pub(crate) fn start(context: &CommandContext, format: LogFormat, usual: &str) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MAX_WAITING_LINES)
            .thread_name("log")
            .finish(io::stderr());
        let dropped = writer.error_counter();
        let level = match (context.globals().verbose, context.quiet()) {
            (0, false) => usual,
            (0, true) => "error",
            (1, _) => "debug",
            (_, _) => "trace",
        };
        let filter = std::env::var("AINT_QUEUE_LOG").ok().and_then(|text| text.parse::<EnvFilter>().ok());
        let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
        let globals = context.globals();
        let colours = context.colours_for(io::stderr().is_terminal());
        // A second log in one process cannot happen: each command starts one at most.
        let _ = match format {
            LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
            LogFormat::Text => log.with_ansi(colours).with_target(globals.verbose > 1).try_init(),
        };
        Self { _writer: guard, dropped }
    }

    /// How many lines were dropped because standard error was too slow.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }
}
