//! Progress display of a stop or a reload: a bar on a terminal, periodic lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{CommandContext, render};
use crate::channel::ChannelStatus;
use crate::pool::RolloutProgress;

/// Shortest interval between two lines when standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Interval at which a bar is redrawn on a terminal.
const BAR_REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Where bars are drawn: on the terminal, unless the command prints JSON or only errors.
pub(super) fn draw_target(context: &CommandContext) -> ProgressDrawTarget {
    let is_shown = io::stderr().is_terminal() && !context.quiet() && !context.json();
    if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// Display of the progress of several channels.
pub(super) struct ProgressDisplay {
    bars: MultiProgress,
    /// Whether to print lines, because standard error is not a terminal.
    lines: bool,
}

/// Progress of one channel. A drop removes its bar.
pub(super) struct Progress {
    channel: String,
    /// Largest remaining amount of work so far; the length of the bar.
    max_left: usize,
    bar: ProgressBar,
    lines: bool,
    /// The last line and its time.
    printed: Option<(Instant, String)>,
}

impl ProgressDisplay {
    pub(super) fn of(context: &CommandContext) -> Self {
        let lines = !io::stderr().is_terminal() && !context.quiet() && !context.json();
        Self { bars: MultiProgress::with_draw_target(draw_target(context)), lines }
    }

    pub(super) fn channel(&self, name: &str, doing: &str) -> Progress {
        let style = ProgressStyle::with_template("{msg} {bar:20} {elapsed}").expect("a valid template");
        let bar = self.bars.add(ProgressBar::new(1).with_style(style));
        bar.set_message(format!("{name}: {doing}"));
        if !self.bars.is_hidden() {
            // Redraw between status messages of the master, so that the elapsed time advances.
            bar.enable_steady_tick(BAR_REDRAW_INTERVAL);
        }
        Progress { channel: name.to_owned(), max_left: 0, bar, lines: self.lines, printed: None }
    }
}

impl Progress {
    /// Shows a status received from the master.
    pub(super) fn show(&mut self, report: &ChannelStatus) {
        let text = format!("{}: {}", self.channel, describe(report));
        // Remaining work: running jobs of a stop, old workers of a reload.
        let remaining = report.pool.reload.map_or(report.running, |reload| reload.old);
        self.max_left = self.max_left.max(remaining);
        self.bar.set_length(self.max_left as u64);
        self.bar.set_position((self.max_left - remaining) as u64);
        self.bar.set_message(text.clone());
        let is_due = match &self.printed {
            None => true,
            Some((at, last_text)) => *last_text != text && at.elapsed() >= LINE_INTERVAL,
        };
        if self.lines && is_due {
            // A write error must not abort the stop.
            let _ = writeln!(io::stderr(), "{text}");
            self.printed = Some((Instant::now(), text));
        }
    }
}

/// State of a reload in words.
pub(super) fn describe_reload(reload: RolloutProgress) -> String {
    match reload {
        RolloutProgress { generation, proved: false, .. } => {
            format!("waiting for the first worker of generation {generation}")
        }
        RolloutProgress { old: 1, .. } => "1 old worker left to replace".to_owned(),
        RolloutProgress { old, .. } => format!("{old} old workers left to replace"),
    }
}

/// State of a stop or a reload in words.
pub(super) fn describe(report: &ChannelStatus) -> String {
    if let Some(reload) = report.pool.reload {
        return describe_reload(reload);
    }
    let remaining = render::jobs(report.running as u64);
    match (report.running, report.stop_seconds_left) {
        (0, _) if report.workers.leaving > 0 => "no jobs left, waiting for the workers to exit".to_owned(),
        (0, _) => "no jobs left, settling in the store".to_owned(),
        (_, Some(0)) => format!("{remaining} left, being killed"),
        (1, Some(seconds)) => format!("{remaining} left, {seconds} s until it is interrupted"),
        (_, Some(seconds)) => format!("{remaining} left, {seconds} s until they are interrupted"),
        (_, None) => format!("{remaining} left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::WorkerCounts;

    #[test]
    fn progress_line_names_what_is_awaited() {
        let report = |running, stop_seconds_left, leaving| {
            let workers = WorkerCounts { leaving, ..WorkerCounts::default() };
            describe(&ChannelStatus { running, stop_seconds_left, workers, ..ChannelStatus::default() })
        };
        assert_eq!(report(3, Some(27), 0), "3 jobs left, 27 s until they are interrupted");
        assert_eq!(report(1, Some(27), 0), "1 job left, 27 s until it is interrupted");
        assert_eq!(report(1, Some(0), 0), "1 job left, being killed");
        assert_eq!(report(0, Some(20), 2), "no jobs left, waiting for the workers to exit");
        assert_eq!(report(0, Some(20), 0), "no jobs left, settling in the store");
    }
}
