//! Parser of the text files.

use std::fs;
use std::path::Path;

/// A line of a file.
pub(crate) enum Line {
    /// Master to worker.
    Master(String),
    /// Worker to master.
    Worker(String),
    /// A comment.
    Note(String),
}

/// A parsed file.
pub(crate) struct Script {
    /// Path of the file below the source tree.
    pub(crate) name: String,
    /// Lines with their numbers.
    pub(crate) lines: Vec<(usize, Line)>,
}

impl Script {
    fn read(path: &Path) -> Self {
        let name = format!("tests/wire/{}", path.file_name().unwrap().to_str().unwrap());
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().enumerate().map(|(i, line)| (i + 1, parse(line, &name, i + 1))).collect();
        Self { name, lines }
    }

    /// Whether the file has lines of both directions.
    pub(crate) fn is_transcript(&self) -> bool {
        self.worker_lines().next().is_some()
            && self.lines.iter().any(|(_, line)| matches!(line, Line::Master(_)))
    }

    /// The lines of the worker.
    pub(crate) fn worker_lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|(_, line)| match line {
            Line::Worker(said) => Some(said.as_str()),
            _ => None,
        })
    }
}

fn parse(line: &str, name: &str, number: usize) -> Line {
    match line.split_at_checked(2) {
        Some(("> ", rest)) => Line::Master(rest.to_owned()),
        Some(("< ", rest)) => Line::Worker(rest.to_owned()),
        Some(("# ", rest)) => Line::Note(rest.to_owned()),
        _ => panic!("{name}:{number}: a line begins with \"> \", \"< \" or \"# \""),
    }
}

/// All files.
pub(crate) fn all() -> Vec<Script> {
    let entries = fs::read_dir("tests/wire").unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    files.sort();
    files.iter().map(|file| Script::read(file)).collect()
}
