//! The TOML file as a tree in which every value keeps its position, with `${ENV}` substituted.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;

/// The keys of one table.
pub(super) type Table = BTreeMap<String, Node>;

/// Lookup of environment variables; a parameter, so that tests need no real environment.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value and its position.
#[derive(Clone)]
pub(super) struct Node {
    /// The full key.
    pub(super) key: String,
    /// Byte offset of the key.
    pub(super) key_at: usize,
    /// Byte offset of the value.
    pub(super) at: usize,
    /// Holds text from the environment, which may be secret: messages never quote the value.
    pub(super) from_env: bool,
    /// The value.
    pub(super) value: Value,
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
pub(super) fn parse(text: &str, env: Env<'_>, problems: &mut Problems<'_>) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut last_line = None;
    for error in &errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        let line = text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count();
        if last_line.replace(line) != Some(line) {
            problems.add(at, "", "not valid TOML", error.message());
        }
    }
    errors.is_empty().then(|| Builder { env, problems }.table(document.get_ref(), ""))
}

struct Builder<'a, 'p> {
    env: Env<'a>,
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
        let mut from_env = false;
        let value = match value.get_ref() {
            DeValue::String(text) => match substitute(text, self.env) {
                Ok(Some(filled)) => {
                    from_env = true;
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
        Node { key, key_at, at, from_env, value }
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

/// Substitutes environment variables for `${NAME}` and `${NAME:-otherwise}`; `$${` stands for a literal `${`.
///
/// Returns `None` when the text holds no variable; the error is a message and its remedy.
fn substitute(text: &str, env: Env<'_>) -> Result<Option<String>, (String, String)> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("${") {
        let (before, from_here) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &from_here[2..];
            continue;
        }
        filled.push_str(before);
        let Some(end) = from_here.find('}') else {
            return Err((
                "holds \"${\" without \"}\"".to_owned(),
                "write \"${NAME}\", or \"$${\" for the characters themselves".to_owned(),
            ));
        };
        filled.push_str(&variable(&from_here[2..end], env)?);
        rest = &from_here[end + 1..];
    }
    filled.push_str(rest);
    Ok(Some(filled))
}

/// Resolves `NAME` or `NAME:-otherwise`.
fn variable(text: &str, env: Env<'_>) -> Result<String, (String, String)> {
    let (name, otherwise) = match text.split_once(":-") {
        Some((name, otherwise)) => (name, Some(otherwise)),
        None => (text, None),
    };
    let in_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || !name.bytes().all(in_name) || name.as_bytes()[0].is_ascii_digit() {
        return Err((
            format!("names no variable in \"${{{}}}\"", text.escape_debug()),
            "use letters, digits and _, as in \"${REDIS_PASSWORD}\"".to_owned(),
        ));
    }
    match (env(name).filter(|value| otherwise.is_none() || !value.is_empty()), otherwise) {
        (Some(value), _) => Ok(value),
        (None, Some(otherwise)) => Ok(otherwise.to_owned()),
        (None, None) => Err((
            format!("needs the environment variable {name}, which is not set"),
            format!("set it, or write \"${{{name}:-otherwise}}\" with a default value"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "USER_1" => Some("ann".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_expand_with_defaults() {
        let filled = |text: &str| substitute(text, &env).unwrap();
        assert_eq!(filled("plain $HOME"), None);
        assert_eq!(filled("${USER_1}"), Some("ann".to_owned()));
        assert_eq!(filled("a${USER_1}b${USER_1}"), Some("aannbann".to_owned()));
        assert_eq!(filled("${NO:-x}${EMPTY:-y}[${EMPTY}]"), Some("xy[]".to_owned()));
        assert_eq!(filled("$${USER_1}"), Some("${USER_1}".to_owned()));
    }

    #[test]
    fn missing_or_malformed_variable_is_named() {
        let wrong = |text: &str| substitute(text, &env).unwrap_err().0;
        assert_eq!(wrong("${NO}"), "needs the environment variable NO, which is not set");
        assert_eq!(wrong("${a b}"), "names no variable in \"${a b}\"");
        assert_eq!(wrong("${USER_1"), "holds \"${\" without \"}\"");
    }

    #[test]
    fn every_syntax_error_line_is_reported() {
        let text = "a = \nb = 1\nc = = 2\n";
        let mut problems = Problems::new(std::path::Path::new("f"), text);
        assert!(parse(text, &env, &mut problems).is_none());
        let lines: Vec<_> = problems.into_vec().iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 3]);
    }
}
