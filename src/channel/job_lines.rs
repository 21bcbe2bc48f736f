//! The lines of the log about jobs that are done or released: their level, and how many there are. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{JobLog, JobLogLevel};

/// Decides which jobs have a line.
#[derive(Debug, Default)]
pub(super) struct JobLines {
    second: Option<Instant>,
    lines: u32,
    unlisted: u64,
}

/// A line about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobLine {
    /// Whether the line is for `-v` only.
    pub(super) is_debug: bool,
    /// Jobs since the line before that have none.
    pub(super) unlisted: Option<u64>,
}

impl JobLines {
    /// The line of a job that has ended; `None` when it has none.
    pub(super) fn next(&mut self, settings: JobLog, now: Instant) -> Option<JobLine> {
        let is_debug = match settings.level {
            JobLogLevel::Off => return None,
            JobLogLevel::Debug => true,
            JobLogLevel::Info => false,
        };
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.lines) = (Some(now), 0);
        }
        if settings.lines_per_second > 0 && self.lines >= settings.lines_per_second {
            self.unlisted += 1;
            return None;
        }
        self.lines += 1;
        let unlisted = std::mem::take(&mut self.unlisted);
        Some(JobLine { is_debug, unlisted: (unlisted > 0).then_some(unlisted) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_limited_and_count_the_jobs_without_one() {
        let (mut lines, start) = (JobLines::default(), Instant::now());
        let settings = JobLog { level: JobLogLevel::Info, lines_per_second: 2 };
        let line = |unlisted| Some(JobLine { is_debug: false, unlisted });
        let found: Vec<_> = (0..5).map(|_| lines.next(settings, start)).collect();
        assert_eq!(found, [line(None), line(None), None, None, None]);
        assert_eq!(lines.next(settings, start + Duration::from_secs(1)), line(Some(3)));
        let all = JobLog { level: JobLogLevel::Debug, lines_per_second: 0 };
        assert!((0..1000).all(|_| lines.next(all, start).is_some_and(|line| line.is_debug)));
        let off = JobLog { level: JobLogLevel::Off, lines_per_second: 0 };
        assert_eq!(lines.next(off, start), None);
    }
}
