//! The TOML file as a tree in which every value keeps its position, with `${…}` substituted.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;
use super::interpolation::Interpolation;

/// The keys of one table.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and its position.
#[derive(Clone)]
pub(super) struct Node {
    /// The full key.
    pub(super) key: String,
    /// Byte offset of the key.
    pub(super) key_at: usize,
    /// Byte offset of the value.
    pub(super) at: usize,
    /// The text as written, when it refers to the environment or to a file. The value may then be secret: messages never
    /// quote it.
    pub(super) written: Option<String>,
    /// The value.
    pub(super) value: Value,
}

impl Node {
    /// Whether the value holds text from the environment or a file.
    pub(super) fn is_interpolated(&self) -> bool {
        self.written.is_some()
    }
}

/// A TOML value.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Flag(bool),
    Date,
    Array(Vec<Node>),
    Table(Table),
    /// A value whose mistake is reported already.
    Broken,
}

impl Value {
    /// The type's name with its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Number(_) => "a float",
            Self::Flag(_) => "a boolean",
            Self::Date => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Broken => "broken",
        }
    }

    /// The text, if the value is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The keys, if the value is a table.
    pub(super) fn as_table(&self) -> Option<&Table> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }

    /// The items; none when the value is not an array.
    pub(super) fn items(&self) -> &[Node] {
        if let Self::Array(items) = self { items } else { &[] }
    }
}

impl Problems<'_> {
    /// Adds a problem at the value of a node.
    pub(super) fn of_value(&mut self, node: &Node, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(node.at, &node.key, message, remedy);
    }

    /// Adds the problem that the value of a node has another type.
    pub(super) fn of_type(&mut self, node: &Node, remedy: impl Into<String>) {
        self.of_value(node, format!("is {}", node.value.kind()), remedy);
    }

    /// Adds a problem at the key of a node.
    pub(super) fn of_key(&mut self, node: &Node, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(node.key_at, &node.key, message, remedy);
    }
}

/// Parses `text`. Reports the first syntax error of every line; a text with errors has no tree.
pub(super) fn parse(
    text: &str,
    interpolation: &Interpolation<'_>,
    problems: &mut Problems<'_>,
) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut last_line = None;
    for error in &errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        let line = text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count();
        if last_line.replace(line) != Some(line) {
            problems.add(at, "", "not valid TOML", error.message());
        }
    }
    errors.is_empty().then(|| Builder { interpolation, problems }.table(document.get_ref(), ""))
}

struct Builder<'a, 'p> {
    interpolation: &'a Interpolation<'a>,
    problems: &'a mut Problems<'p>,
}

impl Builder<'_, '_> {
    fn table(&mut self, table: &DeTable<'_>, prefix: &str) -> Table {
        let mut built = Table::new();
        for (name, value) in table {
            let key = join(prefix, &quoted(name.get_ref()));
            let node = self.node(key, name.span().start, value);
            built.insert(name.get_ref().clone().into_owned(), node);
        }
        built
    }

    fn node(&mut self, key: String, key_at: usize, value: &Spanned<DeValue<'_>>) -> Node {
        let at = value.span().start;
        let mut written = None;
        let value = match value.get_ref() {
            DeValue::String(text) => match self.interpolation.substitute(text) {
                Ok(Some(filled)) => {
                    written = Some(text.clone().into_owned());
                    Value::Text(filled)
                }
                Ok(None) => Value::Text(text.clone().into_owned()),
                Err((message, remedy)) => {
                    self.problems.add(at, &key, message, remedy);
                    Value::Broken
                }
            },
            DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    self.problems.add(at, &key, "is too large a number", "write a smaller one");
                    Value::Broken
                }
            },
            DeValue::Float(digits) => Value::Number(digits.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => {
                let item = |(i, item): (usize, &Spanned<DeValue<'_>>)| {
                    self.node(format!("{key}[{i}]"), item.span().start, item)
                };
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, &key)),
        };
        Node { key, key_at, at, written, value }
    }
}

/// `prefix.name`, or the name alone at the top.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Quotes a key as TOML requires: bare where possible, escaped so that a terminal cannot be harmed.
fn quoted(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_error_line_is_reported() {
        let text = "a = \nb = 1\nc = = 2\n";
        let mut problems = Problems::new(std::path::Path::new("f"), text);
        let interpolation = Interpolation::new(&|_| None, std::path::Path::new("/"));
        assert!(parse(text, &interpolation, &mut problems).is_none());
        let lines: Vec<_> = problems.into_vec().iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 3]);
    }
}
