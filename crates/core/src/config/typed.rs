//! Typed access to a validated table: a value of the right type, or the default of its key.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::CommandLine;
use super::schema::{Key, known};
use super::spanned::{Node, Table, Value};

/// Typed access to a validated table; an absent key yields its default.
pub(super) struct TypedTable<'a> {
    table: &'a Table,
    keys: &'static [Key],
}

impl<'a> TypedTable<'a> {
    /// Wraps a table that was validated against these keys.
    pub(super) fn new(table: &'a Table, keys: &'static [Key]) -> Self {
        Self { table, keys }
    }

    pub(super) fn node(&self, path: &str) -> Option<&'a Node> {
        let mut names = path.split('.');
        let mut node = self.table.get(names.next()?)?;
        for name in names {
            node = node.value.as_table()?.get(name)?;
        }
        Some(node)
    }

    pub(super) fn text(&self, path: &str) -> Option<&'a str> {
        self.node(path)?.value.as_text()
    }

    pub(super) fn word(&self, path: &str) -> String {
        let default = || known(self.keys, path).default.trim_matches('"');
        self.text(path).unwrap_or_else(default).to_owned()
    }

    pub(super) fn path(&self, path: &str, base: &Path) -> Option<PathBuf> {
        self.text(path).map(|text| from(base, text))
    }

    pub(super) fn integer<T: TryFrom<i64, Error: Debug>>(&self, path: &str) -> T {
        let number = match self.node(path).map(|node| &node.value) {
            Some(Value::Integer(n)) => *n,
            _ => known(self.keys, path).default.parse().expect("the default of an integer is one"),
        };
        number.try_into().expect("the range of the key fits its type")
    }

    pub(super) fn written_integer<T: TryFrom<i64, Error: Debug>>(&self, path: &str) -> Option<T> {
        self.node(path).map(|_| self.integer(path))
    }

    pub(super) fn number(&self, path: &str) -> f64 {
        self.node(path).map_or_else(|| default_number(self.keys, path), as_number)
    }

    pub(super) fn seconds(&self, path: &str) -> Duration {
        seconds(self.number(path))
    }

    /// The times of an array; empty for an absent key.
    pub(super) fn durations(&self, path: &str) -> Vec<Duration> {
        self.node(path).map_or(&[][..], |node| node.value.items()).iter().map(as_seconds).collect()
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        match self.node(path).map(|node| &node.value) {
            Some(Value::Flag(flag)) => *flag,
            _ => known(self.keys, path).default == "true",
        }
    }

    /// The strings of an array; `None` for an absent key.
    pub(super) fn names(&self, path: &str) -> Option<impl Iterator<Item = String>> {
        let items = self.node(path)?.value.items();
        Some(items.iter().filter_map(|item| Some(item.value.as_text()?.to_owned())))
    }

    pub(super) fn variables(&self, path: &str) -> BTreeMap<String, String> {
        let table = self.node(path).and_then(|node| node.value.as_table());
        let variable =
            |(name, node): (&String, &Node)| Some((name.clone(), node.value.as_text()?.to_owned()));
        table.into_iter().flatten().filter_map(variable).collect()
    }
}

/// Resolves `path` against `base` and removes `.` components.
pub(super) fn from(base: &Path, path: &str) -> PathBuf {
    base.join(path).components().collect()
}

/// The program and its arguments; a program that contains a slash is resolved against `base`.
pub(super) fn command_line(node: &Node, base: &Path) -> CommandLine {
    let word = |(index, item): (usize, &Node)| {
        let text = item.value.as_text()?;
        let full = (index == 0 && text.contains('/')).then(|| from(base, text));
        let word = full.as_deref().and_then(Path::to_str).unwrap_or(text).to_owned();
        Some((word.clone(), item.written.clone().unwrap_or(word)))
    };
    let (argv, shown) = node.value.items().iter().enumerate().filter_map(word).unzip();
    CommandLine::new(argv, shown)
}

pub(super) fn default_number(keys: &'static [Key], path: &str) -> f64 {
    known(keys, path).default.parse().expect("the default of a number is one")
}

#[expect(clippy::cast_precision_loss, reason = "the ranges end far below 2^53")]
pub(super) fn as_number(node: &Node) -> f64 {
    match &node.value {
        Value::Integer(n) => *n as f64,
        Value::Number(n) => *n,
        _ => 0.0,
    }
}

pub(super) fn as_seconds(node: &Node) -> Duration {
    seconds(as_number(node))
}

/// Converts validated seconds (finite, not negative) to whole milliseconds; a positive value is at least 1 ms.
pub(super) fn seconds(number: f64) -> Duration {
    let exact = Duration::from_secs_f64(number);
    Duration::from_millis(u64::try_from(exact.as_millis()).expect("a year has few milliseconds"))
        .max(if number > 0.0 { Duration::from_millis(1) } else { Duration::ZERO })
}

/// Seconds as a decimal number, for messages.
pub(super) fn shown(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}
