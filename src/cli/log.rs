//! The log of the commands that run jobs, on standard error, as text or JSON.
//!
//! While the log is open, every message of the command goes through it, so that each line has the chosen format and no
//! message waits for a stuck reader.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal};

use clap::ValueEnum;
use serde_json::json;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use super::{CommandContext, Exit, Failure, sanitize};
use crate::logging::{self, FLUSH_TIMEOUT, LogWriter};

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

/// The open log of a command.
pub(crate) struct Log {
    writer: LogWriter,
    format: LogFormat,
    colours: bool,
    /// The writer takes no further lines.
    ended: Cell<bool>,
}

impl Log {
    /// Starts the log. `usual` is the filter when neither the options nor AINT_QUEUE_LOG set one.
    pub(super) fn start(context: &CommandContext, format: LogFormat, usual: &str) -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::Failed, "start the log").because(error);
        let writer = LogWriter::start(format == LogFormat::Json).map_err(failed)?;
        let level = match (context.globals().verbose, context.quiet()) {
            (0, false) => usual,
            (0, true) => "error",
            (1, _) => "debug",
            (_, _) => "trace",
        };
        let filter = std::env::var(FILTER_VARIABLE).ok().and_then(|text| text.parse::<EnvFilter>().ok());
        let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
        let colours = context.colours_for(io::stderr().is_terminal());
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
                .with_target(context.globals().verbose > 1)
                .try_init(),
        };
        report_panics();
        Ok(Self { writer, format, colours, ended: Cell::new(false) })
    }

    /// The writer of the log.
    pub(super) fn writer(&self) -> LogWriter {
        self.writer.clone()
    }

    /// Writes a message of the command itself. `label` is `note`, `warning` or `error`.
    pub(super) fn message(&self, label: &str, message: &str, hint: Option<&str>) {
        let text = match self.format {
            LogFormat::Json => json_message(label, message, hint),
            LogFormat::Text => text_message(label, message, hint, self.colours),
        };
        if self.ended.get() {
            logging::write_with_deadline(text);
        } else {
            self.writer.write_line(text.as_bytes());
        }
    }

    /// Writes the queued lines, with a deadline, and ends the log.
    pub(super) fn end(&self) {
        if self.ended.replace(true) {
            return;
        }
        let dropped = self.writer.dropped().total();
        if dropped > 0 {
            let message = format!("{dropped} log lines were dropped because the log was read too slowly");
            self.writer.write_line(
                match self.format {
                    LogFormat::Json => json_message("warning", &message, None),
                    LogFormat::Text => text_message("warning", &message, None, self.colours),
                }
                .as_bytes(),
            );
        }
        self.writer.close(FLUSH_TIMEOUT);
    }
}

/// Reports panics in the log. The usual report goes to standard error, waits for its reader, and is no JSON.
fn report_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("a value that is not text");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
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
