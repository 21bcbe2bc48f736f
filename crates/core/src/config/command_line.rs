//! A program and its arguments, with a form for output that has no secrets.

use std::fmt;

/// A program and its arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    argv: Vec<String>,
    shown: Vec<String>,
}

impl CommandLine {
    /// A command line; `shown` has the same words, those with text from the environment or a file as they are written.
    pub(super) fn new(argv: Vec<String>, shown: Vec<String>) -> Self {
        Self { argv, shown }
    }

    /// The words to run.
    #[must_use]
    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// The words for output: a word with text from the environment or a file is shown as written, as in `--key=${KEY}`.
    #[must_use]
    pub fn shown(&self) -> &[String] {
        &self.shown
    }
}

/// A command line without text from the environment.
impl From<Vec<String>> for CommandLine {
    fn from(argv: Vec<String>) -> Self {
        Self { shown: argv.clone(), argv }
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}
