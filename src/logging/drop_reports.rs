//! Reports of dropped lines in the log itself: the first at once, then at most one in a minute.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::line_queue::DroppedLines;
use super::writer::LogWriter;

/// Interval at which the counters are read.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two reports.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Decides when lines that were dropped are due for a report.
#[derive(Debug, Default)]
struct DropReports {
    reported: DroppedLines,
    last: Option<Instant>,
}

impl DropReports {
    /// The lines dropped since the last report, when a report is due.
    fn due(&mut self, dropped: DroppedLines, now: Instant) -> Option<DroppedLines> {
        let is_early = self.last.is_some_and(|last| now.duration_since(last) < REPORT_INTERVAL);
        if is_early || dropped == self.reported {
            return None;
        }
        let new = DroppedLines {
            master: dropped.master - self.reported.master,
            workers: dropped.workers - self.reported.workers,
        };
        (self.reported, self.last) = (dropped, Some(now));
        Some(new)
    }
}

/// Reports dropped lines for as long as the future is polled.
pub async fn report_drops(log: LogWriter) {
    let mut reports = DropReports::default();
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let now = ticks.tick().await;
        if let Some(DroppedLines { master, workers }) = reports.due(log.dropped(), now) {
            match log.take_file_error() {
                // The file takes no line about its own failure.
                Some(error) => log.print_file_error(&error),
                None => warn!(master, workers, "log read too slowly: lines were dropped"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_reported_once_a_minute() {
        let (mut reports, start) = (DropReports::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let lines = |master, workers| DroppedLines { master, workers };
        assert_eq!(reports.due(lines(0, 0), start), None);
        assert_eq!(reports.due(lines(0, 5), after(1)), Some(lines(0, 5)));
        assert_eq!(reports.due(lines(1, 9), after(2)), None);
        assert_eq!(reports.due(lines(1, 9), after(61)), Some(lines(1, 4)));
        assert_eq!(reports.due(lines(1, 9), after(500)), None);
    }
}
