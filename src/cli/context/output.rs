//! Output of a command: results on standard output, notes and failures on standard error, questions on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use super::CommandContext;
use crate::cli::failure::{Exit, Failure};
use crate::cli::{sanitize, wrap};

/// Fewest columns that text is wrapped to: an id and a label have room.
const MIN_COLUMNS: usize = 40;
/// Columns of a terminal that does not tell its size.
const USUAL_COLUMNS: usize = 80;
/// Most characters of a result that is repeated on standard error.
const MAX_REPEATED: usize = 1_000;
/// Rows of a terminal whose size is not known.
const USUAL_ROWS: usize = 24;

impl CommandContext {
    /// Whether a stream may contain colours; `terminal` says whether it is a terminal.
    pub(crate) fn colours_for(&self, terminal: bool) -> bool {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        colours(self.globals.ansi, self.globals.no_ansi, no_color || is_dumb, terminal)
    }

    /// Whether standard output may contain colours.
    pub(crate) fn colours(&self) -> bool {
        self.colours
    }

    /// Columns for text on standard output: those that the variable `COLUMNS` names, as programs such as `watch` set it for a pipe
    /// into a terminal, else those of the terminal; `None` for any other pipe or file, in which nothing is wrapped or cut.
    pub(crate) fn columns(&self) -> Option<usize> {
        let is_terminal = io::stdout().is_terminal();
        let measured =
            || terminal_size::terminal_size().map_or(USUAL_COLUMNS, |(width, _)| usize::from(width.0));
        let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|set| *set > 0);
        set.or_else(|| is_terminal.then(measured)).map(|columns| columns.max(MIN_COLUMNS))
    }

    /// Text for people, in lines that fit the terminal.
    pub(crate) fn wrapped(&self, text: &str) -> String {
        self.columns().map_or_else(|| text.to_owned(), |columns| wrap::wrapped(text, columns))
    }

    /// Rows of the terminal that standard output is.
    pub(crate) fn rows() -> usize {
        terminal_size::terminal_size().map_or(USUAL_ROWS, |(_, height)| usize::from(height.0))
    }

    /// Prints text for people to standard output, except with `--quiet`; its lines fit the terminal.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_verbatim(&self.wrapped(text))
    }

    /// Prints text for programs, such as a script or a configuration, to standard output as it is, except with `--quiet`.
    pub(crate) fn print_verbatim(&self, text: &str) -> Result<(), Failure> {
        if self.globals.quiet { Ok(()) } else { self.write_out(text) }
    }

    /// Prints JSON to standard output, even with `--quiet`.
    pub(crate) fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        self.write_out(&format!("{}\n", sanitize::json(value)))
    }

    /// Prints a result that is JSON or text already; with `--quiet` only JSON.
    pub(crate) fn print_result(&self, shown: &str) -> Result<(), Failure> {
        if self.json() { self.write_out(shown) } else { self.print(shown) }
    }

    /// Prints a result, as JSON or as text.
    pub(crate) fn show(&self, json: &impl serde::Serialize, text: &str) -> Result<(), Failure> {
        if self.json() { self.print_json(json) } else { self.print(text) }
    }

    /// A reader that has left wants nothing more, unless the command has changed something.
    fn write_out(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return Ok(()) };
        if self.is_change {
            let result: String = text.trim_end().chars().take(MAX_REPEATED).collect();
            let hint = format!("do not repeat the command, which has done its work; its result is: {result}");
            return Err(Failure::new(Exit::Failed, "write the result to standard output")
                .because(error)
                .hint(hint));
        }
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Err(Failure::silent());
        }
        Err(Failure::new(Exit::Failed, "write to standard output").because(error))
    }

    /// Reports all failures but the last, which becomes the result of the command.
    pub(crate) fn finish(&self, mut failures: Vec<Failure>) -> Result<(), Failure> {
        let Some(last) = failures.pop() else { return Ok(()) };
        failures.iter().for_each(|failure| self.report(failure));
        Err(last)
    }

    /// Prints a note to standard error, except with `--quiet`.
    pub(crate) fn note(&self, message: &str) {
        self.print_labelled("note", message);
    }

    /// Prints a warning to standard error, except with `--quiet`.
    pub(crate) fn warn(&self, message: &str) {
        self.print_labelled("warning", message);
    }

    /// Prints a failure to standard error.
    pub(crate) fn report(&self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        if let Some(log) = self.log.get() {
            return log.message("error", &failure.message(), failure.remedy());
        }
        let label = if self.colours { "\x1b[1;31merror\x1b[0m" } else { "error" };
        print_error(&format!("{label}: {}", sanitize::lines(&failure.to_string())));
    }

    /// Asks for confirmation on the terminal; "no" is a failure. Without a terminal, or with `--no-interaction`, only `--yes`
    /// confirms.
    pub(crate) fn confirm(
        &self,
        doing: &str,
        question: impl FnOnce() -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.globals.yes {
            return Ok(());
        }
        if self.globals.no_interaction || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::new(Exit::Usage, doing)
                .because("it cannot be undone and needs a confirmation")
                .hint("add --yes to confirm"));
        }
        let question = question()?;
        let mut answer = String::new();
        let asked = write!(io::stderr(), "{question} [y/N] ")
            .and_then(|()| io::stderr().flush())
            .and_then(|()| io::stdin().lock().read_line(&mut answer));
        asked.map_err(|error| Failure::new(Exit::Failed, "ask for confirmation").because(error))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, doing).because("the answer was no")),
        }
    }

    fn print_labelled(&self, label: &str, message: &str) {
        if self.globals.quiet {
            return;
        }
        match self.log.get() {
            Some(log) => log.message(label, message, None),
            None => print_error(&format!("{label}: {}", sanitize::lines(message))),
        }
    }
}

/// Whether to use colours. Options take precedence over the environment, and the environment over the terminal.
fn colours(ansi: bool, no_ansi: bool, no_color: bool, terminal: bool) -> bool {
    match (ansi, no_ansi) {
        (_, true) => false,
        (true, false) => true,
        (false, false) => terminal && !no_color,
    }
}

/// Writes a line to standard error, in lines that fit a terminal. A write error has no remedy, because there is no other place to
/// report it.
fn print_error(line: &str) {
    let mut error = io::stderr();
    let size = error.is_terminal().then(|| terminal_size::terminal_size_of(&error)).flatten();
    let fitting = size.map(|(width, _)| wrap::wrapped(line, usize::from(width.0).max(MIN_COLUMNS)));
    let _ = writeln!(error, "{}", fitting.as_deref().unwrap_or(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_option_precedes_environment_and_terminal() {
        assert!(colours(true, false, true, false));
        assert!(!colours(false, true, false, true));
        assert!(colours(false, false, false, true));
        assert!(!colours(false, false, true, true));
        assert!(!colours(false, false, false, false));
    }
}
