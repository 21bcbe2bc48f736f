//! What the demo shows: a bar per channel while it runs, a table per channel at the end.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::cast;
use crate::cli::{Session, status};
use crate::config::Channel;
use crate::store::Status;

/// Without a terminal, a line per channel this often.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The live view.
pub(super) struct Stage {
    bars: Vec<ProgressBar>,
    /// Lines instead of bars, and when the last ones were printed.
    lines: Option<Cell<Instant>>,
}

impl Stage {
    pub(super) fn new(session: &Session, channels: &[Channel]) -> Self {
        let terminal = io::stderr().is_terminal();
        let silent = session.quiet() || session.json();
        let target = match terminal && !silent {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let all = MultiProgress::with_draw_target(target);
        let bar = if session.colours_for(terminal) { "{bar:30.green/dim}" } else { "{bar:30}" };
        let template = format!("{{prefix:8}} {bar} {{pos:>5}}/{{len}}  {{msg}}");
        let style = ProgressStyle::with_template(&template).expect("a valid template").progress_chars("━━─");
        let bars = channels.iter().map(|channel| {
            let (done, failed) = cast::expected(&channel.name);
            let bar = all.add(ProgressBar::new(done + failed).with_style(style.clone()));
            bar.set_prefix(channel.name.clone());
            bar
        });
        let lines = (!terminal && !silent).then(|| Cell::new(Instant::now()));
        Self { bars: bars.collect(), lines }
    }

    /// Shows how it stands.
    pub(super) fn update(&self, channels: &[Channel], all: &[Status]) {
        for (bar, status) in self.bars.iter().zip(all) {
            bar.set_position(status.done + status.failed);
            bar.set_message(line(status));
        }
        if let Some(last) = &self.lines
            && last.get().elapsed() >= LINE_EVERY
        {
            last.set(Instant::now());
            for (channel, status) in channels.iter().zip(all) {
                eprintln!("{:8} {}", channel.name, line(status));
            }
        }
    }

    pub(super) fn close(&self) {
        self.bars.iter().for_each(ProgressBar::finish);
    }
}

fn line(status: &Status) -> String {
    let Status { waiting, reserved, delayed, done, failed, .. } = status;
    format!("waiting {waiting}, running {reserved}, delayed {delayed}, done {done}, failed {failed}")
}

/// The status table of each channel.
pub(super) fn ends(channels: &[Channel], all: &[Status]) -> String {
    let mut text = String::new();
    for (channel, counts) in channels.iter().zip(all) {
        let mode = channel.worker.mode.as_str();
        text.push_str(&format!(
            "\nThe status of {}-queue ({mode}):\n{}",
            channel.name,
            status::counts_table(counts)
        ));
    }
    text
}
