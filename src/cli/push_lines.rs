//! Reads the lines of a bulk push: one JSON object each, of bounded length.

use std::io::{self, BufRead, BufReader, Read};

use thiserror::Error;

use crate::job::{MAX_PAYLOAD_BYTES, NewJob};
use crate::job_json::{self, JobJsonError, PushDefaults};

/// Longest line in bytes: the largest payload and 64 KiB for the other fields.
const MAX_LINE: usize = MAX_PAYLOAD_BYTES + (64 << 10);

/// Lines of bounded length, numbered from 1.
pub(super) struct Lines {
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    pub(super) number: u64,
    /// Whether reading the next line may block.
    live: bool,
}

impl Lines {
    pub(super) fn new(reader: Box<dyn Read>, live: bool) -> Self {
        Self { reader: BufReader::with_capacity(256 << 10, reader), line: Vec::new(), number: 0, live }
    }

    /// Reads the next line that is not blank. `None` at the end.
    pub(super) fn next(&mut self) -> Option<Result<&str, LineError>> {
        loop {
            self.line.clear();
            let limit = MAX_LINE as u64 + 1;
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.line);
            self.number += 1;
            match read {
                Err(error) => return Some(Err(LineError::Read(error))),
                Ok(0) => return None,
                Ok(_) if self.line.len() > MAX_LINE => return Some(Err(LineError::TooLong)),
                Ok(_) if self.line.trim_ascii().is_empty() => {}
                Ok(_) => break,
            }
        }
        Some(std::str::from_utf8(&self.line).map_err(|_| LineError::NotUtf8))
    }

    /// Whether reading the next line may block, so that the jobs read so far should be pushed first.
    pub(super) fn would_wait(&self) -> bool {
        self.live && !self.reader.buffer().contains(&b'\n')
    }
}

/// Error of a line that is not a valid job.
#[derive(Debug, Error)]
pub(super) enum LineError {
    #[error("the line cannot be read")]
    Read(#[source] io::Error),
    #[error("the line is longer than {MAX_LINE} bytes: a payload has at most 1 MiB")]
    TooLong,
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("the line names no job: add \"job\": \"name\", or name the job before --file")]
    NoJob,
    #[error(transparent)]
    Form(JobJsonError),
}

/// Parses the job of a line.
pub(super) fn parse(line: &str, defaults: &PushDefaults<'_>) -> Result<NewJob, LineError> {
    job_json::parse(line, defaults).map_err(|error| match error {
        // The command line is a second way to name the job.
        JobJsonError::NoJob => LineError::NoJob,
        other => LineError::Form(other),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::queue::PushOptions;

    #[test]
    fn line_without_job_error_names_both_ways() {
        let options = PushOptions::new();
        let parsed = |job| parse("{}", &PushDefaults { job, options: &options });
        let error = parsed(None).unwrap_err().to_string();
        assert!(error.contains("add \"job\": \"name\", or name the job before --file"), "{error}");
        assert_eq!(parsed(Some("a")).unwrap().meta.job, "a");
    }

    #[test]
    fn blank_lines_are_skipped_and_long_ones_refused() {
        let text = format!("\n  \r\n{{}}\n{}\n", "x".repeat(MAX_LINE + 1));
        let mut lines = Lines::new(Box::new(Cursor::new(text)), false);
        assert_eq!(lines.next().unwrap().unwrap().trim(), "{}");
        assert_eq!(lines.number, 3);
        assert!(matches!(lines.next(), Some(Err(LineError::TooLong))));
        assert_eq!(lines.number, 4);
    }

    #[test]
    fn last_line_needs_no_line_break() {
        let mut lines = Lines::new(Box::new(Cursor::new("a\nb")), false);
        assert_eq!(lines.next().unwrap().unwrap(), "a\n");
        assert_eq!(lines.next().unwrap().unwrap(), "b");
        assert!(lines.next().is_none());
    }
}
