//! The last lines that a run printed, kept in memory: bounded, and watched by readers that follow the run.
//!
//! Written by the I/O task of a worker and by the pool; read by the channel when the run has ended, and by readers while it
//! runs. A run that prints nothing costs one small allocation.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::job::{
    JobId, JobOutput, MAX_OUTPUT_BYTES, MAX_OUTPUT_LINE_BYTES, MAX_OUTPUT_LINES, OutputLine, OutputStream,
    TraceId, truncated,
};

/// The output of one run. Clones are handles on the same lines.
#[derive(Clone, Debug, Default)]
pub struct RunOutput(Arc<Shared>);

/// The mark of the lines of a run: they are logged and kept with it.
#[derive(Clone, Debug)]
pub(crate) struct RunTag {
    /// The job.
    pub(crate) id: JobId,
    /// The trace of the run, if it has one.
    pub(crate) trace_id: Option<TraceId>,
    /// The output of the run.
    pub(crate) output: RunOutput,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    /// There are more lines, or the run has ended.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<OutputLine>,
    /// Bytes of the kept lines.
    bytes: usize,
    /// Lines that were dropped: the number of the first kept line.
    dropped: u64,
    dropped_bytes: u64,
    /// How the run ended, once it has: the word of its outcome.
    outcome: Option<&'static str>,
}

/// Lines of a run behind a position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPage {
    /// The lines, oldest first.
    pub lines: Vec<OutputLine>,
    /// The position behind these lines: the number of lines that the run has printed so far.
    pub next: u64,
    /// Lines behind the asked position that are not kept any more.
    pub missed: u64,
}

impl RunOutput {
    /// Adds a line that was sanitised before; a long one is cut.
    pub(crate) fn push(&self, stream: OutputStream, text: &str) {
        let kept = truncated(text, MAX_OUTPUT_LINE_BYTES);
        let mut lines = lock(&self.0.lines);
        lines.dropped_bytes += (text.len() - kept.len()) as u64;
        while lines.kept.len() >= MAX_OUTPUT_LINES || lines.bytes + kept.len() > MAX_OUTPUT_BYTES {
            let Some(oldest) = lines.kept.pop_front() else { break };
            lines.bytes -= oldest.text.len();
            lines.dropped += 1;
            lines.dropped_bytes += oldest.text.len() as u64;
        }
        lines.bytes += kept.len();
        lines.kept.push_back(OutputLine { stream, text: kept.to_owned() });
        drop(lines);
        self.0.changed.notify_waiters();
    }

    /// The run has ended; readers that follow it end with it.
    pub(crate) fn close(&self, outcome: &'static str) {
        lock(&self.0.lines).outcome = Some(outcome);
        self.0.changed.notify_waiters();
    }

    /// The lines behind the first `seen` ones, and the word of the run's outcome once it has ended.
    #[must_use]
    pub fn since(&self, seen: u64) -> (OutputPage, Option<&'static str>) {
        let lines = lock(&self.0.lines);
        let missed = lines.dropped.saturating_sub(seen);
        let skip = usize::try_from(seen.saturating_sub(lines.dropped)).unwrap_or(usize::MAX);
        let page = OutputPage {
            lines: lines.kept.iter().skip(skip).cloned().collect(),
            next: lines.dropped + lines.kept.len() as u64,
            missed,
        };
        (page, lines.outcome)
    }

    /// Resolves when there are more lines than now, or when the run has ended.
    pub fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// Bytes of memory that the kept lines take; 0 for a run that has printed nothing.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lines = lock(&self.0.lines);
        lines.bytes + lines.kept.len() * size_of::<OutputLine>()
    }

    /// The kept lines; `None` for a run that has printed nothing.
    #[must_use]
    pub fn kept(&self, attempt: u32) -> Option<JobOutput> {
        let lines = lock(&self.0.lines);
        (!lines.kept.is_empty()).then(|| JobOutput {
            attempt,
            lines: lines.kept.iter().cloned().collect(),
            dropped_lines: lines.dropped,
            dropped_bytes: lines.dropped_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(page: &OutputPage) -> Vec<&str> {
        page.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn kept_lines_are_bounded_and_dropped_ones_counted() {
        let output = RunOutput::default();
        assert_eq!(output.kept(1), None);
        for number in 0..100 {
            output.push(OutputStream::Stdout, &format!("{number:03}"));
        }
        let kept = output.kept(2).unwrap();
        assert_eq!((kept.attempt, kept.lines.len()), (2, MAX_OUTPUT_LINES));
        assert_eq!((kept.dropped_lines, kept.dropped_bytes), (60, 180));
        assert_eq!(kept.lines[0].text, "060");
        output.push(OutputStream::Stderr, &"ä".repeat(MAX_OUTPUT_LINE_BYTES));
        for _ in 0..8 {
            output.push(OutputStream::Stderr, &"x".repeat(MAX_OUTPUT_LINE_BYTES));
        }
        let kept = output.kept(2).unwrap();
        let bytes: usize = kept.lines.iter().map(|line| line.text.len()).sum();
        assert_eq!((kept.lines.len(), bytes), (4, MAX_OUTPUT_BYTES));
        assert_eq!(kept.dropped_lines, 105);
        assert_eq!(kept.dropped_bytes, 300 + (2 + 4) * MAX_OUTPUT_LINE_BYTES as u64);
    }

    #[tokio::test]
    async fn reader_sees_each_line_once_and_the_end() {
        let output = RunOutput::default();
        for number in 0..50 {
            output.push(OutputStream::Log, &number.to_string());
        }
        let (page, outcome) = output.since(0);
        assert_eq!((page.lines.len(), page.next, page.missed, outcome), (40, 50, 10, None));
        let changed = output.changed();
        output.push(OutputStream::Log, "next");
        changed.await;
        let (page, _) = output.since(page.next);
        assert_eq!((texts(&page), page.next, page.missed), (vec!["next"], 51, 0));
        let changed = output.changed();
        output.close("done");
        changed.await;
        let (page, outcome) = output.since(51);
        assert_eq!((texts(&page), outcome), (vec![], Some("done")));
    }
}
