//! A frame on a line that is too long, shortened while it arrives: its long values are cut, so that the fields behind them are found.

use super::frames::{ReadFrame, WireError};
use super::salvage::decode_shortened;

/// Longest value that is kept whole, in bytes; more than any text of a frame that counts.
const MAX_VALUE: usize = 64 << 10;
/// Most bytes that are kept of a line.
const MAX_KEPT: usize = 256 << 10;
/// Most bytes of a line that are read for its fields.
const MAX_READ: usize = 64 << 20;

/// The beginning of an object, and what of it is kept.
#[derive(Debug, Default)]
pub struct LongLine {
    kept: Vec<u8>,
    read: usize,
    /// The number of open brackets.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Where the value of a field begins in what is kept.
    value: usize,
    /// Whether the rest of the value is left out.
    is_cutting: bool,
}

impl LongLine {
    /// The line, from its beginning.
    #[must_use]
    pub fn new(start: &[u8]) -> Self {
        let mut line = Self::default();
        line.add(start);
        line
    }

    /// Adds the next part.
    pub fn add(&mut self, part: &[u8]) {
        self.read = self.read.saturating_add(part.len());
        if self.is_endless() {
            return;
        }
        for byte in part {
            self.step(*byte);
        }
    }

    /// Whether the line is longer than any that is read.
    #[must_use]
    pub fn is_endless(&self) -> bool {
        self.read > MAX_READ
    }

    /// The frame, once the line is complete.
    ///
    /// # Errors
    /// When the line is no frame.
    pub fn frame(&self) -> Result<ReadFrame, WireError> {
        decode_shortened(&self.kept)
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.step_in_string(byte);
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.value = self.kept.len();
                }
            }
            b'{' | b'[' => {
                if self.depth == 1 {
                    self.value = self.kept.len();
                }
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 1 && self.is_cutting {
                    // A list without its end is none: an empty one takes its place.
                    self.is_cutting = false;
                    self.kept.truncate(self.value);
                    self.kept.extend_from_slice(b"[]");
                    return;
                }
            }
            _ => {}
        }
        self.keep(byte);
        self.cut_long_value();
    }

    fn step_in_string(&mut self, byte: u8) {
        let is_end = byte == b'"' && !self.is_escaped;
        self.is_escaped = byte == b'\\' && !self.is_escaped;
        self.in_string = !is_end;
        if is_end && self.depth == 1 {
            self.is_cutting = false;
        }
        self.keep(byte);
        // A backslash at the cut would take the quote behind it along.
        if !self.is_escaped {
            self.cut_long_value();
        }
    }

    fn keep(&mut self, byte: u8) {
        if !self.is_cutting && self.kept.len() < MAX_KEPT {
            self.kept.push(byte);
        }
    }

    fn cut_long_value(&mut self) {
        let is_inside = self.depth > 1 || self.in_string;
        self.is_cutting |= is_inside && self.depth > 0 && self.kept.len() - self.value > MAX_VALUE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Outcome, RetryDecision};
    use crate::wire::frames::FromWorker;

    const LONG: usize = 2 << 20;

    /// The frame of a text that arrives in parts of this size.
    fn frame(text: &str, part: usize) -> Result<ReadFrame, WireError> {
        let mut parts = text.as_bytes().chunks(part);
        let mut line = LongLine::new(parts.next().unwrap());
        parts.for_each(|part| line.add(part));
        assert!(line.kept.len() <= MAX_KEPT);
        line.frame()
    }

    #[test]
    fn fields_behind_a_long_text_are_found() {
        let long = "E\\\\\\\"é".repeat(LONG / 8);
        for text in [
            format!(r#"{{"error":"{long}","run":7,"type":"failed","retry":false}}"#),
            format!(r#"{{"run":7,"error":"{long}","retry":false,"type":"failed"}}"#),
            format!(
                r#"{{"stack":[["{long}"],{{"a":"}}"}}],"error":"{long}","retry":false,"run":7,"type":"failed"}}"#
            ),
        ] {
            for part in [1_000, 999_983] {
                let Ok(ReadFrame::Damaged(FromWorker::Ended { run: 7, outcome }, _)) = frame(&text, part)
                else {
                    panic!("{}", &text[..40]);
                };
                let Outcome::Failed { error, next } = outcome else { panic!("{outcome:?}") };
                assert!(error.starts_with("E\\\"é") && error.len() > 1_000, "{}", error.len());
                assert_eq!(next, RetryDecision::Never);
            }
        }
    }

    #[test]
    fn request_behind_its_jobs_is_answered() {
        let jobs = vec![r#"{"job":"a","payload":"]}\"["}"#; LONG / 28].join(",");
        let text = format!(r#"{{"ask":3,"jobs":[{jobs}],"run":7,"type":"push"}}"#);
        assert!(matches!(frame(&text, 65_536), Ok(ReadFrame::Refused { run: 7, ask: 3, .. })));
    }

    #[test]
    fn line_without_the_fields_is_no_frame() {
        assert!(frame(&format!(r#"{{"error":"{}"}}"#, "x".repeat(LONG)), 4_096).is_err());
        assert!(
            frame(&format!(r#"{{{}"run":7,"type":"done"}}"#, r#""a":1,"#.repeat(LONG / 6)), 4_096).is_err()
        );
    }
}
