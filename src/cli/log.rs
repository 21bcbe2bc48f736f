//! The log of the commands that run jobs, on standard error or in a file, as text or JSON.
//!
//! While the log is open, every message of the command goes through it, so that each line has the chosen format and no
//! message waits for a stuck reader.

use std::cell::Cell;
use std::fmt;

use clap::ValueEnum;
use serde_json::json;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::{Exit, Failure, sanitize};
use crate::access::{self, Access};
use crate::logging::{self, FLUSH_TIMEOUT, LogFileSettings, LogWriter};
use crate::snapshot::REGISTERED_THREAD;

const FILE_HINT: &str = "check log.file in [log]: its directory must exist and be writable; without the key the log goes to standard error";

/// The environment variable with a filter for the log.
const FILTER_VARIABLE: &str = "AINT_QUEUE_LOG";

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// The options of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions<'a> {
    pub(crate) format: LogFormat,
    /// The filter when neither the options nor AINT_QUEUE_LOG set one.
    pub(crate) usual: &'a str,
    /// How often `-v` was given.
    pub(crate) verbose: u8,
    pub(crate) quiet: bool,
    /// Standard error may contain colours.
    pub(crate) colours: bool,
}

/// The open log of a command.
pub(crate) struct Log {
    writer: LogWriter,
    format: LogFormat,
    colours: bool,
    /// The lines go to a file.
    has_file: bool,
    /// The writer takes no further lines.
    ended: Cell<bool>,
}

impl Log {
    /// Starts the log.
    ///
    /// # Errors
    /// When the file cannot be opened. Then nothing is started, and the log can be started without a file.
    pub(super) fn start(options: &LogOptions<'_>, file: Option<LogFileSettings>) -> Result<Self, Failure> {
        let format = options.format;
        let has_file = file.is_some();
        let doing = match &file {
            Some(file) => format!("open the log file \"{}\"", file.path.display()),
            None => "start the log".to_owned(),
        };
        let path = file.as_ref().map(|file| file.path.clone());
        let explained = |error| match &path {
            Some(path) => access::explained(error, path, Access::Write),
            None => error,
        };
        let writer = LogWriter::start(format == LogFormat::Json, file)
            .map_err(explained)
            .map_err(|error| Failure::new(Exit::Config, doing).because(error).hint(FILE_HINT))?;
        let (filter, wrong_filter) = filter(options);
        let colours = !has_file && options.colours;
        let log = tracing_subscriber::fmt().with_env_filter(filter);
        // An error means a second log in one process; each command starts at most one.
        let _ = match format {
            LogFormat::Json => {
                log.with_writer(writer.clone()).json().flatten_event(true).with_current_span(false).try_init()
            }
            LogFormat::Text => log
                .with_writer(writer.clone())
                .fmt_fields(debug_fn(write_field).delimited(" "))
                .with_ansi(colours)
                .with_target(options.verbose > 1)
                .try_init(),
        };
        report_panics();
        let log = Self { writer, format, colours, has_file, ended: Cell::new(false) };
        if let Some(error) = wrong_filter {
            log.message("warning", &format!("{FILTER_VARIABLE} is not used: {error}"), None);
        }
        Ok(log)
    }

    /// The writer of the log.
    pub(super) fn writer(&self) -> LogWriter {
        self.writer.clone()
    }

    /// Writes a message of the command itself. `label` is `note`, `warning` or `error`.
    pub(super) fn message(&self, label: &str, message: &str, hint: Option<&str>) {
        let text = self.format(label, message, hint);
        if !self.ended.get() {
            if self.has_file && self.format == LogFormat::Text {
                log_message(label, message, hint);
            } else {
                self.writer.write_line(text.as_bytes());
            }
        }
        // The person who starts a master looks at standard error, also when the log is a file.
        if self.ended.get() || self.has_file {
            logging::write_with_deadline(text);
        }
    }

    /// Writes a note to standard error only.
    pub(super) fn note_on_stderr(&self, message: &str) {
        logging::write_with_deadline(self.format("note", message, None));
    }

    fn format(&self, label: &str, message: &str, hint: Option<&str>) -> String {
        match self.format {
            LogFormat::Json => json_message(label, message, hint),
            LogFormat::Text => text_message(label, message, hint, self.colours),
        }
    }

    /// Writes the queued lines, with a deadline, and ends the log.
    pub(super) fn end(&self) {
        if self.ended.get() {
            return;
        }
        let dropped = self.writer.dropped().total();
        if dropped > 0 {
            let message = format!("{dropped} log lines were dropped because the log was read too slowly");
            self.message("warning", &message, None);
        }
        self.ended.set(true);
        self.writer.close(FLUSH_TIMEOUT);
    }
}

/// The filter of the log, and the mistake in AINT_QUEUE_LOG if there is one. `-v` shows more of this program, not of the libraries
/// below it.
fn filter(options: &LogOptions<'_>) -> (EnvFilter, Option<String>) {
    const OWN: [&str; 3] = ["aint_queue", "aint_queue_core", "worker"];
    let own = |level: &str, others: &str| {
        let own = OWN.map(|target| format!("{target}={level}")).join(",");
        EnvFilter::new(format!("{others},{own}"))
    };
    let by_options = || match (options.verbose, options.quiet) {
        (0, false) => EnvFilter::new(options.usual),
        (0, true) => EnvFilter::new("error"),
        (1, _) => own("debug", "info"),
        (2, _) => own("trace", "debug"),
        (_, _) => EnvFilter::new("trace"),
    };
    match std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty()) {
        None => (by_options(), None),
        Some(text) => match text.parse::<EnvFilter>() {
            Ok(filter) => (filter, None),
            Err(error) => (by_options(), Some(error.to_string())),
        },
    }
}

/// Reports panics in the log. The usual report goes to standard error, waits for its reader, and is no JSON.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("a value that is not text");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        // The code of the application: its failure is reported with its name, once.
        if std::thread::current().name() == Some(REGISTERED_THREAD) {
            return tracing::debug!(%location, "snapshot handler panicked: {text}");
        }
        tracing::error!(%location, "panic: {text}; please report this bug");
    }));
}

/// Writes a field of a text line, sanitised: no value forges a line or reorders the text around it.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = format!("{value:?}");
    let text = crate::sanitize::output_line(&text);
    match field.name() {
        "message" => writer.write_str(&text),
        name if writer.has_ansi_escapes() => {
            write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{text}")
        }
        name => write!(writer, "{name}={text}"),
    }
}

/// A message as a line of the log like others, with its time and level.
fn log_message(label: &str, message: &str, hint: Option<&str>) {
    const TARGET: &str = "aint_queue::cli";
    match label {
        "error" => tracing::error!(target: TARGET, hint, "{message}"),
        "warning" => tracing::warn!(target: TARGET, hint, "{message}"),
        _ => tracing::info!(target: TARGET, hint, "{message}"),
    }
}

fn text_message(label: &str, message: &str, hint: Option<&str>, colours: bool) -> String {
    let label = match label {
        "error" if colours => "\x1b[1;31merror\x1b[0m",
        label => label,
    };
    let hint = hint.map(|hint| format!("hint: {}\n", sanitize::lines(hint))).unwrap_or_default();
    format!("{label}: {}\n{hint}", sanitize::lines(message))
}

/// A message with the fields of a log line.
fn json_message(label: &str, message: &str, hint: Option<&str>) -> String {
    let level = match label {
        "error" => "ERROR",
        "warning" => "WARN",
        _ => "INFO",
    };
    let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let mut line = json!({ "timestamp": timestamp, "level": level, "message": message });
    if let Some(hint) = hint {
        line["hint"] = hint.into();
    }
    line["target"] = "aint_queue::cli".into();
    sanitize::json(&line) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_format_of_the_log() {
        assert_eq!(text_message("error", "a\x1b\nb", Some("c"), false), "error: a\\u{1b}\nb\nhint: c\n");
        let line = json_message("warning", "a\nb\u{202e}", None);
        assert_eq!(line.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"a\nb\u{202e}".into()));
        assert!(line.get("hint").is_none() && line["timestamp"].as_str().is_some());
    }
}
