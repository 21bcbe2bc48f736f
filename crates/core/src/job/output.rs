//! The last lines that a run printed, as they are kept with its job.

use serde::{Deserialize, Serialize};

/// Most kept lines of a run.
pub const MAX_OUTPUT_LINES: usize = 40;
/// Most kept bytes of a run, all lines together.
pub const MAX_OUTPUT_BYTES: usize = 8 << 10;
/// Longest kept line in bytes; a longer one is cut.
pub const MAX_OUTPUT_LINE_BYTES: usize = 2 << 10;

/// The origin of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A `log` frame of the worker protocol.
    Log,
}

/// A line that a run printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLine {
    /// The origin of the line.
    pub stream: OutputStream,
    /// The text, without the line break, safe for a terminal.
    pub text: String,
}

/// The last lines of a run: at most [`MAX_OUTPUT_LINES`] and [`MAX_OUTPUT_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOutput {
    /// The attempt that printed the lines, from 1.
    pub attempt: u32,
    /// The lines, oldest first.
    pub lines: Vec<OutputLine>,
    /// Number of lines before these that are not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_lines: u64,
    /// Bytes that are not kept: of those lines, and of the ends of long lines.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
