//! Errors of the configuration, each with its position and its remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::trust::Distrust;

/// Failure to load a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is missing or cannot be read.
    #[error("the configuration file \"{}\" ({named_by}) cannot be read", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The source of the name: "named by --config", "named by AINT_QUEUE_CONFIG", "found here", "given".
        named_by: &'static str,
        /// The system error.
        #[source]
        source: io::Error,
    },
    /// A file that no operator has named, and that another user may have written.
    #[error("the configuration file found here is not used: {0}")]
    Distrusted(#[from] Distrust),
    /// The file is invalid; every mistake is listed.
    #[error("{}", listing(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    /// The file, if it is one that this user means to use.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { file, .. } => Some(file),
            Self::Invalid(problems) => problems.first().map(|problem| problem.file.as_path()),
            Self::Distrusted(_) => None,
        }
    }

    /// The message with the system error, on one line unless it lists mistakes.
    #[must_use]
    pub fn with_causes(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("{self}: {source}"),
            // These messages are complete.
            Self::Distrusted(_) | Self::Invalid(_) => self.to_string(),
        }
    }
}

/// The requested channel is not in the configuration.
#[derive(Debug, Error)]
#[error("channel \"{}\" is not declared in {place}; declared are: {}", .name.escape_debug(), .declared.join(", "))]
pub struct UndeclaredChannel {
    /// The requested name.
    pub name: String,
    /// The configuration, for output.
    pub place: String,
    /// The declared names.
    pub declared: Vec<String>,
}

/// A mistake or a warning at one position of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as named by the user.
    pub file: PathBuf,
    /// Line, 1-based.
    pub line: usize,
    /// Column in characters, 1-based.
    pub column: usize,
    /// The full key; empty when the text is not TOML at all.
    pub key: String,
    /// The mistake, as the rest of a sentence that begins with the key.
    pub message: String,
    /// The remedy, as an instruction.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, key, message, remedy } = self;
        write!(f, "{}:{line}:{column}: {key}", file.display())?;
        if !key.is_empty() {
            f.write_str(" ")?;
        }
        write!(f, "{message}: {remedy}")
    }
}

fn listing(problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    let mut text = format!("the configuration has {count}");
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(&problem.to_string());
    }
    text
}

/// Collects the problems of one file without duplicates.
pub(super) struct Problems<'a> {
    file: &'a Path,
    text: &'a str,
    found: Vec<(usize, Problem)>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// Adds a problem at a byte offset. The same problem, inherited by two channels, is kept once.
    pub(super) fn add(
        &mut self,
        at: usize,
        key: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (line, column) = line_and_column(self.text, at);
        let problem = Problem {
            file: self.file.to_owned(),
            line,
            column,
            key: key.into(),
            message: message.into(),
            remedy: remedy.into(),
        };
        if !self.found.iter().any(|(_, known)| *known == problem) {
            self.found.push((at, problem));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// The problems, ordered by position.
    pub(super) fn into_vec(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(at, _)| *at);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// Collectors of mistakes and warnings.
pub(super) struct Diagnostics<'a> {
    pub(super) problems: Problems<'a>,
    pub(super) warnings: Problems<'a>,
}

/// Line and column, both 1-based, of a byte offset; the end of the text for an offset beyond it.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let text = "a = 1\nä = \"ö\" x\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find('x').unwrap()), (2, 9));
        assert_eq!(line_and_column(text, 999), (3, 1));
    }

    #[test]
    fn problems_are_unique_and_in_file_order() {
        let mut problems = Problems::new(Path::new("f.toml"), "one\ntwo\n");
        problems.add(4, "b", "is late", "be early");
        problems.add(0, "a", "is odd", "be even");
        problems.add(4, "b", "is late", "be early");
        let all: Vec<_> = problems.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(all, ["f.toml:1:1: a is odd: be even", "f.toml:2:1: b is late: be early"]);
    }
}
