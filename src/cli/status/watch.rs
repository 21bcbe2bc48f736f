//! `queue:status --watch`: shows the status again and again.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::Reading;
use crate::cli::{CommandContext, Failure, sanitize};
use crate::job_json::time;

/// Shortest time between two readings.
const SHORTEST: Duration = Duration::from_millis(100);
/// Moves to the top left of the terminal.
const HOME: &str = "\u{1b}[H";
/// Erases the rest of the line.
const END_OF_LINE: &str = "\u{1b}[K";
/// Erases what is below.
const BELOW: &str = "\u{1b}[J";

/// Parses the time between two readings.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let period = time::parse_duration(text)?;
    if period < SHORTEST { Err("at least 100ms is needed".to_owned()) } else { Ok(period) }
}

/// Shows readings until the command is interrupted or the reader of its output has closed it. A terminal shows one in the place of the other; a
/// pipe gets one after the other. A channel that cannot be read is named and asked again.
pub(super) fn run(
    context: &CommandContext,
    period: Duration,
    read: impl Fn() -> Reading,
) -> Result<(), Failure> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    let in_place = io::stdout().is_terminal() && !is_dumb && !context.json();
    if in_place {
        context.print_verbatim(&format!("{HOME}{BELOW}"))?;
    }
    loop {
        let Reading { mut shown, failures } = read();
        for failure in failures {
            if context.json() {
                context.report(&failure);
            } else {
                shown.push_str(&format!("error: {}\n", sanitize::lines(&failure.to_string())));
            }
        }
        let shown = match in_place {
            true => frame(&context.wrapped(&shown), CommandContext::rows()),
            false if context.json() => shown,
            false => format!("{shown}\n"),
        };
        match context.print_result(&shown) {
            // The reader has what it wants.
            Err(failure) if failure.is_silent() => return Ok(()),
            printed => printed?,
        }
        std::thread::sleep(period);
    }
}

/// A reading that replaces the last one without flicker: each line erases the rest of the old one. A reading that is higher than
/// the terminal loses its last lines, and says how many.
fn frame(shown: &str, rows: usize) -> String {
    let lines: Vec<_> = shown.lines().collect();
    let room = rows.saturating_sub(1).max(2);
    let cut = if lines.len() > room { lines.len() - (room - 1) } else { 0 };
    let mut frame = HOME.to_owned();
    for line in &lines[..lines.len() - cut] {
        frame.push_str(&format!("{line}{END_OF_LINE}\n"));
    }
    if cut > 0 {
        frame.push_str(&format!("… {cut} more lines{END_OF_LINE}\n"));
    }
    frame + BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_overwrites_line_by_line() {
        assert_eq!(frame("a\nb\n", 24), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
    }

    #[test]
    fn frame_fits_the_terminal() {
        let plain = |rows| frame("a\nb\nc\nd\n", rows).replace(END_OF_LINE, "");
        assert_eq!(plain(5), format!("{HOME}a\nb\nc\nd\n{BELOW}"));
        assert_eq!(plain(4), format!("{HOME}a\nb\n… 2 more lines\n{BELOW}"));
        assert_eq!(plain(0), format!("{HOME}a\n… 3 more lines\n{BELOW}"));
    }

    #[test]
    fn period_is_at_least_a_tenth_of_a_second() {
        assert_eq!(period("2"), Ok(Duration::from_secs(2)));
        assert_eq!(period("100ms"), Ok(SHORTEST));
        assert!(period("0").is_err() && period("soon").is_err());
    }
}
