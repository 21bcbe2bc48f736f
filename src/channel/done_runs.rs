//! The last runs that ended in done, in the memory of the master: by default the store keeps nothing of a job that is done.
//!
//! Bounded by [`MAX_DONE_RUNS`] and, for the lines that they printed, by [`MAX_DONE_OUTPUT_BYTES`]: about a MiB per channel with
//! ids, names and times. A run that printed nothing costs no formatting.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::job::{JobId, JobOutput, Timestamp};
use crate::pool::RunOutput;

/// Most done runs kept per channel.
pub const MAX_DONE_RUNS: usize = 1_000;
/// Most bytes of their lines, kept together; the oldest runs lose their lines first.
const MAX_DONE_OUTPUT_BYTES: usize = 768 << 10;

/// A run that ended in done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneRun {
    /// The job.
    pub id: JobId,
    /// The name of the job.
    pub job: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The time of the end, by the store's clock.
    pub at: Timestamp,
    /// Milliseconds from the time at which the job could run to its dispatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Milliseconds from dispatch to end.
    pub took_ms: u64,
    /// The process id of the worker.
    pub pid: Option<i32>,
    /// The most resident bytes of the worker in the samples taken during the run; absent when it was too short for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rss_peak: Option<u64>,
    /// The run ended although it had been asked to, because of its time limit or a cancel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
}

/// A page of done runs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneRunsPage {
    /// The runs.
    pub runs: Vec<DoneRun>,
    /// The position of the next page; absent at the end.
    pub next: Option<u64>,
}

/// The last done runs of a channel. Runs are numbered from 0 as they end.
#[derive(Debug, Default)]
pub(super) struct DoneRuns {
    runs: VecDeque<DoneRun>,
    /// The number of the first kept run.
    first: u64,
    /// Lines by the number of their run, oldest first.
    outputs: VecDeque<(u64, RunOutput)>,
    /// Bytes of these lines.
    output_bytes: usize,
}

impl DoneRuns {
    /// Adds a run that has ended now.
    pub(super) fn add(&mut self, run: DoneRun, output: RunOutput) {
        if self.runs.len() == MAX_DONE_RUNS {
            self.runs.pop_front();
            self.first += 1;
        }
        let number = self.first + self.runs.len() as u64;
        self.runs.push_back(run);
        let bytes = output.bytes();
        if bytes > 0 {
            self.output_bytes += bytes;
            self.outputs.push_back((number, output));
        }
        while let Some((oldest, output)) = self.outputs.front()
            && (*oldest < self.first || self.output_bytes > MAX_DONE_OUTPUT_BYTES)
        {
            self.output_bytes -= output.bytes();
            self.outputs.pop_front();
        }
    }

    /// The last done run of a job, with its lines.
    pub(super) fn of(&self, id: JobId) -> Option<(DoneRun, Option<JobOutput>)> {
        let index = self.runs.iter().rposition(|run| run.id == id)?;
        let (run, number) = (&self.runs[index], self.first + index as u64);
        let output = self.outputs.binary_search_by_key(&number, |(of, _)| *of).ok();
        Some((run.clone(), output.and_then(|at| self.outputs[at].1.kept(run.attempt))))
    }

    /// The runs before position `before`, newest first.
    pub(super) fn page(&self, before: Option<u64>, limit: usize) -> DoneRunsPage {
        let end = self.first + self.runs.len() as u64;
        let before = before.unwrap_or(end).clamp(self.first, end);
        let count = usize::try_from(before - self.first).unwrap_or(usize::MAX);
        let runs: Vec<_> = self.runs.iter().take(count).rev().take(limit).cloned().collect();
        let next = before - runs.len() as u64;
        DoneRunsPage { runs, next: (next > self.first).then_some(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{MAX_OUTPUT_BYTES, OutputStream};

    fn run(id: u64) -> DoneRun {
        DoneRun {
            id: JobId(id),
            job: "x".to_owned(),
            attempt: 2,
            at: Timestamp(id),
            wait_ms: Some(3),
            took_ms: 1,
            pid: None,
            rss_peak: None,
            asked: false,
        }
    }

    #[test]
    fn runs_and_their_lines_are_bounded() {
        let mut done = DoneRuns::default();
        let line = "x".repeat(1_000);
        for id in 0..2 * MAX_DONE_RUNS as u64 {
            let output = RunOutput::default();
            if id % 2 == 0 {
                (0..MAX_OUTPUT_BYTES / 1_000).for_each(|_| output.push(OutputStream::Stdout, &line));
            }
            done.add(run(id), output);
        }
        assert_eq!((done.runs.len(), done.of(JobId(999))), (MAX_DONE_RUNS, None));
        assert!(done.output_bytes <= MAX_DONE_OUTPUT_BYTES && done.outputs.len() > 50);
        let (oldest, output) = done.of(JobId(1_000)).unwrap();
        assert_eq!((oldest, output), (run(1_000), None), "its lines went first");
        assert_eq!(done.of(JobId(1_998)).unwrap().1.unwrap().lines.len(), 8);
        assert_eq!(done.of(JobId(1_999)).unwrap().1, None, "it printed nothing");
    }

    #[test]
    fn pages_go_from_new_to_old() {
        let mut done = DoneRuns::default();
        (0..5).for_each(|id| done.add(run(id), RunOutput::default()));
        let ids = |page: &DoneRunsPage| page.runs.iter().map(|run| run.id.0).collect::<Vec<_>>();
        let page = done.page(None, 2);
        assert_eq!((ids(&page), page.next), (vec![4, 3], Some(3)));
        let page = done.page(page.next, 3);
        assert_eq!((ids(&page), page.next), (vec![2, 1, 0], None));
        assert_eq!(done.page(Some(99), 1).runs.len(), 1);
        assert_eq!(done.page(Some(0), 1), DoneRunsPage::default());
    }
}
