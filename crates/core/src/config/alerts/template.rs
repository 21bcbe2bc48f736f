//! Templates of the texts of alerts: the language of Jinja over the values of a channel, and nothing else.
//!
//! A template cannot load another one, read the environment or see settings. The work and the output of a template are limited, so that a mistake
//! in it costs a message and nothing more.

use std::collections::BTreeMap;
use std::io;

use minijinja::{Environment, Error, Value};

use crate::condition::Field;
use crate::suggest::nearest;

/// Steps of a rendering, which also bound the memory it takes.
const FUEL: u64 = 50_000;
/// Bytes of a rendered text.
const MAX_OUTPUT: usize = 32 << 10;
/// Bytes of a template.
const MAX_SOURCE: usize = 4 << 10;
/// The names beside the values of the channel.
const OTHER_NAMES: [&str; 5] = ["channel", "rule", "severity", "status", "host"];
/// The table of the values as plain numbers in their base units.
const RAW: &str = "raw";

/// A value that a template can name.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
}

/// Checks a template: its syntax, its names, its filters, and that its work stays within the limits.
///
/// # Errors
/// The mistake and its remedy.
pub fn check_template(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("the template has more than {MAX_SOURCE} bytes: shorten it"));
    }
    let environment = environment();
    let template = environment.template_from_str(source).map_err(|error| described(&error))?;
    let mut unknown: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    unknown.retain(|name| !is_name(name) && environment.globals().all(|(global, _)| global != name));
    unknown.sort();
    if let Some(name) = unknown.first() {
        let known = Field::ALL.iter().map(|field| field.name()).chain(OTHER_NAMES);
        return Err(match nearest(name, known) {
            Some(near) => format!("the template names \"{name}\": did you mean \"{near}\"?"),
            None => format!(
                "the template names \"{name}\": use values such as \"waiting\", or \"channel\", \"rule\", \"severity\", \"status\", \"host\""
            ),
        });
    }
    let sample =
        |field: &Field| [(field.name().to_owned(), Datum::Number(1.0)), (raw(*field), Datum::Number(1.0))];
    let names = OTHER_NAMES.iter().map(|name| ((*name).to_owned(), Datum::Text("sample".to_owned())));
    render_template(source, Field::ALL.iter().flat_map(sample).chain(names)).map(drop)
}

/// The name of the value of a field as a plain number.
#[must_use]
pub fn raw(field: Field) -> String {
    format!("{RAW}.{}", field.name())
}

/// Renders a template over data by name; a dot in a name makes a table.
///
/// # Errors
/// The reason, such as a limit that was reached.
pub fn render_template(
    source: &str,
    data: impl IntoIterator<Item = (String, Datum)>,
) -> Result<String, String> {
    let mut root = Names::default();
    for (name, datum) in data {
        root.insert(&name, datum);
    }
    let environment = environment();
    let template = environment.template_from_str(source).map_err(|error| described(&error))?;
    let mut output = Limited(Vec::new());
    let rendered = template.render_captured_to(root.into_value(), &mut output).map(drop);
    if output.0.len() > MAX_OUTPUT {
        return Err(format!("the text of the template is longer than {} KiB: shorten it", MAX_OUTPUT >> 10));
    }
    rendered.map_err(|error| described(&error))?;
    Ok(String::from_utf8_lossy(&output.0).into_owned())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    // A receiver escapes the whole text for its service.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

fn is_name(name: &str) -> bool {
    let name = name.strip_prefix(RAW).map_or(name, |rest| rest.strip_prefix('.').unwrap_or(rest));
    let is_table = |field: &Field| field.name().split_once('.').is_some_and(|(table, _)| table == name);
    name.is_empty()
        || OTHER_NAMES.contains(&name)
        || Field::named(name).is_some()
        || Field::ALL.iter().any(is_table)
}

/// The mistake in words, with its line in a template of several.
fn described(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) if line > 1 => format!("the template has a mistake in line {line}: {detail}"),
        _ => format!("the template has a mistake: {detail}"),
    }
}

/// A table of names.
#[derive(Default)]
struct Names(BTreeMap<String, Entry>);

enum Entry {
    Datum(Datum),
    Table(Names),
}

impl Names {
    fn insert(&mut self, name: &str, datum: Datum) {
        let Some((table, rest)) = name.split_once('.') else {
            self.0.insert(name.to_owned(), Entry::Datum(datum));
            return;
        };
        if let Entry::Table(inner) =
            self.0.entry(table.to_owned()).or_insert_with(|| Entry::Table(Self::default()))
        {
            inner.insert(rest, datum);
        }
    }

    fn into_value(self) -> Value {
        let values: BTreeMap<String, Value> =
            self.0.into_iter().map(|(name, entry)| (name, entry.into_value())).collect();
        Value::from(values)
    }
}

impl Entry {
    fn into_value(self) -> Value {
        match self {
            Self::Table(names) => names.into_value(),
            Self::Datum(Datum::Text(text)) => Value::from(text),
            Self::Datum(Datum::Flag(flag)) => Value::from(flag),
            // A number without a fraction is shown without one.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the number is in the range of exact integers"
            )]
            Self::Datum(Datum::Number(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
                Value::from(number as i64)
            }
            Self::Datum(Datum::Number(number)) => Value::from(number),
        }
    }
}

/// Takes bytes up to the limit, and one write more, which tells that the limit was passed.
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() > MAX_OUTPUT {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(&bytes[..bytes.len().min(MAX_OUTPUT + 1 - self.0.len())]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_render_by_name_with_and_without_unit() {
        let data = [
            ("waiting", Datum::Number(1204.0)),
            ("oldest_waiting", Datum::Text("12 min".to_owned())),
            ("raw.oldest_waiting", Datum::Number(720.5)),
            ("workers.busy", Datum::Number(3.0)),
            ("paused", Datum::Flag(false)),
        ];
        let data = data.map(|(name, datum)| (name.to_owned(), datum));
        let source = "{{ waiting }} wait for {{ oldest_waiting }} ({{ raw.oldest_waiting }} s){% if not paused %}, {{ workers.busy }} busy{% endif %}";
        assert_eq!(render_template(source, data).as_deref(), Ok("1204 wait for 12 min (720.5 s), 3 busy"));
    }

    #[test]
    fn mistakes_are_named_when_the_template_is_checked() {
        let wrong = |source: &str| check_template(source).unwrap_err();
        assert_eq!(
            check_template("{{ waiting }} of {{ raw.memory.workers // 1024 }} on {{ host|default('?') }}"),
            Ok(())
        );
        assert_eq!(check_template("{% for n in range(3) %}{{ n }}{% endfor %}"), Ok(()));
        assert!(wrong("{{ waitng }}").contains("did you mean \"waiting\"?"), "{}", wrong("{{ waitng }}"));
        assert!(wrong("{{ workers.bsy }}").contains("\"workers.busy\"?"));
        assert!(wrong("{{ secret }}").contains("the template names \"secret\""));
        assert!(
            wrong("ok\n{{ waiting | shout }}").contains("line 2"),
            "{}",
            wrong("ok\n{{ waiting | shout }}")
        );
        assert!(wrong("{{ waiting").contains("mistake"));
        for loading in ["{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}"] {
            assert!(wrong(loading).contains("mistake"), "{loading}");
        }
        assert!(wrong(&"x".repeat(5000)).contains("4096 bytes"));
    }

    #[test]
    fn work_and_output_are_bounded() {
        let fails = |source: &str| render_template(source, []).unwrap_err();
        let loops = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}";
        for source in
            [loops, "{{ 'x' * 90000000 }}", "{{ range(100000)|list|length * 2 }}", "{{ [1] * 9000000 }}"]
        {
            assert!(fails(source).contains("template"), "{source}");
        }
        assert!(fails("{{ 'x' * 40000 }}").contains("longer than 32 KiB"));
        assert_eq!(render_template("{{ 'x' * 32768 }}", []).unwrap().len(), 32 << 10);
        let deep = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
        assert!(fails(&format!("{{{{ {deep} }}}}")).contains("mistake"));
    }
}
