//! The type of the rows of the tables in `keys`: path, kind and range, default, properties, meaning of a key.

#[cfg(feature = "server")]
use serde_json::Value as Json;

use super::Mode;
#[cfg(feature = "server")]
use super::{Channel, Http, LogFile, Metrics, Otel};

/// A key of a channel, of `[defaults]`, of `[http]` or of `[log]`.
#[derive(Clone)]
pub(super) struct Key {
    /// Path below the channel, `[http]` or `[log]`; `[]` marks the items of an array.
    pub(super) path: &'static str,
    /// Type and range of the value.
    pub(super) kind: Kind,
    /// Unit of a number; empty for none.
    pub(super) unit: &'static str,
    /// Value of an absent key, as TOML; a description where the value depends on others; empty for none.
    pub(super) default: &'static str,
    /// Modes that use the key, and the effect of a change.
    pub(super) properties: &'static [Property],
    /// Effective value, for output.
    #[cfg(feature = "server")]
    pub(super) value: Getter,
    /// Meaning, in one line.
    pub(super) meaning: &'static str,
}

/// A property that some keys have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    /// A running master keeps the old value until it is restarted.
    Restart,
    /// Used in this mode; a key without any is used in every mode.
    In(Mode),
    /// Used beside `worker.url` only.
    WithUrl,
    /// Used by receivers of these types; a key of a receiver without any is used by every type.
    For(&'static [&'static str]),
}

/// Type and range of the value of a [`Key`].
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A whole number.
    Integer(i64, i64),
    /// A number, whole or not.
    Number(f64, f64),
    /// `true` or `false`.
    Flag,
    /// A string that is not empty.
    Text,
    /// A file or directory, relative to the configuration file.
    Path,
    /// A string that is hidden in every output.
    Secret,
    /// A word of the first list; words of the second list are promised for later versions.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// A program and its arguments.
    Argv,
    /// Environment variables: a table of strings.
    Variables,
    /// Up to 100 times, from 0 to this many seconds.
    Seconds(f64),
    /// Names of hosts.
    Hosts,
    /// Names of declared channels.
    Channels,
    /// Inherited environment variables: all, none, or names.
    Inherited,
    /// Secrets: one string or an array of them.
    Secrets,
    /// HTTP headers: a table of strings that are hidden in every output.
    Headers,
    /// An array of tables, whose keys are declared under `path[]`.
    Tables,
    /// Tables by name, whose keys are declared in another list.
    Named,
    /// Strings that are not empty.
    Texts,
    /// Tokens by the names of their holders: a table of strings that are hidden in every output.
    Tokens,
}

/// Where the effective value of a key comes from; `None` when the key has none there.
#[cfg(feature = "server")]
#[derive(Clone)]
pub(super) enum Getter {
    /// From a channel.
    Channel(fn(&Channel) -> Option<Json>),
    /// From the HTTP listener.
    Http(fn(&Http) -> Option<Json>),
    /// From the readers of metrics.
    Metrics(fn(&Metrics) -> Option<Json>),
    /// From the settings of traces.
    Otel(fn(&Otel) -> Option<Json>),
    /// From the log file.
    Log(fn(&LogFile) -> Option<Json>),
    /// From the code that builds the settings.
    Elsewhere,
}

use Kind::{
    Argv, Channels, Choice, Flag, Headers, Hosts, Inherited, Integer, Named, Number, Path, Seconds, Secret,
    Secrets, Tables, Text, Texts, Tokens, Variables,
};
use Property::{For, In, Restart, WithUrl};

/// The key at `path`, which must be declared.
pub(super) fn known(keys: &'static [Key], path: &str) -> &'static Key {
    keys.iter().find(|k| k.path == path).expect("the loader reads only keys of the table")
}

/// The names allowed in the table at `path`; the empty path is the root of the keys.
pub(super) fn names_below(keys: &'static [Key], path: &str) -> impl Iterator<Item = &'static str> {
    keys.iter().filter_map(move |key| {
        let rest = if path.is_empty() { key.path } else { key.path.strip_prefix(path)?.strip_prefix('.')? };
        rest.split(['.', '[']).next()
    })
}

impl Key {
    /// The modes that use this key; none when all do.
    pub(super) fn modes(&self) -> impl Iterator<Item = Mode> {
        self.properties.iter().filter_map(|property| match property {
            In(mode) => Some(*mode),
            Restart | WithUrl | For(_) => None,
        })
    }

    /// The types of receivers that use this key; none when all do.
    pub(super) fn receiver_types(&self) -> &'static [&'static str] {
        let types = self.properties.iter().find_map(|property| match property {
            For(types) => Some(*types),
            Restart | WithUrl | In(_) => None,
        });
        types.unwrap_or_default()
    }

    /// Whether this mode uses the key.
    pub(super) fn is_used_in(&self, mode: Mode) -> bool {
        self.modes().next().is_none() || self.modes().any(|used| used == mode)
    }

    /// The type of the value, as named in the documentation.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Integer(..) => "integer",
            Number(..) => "number",
            Flag => "boolean",
            Text | Path | Secret | Choice(..) => "string",
            Seconds(_) => "array of numbers",
            Argv | Hosts | Channels | Texts => "array of strings",
            Inherited => "boolean or array of strings",
            Secrets => "string or array of strings",
            Variables | Headers | Tokens => "table of strings",
            Tables => "array of tables",
            Named => "table of tables",
        }
    }

    /// The allowed values, as listed in the documentation; empty when the type is the only limit.
    pub(super) fn range(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        match self.kind {
            Integer(min, i64::MAX) => format!("{min} or more{unit}"),
            Integer(min, max) => format!("{min} to {max}{unit}"),
            Number(min, max) => format!("{min} to {max}{unit}"),
            Seconds(max) => format!("0 to {max}{unit} each"),
            Choice(now, _) => now.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "),
            Path => "relative to this file".to_owned(),
            Flag | Text | Secret | Secrets | Argv | Hosts | Channels | Inherited | Variables | Headers
            | Tables | Named | Texts | Tokens => String::new(),
        }
    }

    /// The remedy for a wrong value: "write a whole number, 1 to 10 workers, such as 5".
    pub(super) fn wanted(&self) -> String {
        let such_as = |default: &str| match default {
            "" => String::new(),
            default => format!(", such as {default}"),
        };
        match self.kind {
            Integer(..) => format!("write a whole number, {}{}", self.range(), such_as(self.default)),
            Number(..) => format!("write a number, {}{}", self.range(), such_as(self.default)),
            Seconds(_) => format!("write up to 100 numbers, {}, such as [10, 60, 300]", self.range()),
            Flag => "write true or false".to_owned(),
            Text | Path => "write a string that is not empty".to_owned(),
            Secret => "write a string, best of all \"${NAME}\" to take it from the environment".to_owned(),
            Choice(..) => format!("write one of {}", self.range()),
            Argv => {
                "write the program and its arguments as an array of strings, such as [\"php\", \"worker.php\"]"
                    .to_owned()
            }
            Hosts => "write names without scheme and port as an array of strings, such as [\"queue.internal\"]".to_owned(),
            Channels => "write names of channels as an array of strings, such as [\"mail\"]".to_owned(),
            Inherited => "write true, false or names as an array of strings, such as [\"APP_*\", \"DATABASE_URL\"]".to_owned(),
            Secrets => "write a string or an array of strings, best of all \"${NAME}\" to take it from the environment".to_owned(),
            Headers => "write a table of strings, such as { authorization = \"Bearer ${NAME}\" }".to_owned(),
            Tokens => "write a table of a token per name, such as { ann = \"${ANN_TOKEN}\" }".to_owned(),
            Variables => "write a table of strings, such as { APP_ENV = \"production\" }".to_owned(),
            Named => "write a table of tables, such as { team = { type = \"log\" } }".to_owned(),
            Texts => "write strings that are not empty as an array, such as [\"ann\", \"ben\"]".to_owned(),
            Tables => "write an array of tables, such as [ { type = \"log\" } ]".to_owned(),
        }
    }
}
