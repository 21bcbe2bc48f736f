//! How a stop or a reload shows that it goes on: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Session, text};
use crate::channel::ChannelStatus;
use crate::pool::RolloutProgress;

/// How often a line is written where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
/// How often a bar is drawn on a terminal.
const TICK: Duration = Duration::from_millis(100);

/// Where the progress of several channels goes.
pub(super) enum Screen {
    /// Nowhere.
    Hidden,
    /// To standard error, line by line.
    Lines,
    /// To the terminal, a bar for each.
    Bars(MultiProgress),
}

/// The progress of one channel.
pub(super) struct Drain {
    channel: String,
    /// Most that was left to do since it began.
    most: usize,
    shown: Shown,
}

enum Shown {
    Nowhere,
    Lines { last: Option<(Instant, String)> },
    Bar(ProgressBar),
}

impl Screen {
    pub(super) fn of(session: &Session) -> Self {
        if session.quiet() || session.json() {
            Self::Hidden
        } else if io::stderr().is_terminal() {
            Self::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Self::Lines
        }
    }

    pub(super) fn channel(&self, name: &str, doing: &str) -> Drain {
        let shown = match self {
            Self::Hidden => Shown::Nowhere,
            Self::Lines => Shown::Lines { last: None },
            Self::Bars(all) => {
                let style =
                    ProgressStyle::with_template("{msg} {bar:20} {elapsed}").expect("a valid template");
                let bar = all.add(ProgressBar::new(1).with_style(style));
                bar.set_message(format!("{name}: {doing}"));
                // It moves also while the master says nothing.
                bar.enable_steady_tick(TICK);
                Shown::Bar(bar)
            }
        };
        Drain { channel: name.to_owned(), most: 0, shown }
    }
}

impl Drain {
    /// The master said how it stands.
    pub(super) fn show(&mut self, report: &ChannelStatus) {
        let words = format!("{}: {}", self.channel, words(report));
        let left = left(report);
        self.most = self.most.max(left);
        match &mut self.shown {
            Shown::Nowhere => {}
            Shown::Lines { last } => {
                let now = Instant::now();
                let is_due = match last {
                    None => true,
                    Some((at, said)) => *said != words && now.duration_since(*at) >= BETWEEN_LINES,
                };
                if is_due {
                    // Nobody reading is no reason to stop stopping.
                    let _ = writeln!(io::stderr(), "{words}");
                    *last = Some((now, words));
                }
            }
            Shown::Bar(bar) => {
                bar.set_length(self.most as u64);
                bar.set_position((self.most - left) as u64);
                bar.set_message(words);
            }
        }
    }

    /// The end, whatever it was.
    pub(super) fn end(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

/// How much is left to do: jobs of a stop, old workers of a reload.
fn left(report: &ChannelStatus) -> usize {
    report.pool.reload.map_or(report.running, |reload| reload.old)
}

/// What a reload waits for.
pub(super) fn words_of_reload(reload: RolloutProgress) -> String {
    match reload {
        RolloutProgress { generation, proved: false, .. } => {
            format!("waiting for the first worker of generation {generation}")
        }
        RolloutProgress { old: 1, .. } => "1 old worker to be replaced".to_owned(),
        RolloutProgress { old, .. } => format!("{old} old workers to be replaced"),
    }
}

/// What is being waited for.
pub(super) fn words(report: &ChannelStatus) -> String {
    if let Some(reload) = report.pool.reload {
        return words_of_reload(reload);
    }
    let left = text::jobs(report.running as u64);
    match (report.running, report.stop_seconds_left) {
        (0, _) if report.workers.leaving > 0 => "no job runs any more, the workers end".to_owned(),
        (0, _) => "no job runs any more, the store is told".to_owned(),
        (_, Some(0)) => format!("{left} left, being ended"),
        (1, Some(seconds)) => format!("{left} left, {seconds} s until it is interrupted"),
        (_, Some(seconds)) => format!("{left} left, {seconds} s until they are interrupted"),
        (_, None) => format!("{left} left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::WorkerCounts;

    #[test]
    fn the_words_say_what_is_waited_for() {
        let report = |running, stop_seconds_left, leaving| {
            let workers = WorkerCounts { leaving, ..WorkerCounts::default() };
            words(&ChannelStatus { running, stop_seconds_left, workers, ..ChannelStatus::default() })
        };
        assert_eq!(report(3, Some(27), 0), "3 jobs left, 27 s until they are interrupted");
        assert_eq!(report(1, Some(27), 0), "1 job left, 27 s until it is interrupted");
        assert_eq!(report(1, Some(0), 0), "1 job left, being ended");
        assert_eq!(report(0, Some(20), 2), "no job runs any more, the workers end");
        assert_eq!(report(0, Some(20), 0), "no job runs any more, the store is told");
    }
}
