//! Checks each table by itself: unknown keys, wrong types, ranges. Wrong entries are reported and removed, so that later
//! steps see valid values only and one run reports every mistake.

use super::channel_name::is_channel_name;
use super::error::Problems;
use super::keys::{self, Found};
use super::schema::{Key, Kind, names_below};
use super::spanned::{Node, Table, Value, join};
use super::typed::as_number;
#[cfg(feature = "server")]
use crate::config::webhook::header_rejection;
use crate::suggest::nearest;

/// Checks the table of a channel or of `[defaults]`; `root` is its full key.
pub(super) fn channel(table: &mut Table, root: &str, problems: &mut Problems<'_>) {
    one_name_each(table, problems);
    Validator { root, keys: keys::KEYS, problems }.table(table, "");
}

/// Checks the table `[http]`.
pub(super) fn http(table: &mut Table, problems: &mut Problems<'_>) {
    Validator { root: "http", keys: keys::HTTP_KEYS, problems }.table(table, "");
}

/// Checks the table `[metrics]`.
pub(super) fn metrics(table: &mut Table, problems: &mut Problems<'_>) {
    Validator { root: "metrics", keys: keys::METRICS_KEYS, problems }.table(table, "");
}

/// Checks the table `[otel]`.
pub(super) fn otel(table: &mut Table, problems: &mut Problems<'_>) {
    Validator { root: "otel", keys: keys::OTEL_KEYS, problems }.table(table, "");
}

/// Checks the table `[log]`.
pub(super) fn log(table: &mut Table, problems: &mut Problems<'_>) {
    Validator { root: "log", keys: keys::LOG_KEYS, problems }.table(table, "");
}

/// Checks a table that is declared by `keys`; `root` is its full key.
#[cfg(feature = "server")]
pub(super) fn table(table: &mut Table, root: &str, keys: &'static [Key], problems: &mut Problems<'_>) {
    Validator { root, keys, problems }.table(table, "");
}

/// Most items of a list of times.
const MAX_SECONDS: usize = 100;

struct Validator<'a, 'p> {
    root: &'a str,
    keys: &'static [Key],
    problems: &'a mut Problems<'p>,
}

impl Validator<'_, '_> {
    fn table(&mut self, table: &mut Table, path: &str) {
        table.retain(|name, node| self.entry(name, node, path));
    }

    /// Checks one entry of the table at `path`; returns whether the entry stays.
    fn entry(&mut self, name: &str, node: &mut Node, path: &str) -> bool {
        let full = join(path, name);
        match keys::find(self.keys, &full) {
            Found::Key(key) => self.value(key, node),
            Found::Table => {
                if let Value::Table(table) = &mut node.value {
                    self.table(table, &full);
                    return true;
                }
                self.problems.of_type(node, format!("write a table, as in [{}]", node.key));
                false
            }
            Found::Refused(message, remedy) => {
                self.problems.of_key(node, message, remedy);
                false
            }
            Found::Nothing => {
                let remedy = self.suggestion(name, path);
                self.problems.of_key(node, "is not a known key", remedy);
                false
            }
        }
    }

    /// The suggestion for the unknown `name` in the table at `path`: a similar key, the table it belongs in, or all keys.
    fn suggestion(&self, name: &str, path: &str) -> String {
        if let Some(near) = nearest(name, names_below(self.keys, path)) {
            return format!("did you mean {near}?");
        }
        let elsewhere = self.keys.iter().find(|key| key.path.rsplit('.').next() == Some(name));
        if let Some(key) = elsewhere {
            let table = key.path.rsplit_once('.').map_or("", |(table, _)| table);
            return format!("it belongs in [{}]", join(self.root, table).trim_end_matches('.'));
        }
        let mut known: Vec<_> = names_below(self.keys, path).collect();
        known.dedup();
        format!("remove it, or use one of {}", known.join(", "))
    }

    fn value(&mut self, key: &Key, node: &mut Node) -> bool {
        if matches!(node.value, Value::Broken) {
            return matches!(key.kind, Kind::Secrets);
        }
        from_environment(key.kind, node);
        if key.path == "driver.connection.database" {
            from_quoted(node);
        }
        if let (Kind::Tables, Value::Array(items)) = (key.kind, &mut node.value) {
            let before = items.len();
            items.retain_mut(|item| self.item(key, item));
            return items.len() == before;
        }
        let wrong = match (key.kind, &node.value) {
            (Kind::Integer(min, max), Value::Integer(n)) => {
                (!(min..=max).contains(n)).then(|| format!("is {n}"))
            }
            (Kind::Number(min, max), Value::Integer(n)) => {
                #[expect(clippy::cast_precision_loss, reason = "only compared with a range of small numbers")]
                let number = *n as f64;
                (!(min..=max).contains(&number)).then(|| format!("is {n}"))
            }
            (Kind::Number(min, max), Value::Number(n)) => {
                (!(min..=max).contains(n)).then(|| format!("is {n}"))
            }
            (Kind::Flag, Value::Flag(_)) => None,
            (Kind::Secret, Value::Text(text)) => {
                text.contains('\0').then(|| "holds a NUL character".to_owned())
            }
            (Kind::Text | Kind::Path, Value::Text(text)) => wrong_text(text),
            (Kind::Choice(now, later), Value::Text(text)) => return self.choice(key, node, text, now, later),
            (Kind::Argv, Value::Array(items)) => return self.argv(key, items, node),
            (Kind::Seconds(max), Value::Array(items)) => return self.seconds(key, items, node, max),
            (Kind::Hosts, Value::Array(items)) => return self.hosts(key, items),
            (Kind::Channels, Value::Array(items)) => return self.channels(key, items),
            (Kind::Inherited, Value::Flag(_)) => None,
            (Kind::Inherited, Value::Array(items)) => return self.inherited(key, items),
            (Kind::Secrets, _) => return self.secrets(key, node),
            (Kind::Named, Value::Table(tables)) => return self.named(tables),
            (Kind::Texts, Value::Array(items)) => return self.texts(key, items),
            (Kind::Headers, Value::Table(headers)) => return self.headers(headers),
            (Kind::Tokens, Value::Table(tokens)) => return self.tokens(key, tokens),
            (Kind::Variables, Value::Table(variables)) => return self.variables(variables),
            (_, other) => Some(format!("is {}", other.kind())),
        };
        let Some(mut message) = wrong else { return true };
        if node.is_interpolated() && matches!(key.kind, Kind::Integer(..) | Kind::Number(..) | Kind::Flag) {
            message = "has a value of another type in the environment".to_owned();
        }
        self.problems.of_value(node, message, key.wanted());
        false
    }

    fn choice(&mut self, key: &Key, node: &Node, text: &str, now: &[&str], later: &[&str]) -> bool {
        if now.contains(&text) {
            return true;
        }
        let found = if node.is_interpolated() { "…".to_owned() } else { text.escape_debug().to_string() };
        let (message, remedy) = if later.contains(&text) {
            (format!("= \"{found}\" is not available in this version"), format!("use one of {}", key.range()))
        } else {
            let remedy = match nearest(text, now.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => key.wanted(),
            };
            (format!("= \"{found}\" is not one of its values"), remedy)
        };
        self.problems.of_value(node, message, remedy);
        false
    }

    fn argv(&mut self, key: &Key, items: &[Node], node: &Node) -> bool {
        let wrong = if items.is_empty() {
            Some((node, "is empty".to_owned()))
        } else {
            items.iter().enumerate().find_map(|(i, item)| match &item.value {
                Value::Text(text) if text.contains('\0') => Some((item, "holds a NUL character".to_owned())),
                Value::Text(text) if text.is_empty() && i == 0 => Some((item, "is empty".to_owned())),
                Value::Text(_) | Value::Broken => None,
                other => Some((item, format!("is {}", other.kind()))),
            })
        };
        let Some((at, message)) = wrong else { return true };
        self.problems.of_value(at, message, key.wanted());
        false
    }

    fn seconds(&mut self, key: &Key, items: &[Node], node: &Node, max: f64) -> bool {
        let before = self.problems.len();
        if items.len() > MAX_SECONDS {
            self.problems.of_value(node, format!("has {} numbers", items.len()), key.wanted());
        }
        for item in items {
            match &item.value {
                Value::Integer(_) | Value::Number(_) if (0.0..=max).contains(&as_number(item)) => {}
                Value::Integer(n) => self.problems.of_value(item, format!("is {n}"), key.wanted()),
                Value::Number(n) => self.problems.of_value(item, format!("is {n}"), key.wanted()),
                Value::Broken => {}
                _ => self.problems.of_type(item, key.wanted()),
            }
        }
        self.problems.len() == before
    }

    fn hosts(&mut self, key: &Key, items: &[Node]) -> bool {
        let before = self.problems.len();
        for item in items {
            match &item.value {
                Value::Text(text) if is_host(text) => {}
                Value::Text(_) => self.problems.of_value(item, "is no name of a host", key.wanted()),
                Value::Broken => {}
                _ => self.problems.of_type(item, key.wanted()),
            }
        }
        self.problems.len() == before
    }

    fn channels(&mut self, key: &Key, items: &[Node]) -> bool {
        let before = self.problems.len();
        for item in items {
            match &item.value {
                Value::Text(text) if is_channel_name(text) => {}
                Value::Text(_) => self.problems.of_value(item, "cannot be a channel's name", key.wanted()),
                Value::Broken => {}
                _ => self.problems.of_type(item, key.wanted()),
            }
        }
        self.problems.len() == before
    }

    fn inherited(&mut self, key: &Key, items: &[Node]) -> bool {
        let before = self.problems.len();
        for item in items {
            match &item.value {
                Value::Text(text) if is_variable_pattern(text) => {}
                Value::Text(_) => {
                    self.problems.of_value(
                        item,
                        "is no name of a variable, with or without \"*\" at its end",
                        key.wanted(),
                    );
                }
                Value::Broken => {}
                _ => self.problems.of_type(item, key.wanted()),
            }
        }
        self.problems.len() == before
    }

    /// Wrong secrets stay in the table as [`Value::Broken`]: removed ones would be reported as missing, too.
    fn secrets(&mut self, key: &Key, node: &mut Node) -> bool {
        let wrong = match &node.value {
            Value::Text(_) | Value::Broken => None,
            Value::Array(items) if items.is_empty() => Some("is empty".to_owned()),
            Value::Array(items) => {
                let mut others =
                    items.iter().filter(|item| !matches!(item.value, Value::Text(_) | Value::Broken));
                others.next().map(|other| format!("holds {}", other.value.kind()))
            }
            other => Some(format!("is {}", other.kind())),
        };
        if let Some(message) = wrong {
            self.problems.of_value(node, message, key.wanted());
            node.value = Value::Broken;
        }
        true
    }

    fn headers(&mut self, headers: &Table) -> bool {
        let before = self.problems.len();
        for (name, node) in headers {
            let value = match &node.value {
                Value::Text(text) => text.as_str(),
                Value::Broken => "",
                _ => {
                    self.problems.of_type(node, "write a string in quotes");
                    ""
                }
            };
            let twice = headers.keys().any(|other| other < name && other.eq_ignore_ascii_case(name));
            let twice = twice.then(|| ("is set twice".to_owned(), "keep one of them".to_owned()));
            if let Some((message, remedy)) = header_rejection(name, value).or(twice) {
                self.problems.of_key(node, message, remedy);
            }
        }
        self.problems.len() == before
    }

    fn tokens(&mut self, key: &Key, tokens: &Table) -> bool {
        let before = self.problems.len();
        for node in tokens.values().filter(|node| !matches!(node.value, Value::Text(_) | Value::Broken)) {
            self.problems.of_type(node, key.wanted());
        }
        self.problems.len() == before
    }

    fn variables(&mut self, variables: &Table) -> bool {
        let before = self.problems.len();
        for (name, node) in variables {
            let wrong_name = name.is_empty() || name.contains(['=', '\0']);
            if wrong_name {
                let remedy = "use a name without \"=\" and NUL";
                self.problems.of_key(node, "cannot be a variable's name", remedy);
            } else if name.starts_with("AINT_QUEUE_") {
                let remedy =
                    "choose another name: AINT_QUEUE_ is reserved for variables that the master sets";
                self.problems.of_key(node, "is reserved", remedy);
            }
            match &node.value {
                Value::Text(text) if text.contains('\0') => {
                    self.problems.of_value(node, "holds a NUL character", "remove it");
                }
                Value::Text(_) | Value::Broken => {}
                _ => self.problems.of_type(node, "write a string in quotes"),
            }
        }
        self.problems.len() == before
    }

    /// Checks that every value of a table is a table.
    fn named(&mut self, tables: &Table) -> bool {
        let before = self.problems.len();
        for node in tables.values().filter(|node| !matches!(node.value, Value::Table(_) | Value::Broken)) {
            self.problems.of_type(node, format!("write a table, as in [{}]", node.key));
        }
        self.problems.len() == before
    }

    fn texts(&mut self, key: &Key, items: &[Node]) -> bool {
        let before = self.problems.len();
        for item in items {
            match &item.value {
                Value::Text(text) => {
                    if let Some(message) = wrong_text(text) {
                        self.problems.of_value(item, message, key.wanted());
                    }
                }
                Value::Broken => {}
                _ => self.problems.of_type(item, key.wanted()),
            }
        }
        self.problems.len() == before
    }

    /// Checks one item of an array of tables.
    fn item(&mut self, key: &Key, item: &mut Node) -> bool {
        if key.path == "job_snapshot.handler" && !matches!(item.value, Value::Table(_)) {
            self.problems.of_type(item, key.wanted());
            return false;
        }
        let Value::Table(table) = &mut item.value else {
            self.problems.of_type(item, "write a table, as in { to = [\"team\"] }");
            return false;
        };
        // The keys of rules and of snapshot handlers are tables of their own, which the code that builds these checks them by.
        if ["rule", "alerts.rule", "job_snapshot.handler"].contains(&key.path) {
            return true;
        }
        let before = self.problems.len();
        self.table(table, &format!("{}[]", key.path));
        self.problems.len() == before
    }
}

/// Converts text from the environment to the number or flag that the key expects.
fn from_environment(kind: Kind, node: &mut Node) {
    let Value::Text(text) = &node.value else { return };
    if !node.is_interpolated() {
        return;
    }
    let text = text.trim();
    let read = match kind {
        Kind::Integer(..) => text.parse().ok().map(Value::Integer),
        Kind::Number(..) => text.parse().ok().map(Value::Number),
        Kind::Flag => text.parse().ok().map(Value::Flag),
        _ => None,
    };
    if let Some(value) = read {
        node.value = value;
    }
}

/// Reads a number in quotes, as other products write the database.
fn from_quoted(node: &mut Node) {
    if let Value::Text(text) = &node.value
        && let Ok(number) = text.trim().parse()
    {
        node.value = Value::Integer(number);
    }
}

/// Whether `text` is a host name as in a `Host` header, without a port.
fn is_host(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (1..=253).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether `text` is the name of a variable, or the beginning of names with `*` at its end.
fn is_variable_pattern(text: &str) -> bool {
    let name = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty() && !name.contains(['=', '\0', '*'])
}

fn wrong_text(text: &str) -> Option<String> {
    match text {
        "" => Some("is empty".to_owned()),
        text if text.contains('\0') => Some("holds a NUL character".to_owned()),
        _ => None,
    }
}

/// Renames `worker_number` to `min_worker_number`, so that inheritance sees one name only.
fn one_name_each(table: &mut Table, problems: &mut Problems<'_>) {
    let Some(Node { value: Value::Table(worker), .. }) = table.get_mut("worker") else { return };
    let Some(node) = worker.remove("worker_number") else { return };
    if worker.contains_key("min_worker_number") {
        let remedy = "keep one of the two";
        problems.of_key(&node, "is another name of min_worker_number, which is set too", remedy);
    } else {
        worker.insert("min_worker_number".to_owned(), node);
    }
}

/// Accepts every header: a producer sends no webhook requests.
#[cfg(not(feature = "server"))]
fn header_rejection(_: &str, _: &str) -> Option<(String, String)> {
    None
}
