//! Output of the demo: a progress bar per channel while it runs, a table per channel at the end.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::scenario;
use crate::cli::{CommandContext, progress, status};
use crate::config::Channel;
use crate::store::JobCounts;

/// Interval of status lines when standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Column titles above the counts. A row with a channel name and the shortest bar fits a terminal of 80 columns.
const HEADER: &str = "waiting reserved delayed  done failed";

/// Live progress of all channels.
pub(super) struct LiveView {
    /// The line above the bars; kept because dropping a bar removes it from the display.
    header: ProgressBar,
    bars: Vec<ProgressBar>,
    /// Time of the last status lines, if lines are printed instead of bars.
    lines: Option<Cell<Instant>>,
}

impl LiveView {
    pub(super) fn new(context: &CommandContext, channels: &[Channel]) -> Self {
        let terminal = io::stderr().is_terminal();
        let silent = context.quiet() || context.json();
        let all = MultiProgress::with_draw_target(progress::draw_target(context));
        let bar = if context.colours_for(terminal) { "{wide_bar:.green/dim}" } else { "{wide_bar}" };
        let style = |template: &str| {
            ProgressStyle::with_template(template).expect("a valid template").progress_chars("━━─")
        };
        let row = style(&format!("{{prefix:8}} {bar} {{msg}}"));
        let header =
            all.add(ProgressBar::new(0).with_style(style(&format!("{{prefix:8}} {{wide_msg}} {HEADER}"))));
        header.set_prefix("channel");
        let bars = channels.iter().map(|channel| {
            let (done, failed) = scenario::expected(&channel.name);
            let bar = all.add(ProgressBar::new(done + failed).with_style(row.clone()));
            bar.set_prefix(channel.name.clone());
            bar
        });
        let lines = (!terminal && !silent).then(|| Cell::new(Instant::now()));
        let bars = bars.collect();
        Self { header, bars, lines }
    }

    /// Shows the current counts.
    pub(super) fn update(&self, channels: &[Channel], all: &[JobCounts]) {
        for (bar, status) in self.bars.iter().zip(all) {
            bar.set_position(status.done + status.failed);
            bar.set_message(columns(status));
        }
        self.header.tick();
        if let Some(last) = &self.lines
            && last.get().elapsed() >= LINE_INTERVAL
        {
            last.set(Instant::now());
            for (channel, status) in channels.iter().zip(all) {
                eprintln!("{:8} {}", channel.name, line(status));
            }
        }
    }

    pub(super) fn close(&self) {
        self.header.finish();
        self.bars.iter().for_each(ProgressBar::finish);
        if !self.header.is_hidden() {
            // indicatif prints no line break after the last bar.
            eprintln!();
        }
    }
}

/// The counts, aligned with [`HEADER`].
fn columns(status: &JobCounts) -> String {
    let JobCounts { waiting, reserved, delayed, done, failed, .. } = status;
    format!("{waiting:>7} {reserved:>8} {delayed:>7} {done:>5} {failed:>6}")
}

fn line(status: &JobCounts) -> String {
    let JobCounts { waiting, reserved, delayed, done, failed, .. } = status;
    format!("waiting {waiting}, reserved {reserved}, delayed {delayed}, done {done}, failed {failed}")
}

/// The status table of each channel.
pub(super) fn final_status(channels: &[Channel], all: &[JobCounts], columns: Option<usize>) -> String {
    let mut text = String::new();
    for (channel, counts) in channels.iter().zip(all) {
        let mode = channel.worker.mode.as_str();
        text.push_str(&format!(
            "\nJobs of channel \"{}\" ({mode}):\n{}",
            channel.name,
            status::counts_table(counts, columns)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_align_below_their_names() {
        let status =
            JobCounts { waiting: 2025, reserved: 500, done: 12345, failed: 4, ..JobCounts::default() };
        assert_eq!(columns(&status).len(), HEADER.len());
        assert!(columns(&status).starts_with("   2025      500       0 12345"));
    }
}
