//! The log of the commands that run jobs, on standard error, as text or JSON.
//!
//! Logging never blocks the master: lines go through a bounded queue to a writer thread; lines that do not fit are dropped
//! and counted.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::CommandContext;

/// Most lines queued for a slow reader of standard error; each has at most 4 KiB.
const MAX_WAITING_LINES: usize = 8192;

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// Handle of the log; dropping it writes the queued lines.
pub(crate) struct Log {
    _writer: WorkerGuard,
    dropped: ErrorCounter,
}

impl Log {
    /// Starts the log. `usual` is the filter when neither the options nor AINT_QUEUE_LOG set one.
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
        // An error means a second log in one process; each command starts at most one.
        let _ = match format {
            LogFormat::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
            LogFormat::Text => log.with_ansi(colours).with_target(globals.verbose > 1).try_init(),
        };
        Self { _writer: guard, dropped }
    }

    /// Number of lines dropped because standard error was read too slowly.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }
}
