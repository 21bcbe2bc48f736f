//! The error of a payload that does not fit a job type, without the data: error texts reach logs, `queue:failed` and failure
//! reports, and payloads may contain secrets.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Longest key of a payload that an error names.
const MAX_SHOWN_KEY: usize = 64;

/// Position and kind of the mismatch: `` at `items[2].price`: invalid type: a string, expected f64 at line 1 column 40 ``.
/// Parses again, so only errors pay for the path.
#[cfg(feature = "server")]
pub(super) fn mismatch<J: DeserializeOwned>(payload: &str, error: &serde_json::Error) -> String {
    let reader = &mut serde_json::Deserializer::from_str(payload);
    match serde_path_to_error::deserialize::<_, J>(reader) {
        Err(found) if found.path().iter().next().is_some() => {
            format!(" at `{}`: {}", path(found.path()), without_data(found.inner()))
        }
        _ => format!(": {}", without_data(error)),
    }
}

/// The error without its path: a producer seldom parses payloads, so it is built without the crate for paths.
#[cfg(not(feature = "server"))]
#[expect(clippy::extra_unused_type_parameters, reason = "the variant with `server` needs it")]
pub(super) fn mismatch<J: DeserializeOwned>(_: &str, error: &serde_json::Error) -> String {
    format!(": {}", without_data(error))
}

/// The path with only such keys as could be names of fields: the keys of a map are data.
#[cfg(feature = "server")]
fn path(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut text = String::new();
    for segment in path.iter() {
        let name = match segment {
            Segment::Seq { index } => {
                text.push_str(&format!("[{index}]"));
                continue;
            }
            Segment::Map { key } | Segment::Enum { variant: key } => shown_key(key),
            Segment::Unknown => "?",
        };
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(name);
    }
    text
}

/// A key, if it could be the name of a field.
fn shown_key(key: &str) -> &str {
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && key.len() <= MAX_SHOWN_KEY;
    if is_name { key } else { "…" }
}

/// The message of an error, with the kind of a value in place of the value.
fn without_data(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // Messages about syntax consist of fixed words.
    if error.classify() != Category::Data {
        return text;
    }
    let place = format!(" at line {} column {}", error.line(), error.column());
    let (text, place) = match text.strip_suffix(&place) {
        Some(text) => (text, place.as_str()),
        None => (text.as_str(), ""),
    };
    format!("{}{place}", message_without_data(text))
}

fn message_without_data(text: &str) -> String {
    // These name fields of the type, or lengths.
    const FIXED: &[&str] =
        &["missing field `", "duplicate field `", "invalid length ", "data did not match any variant of "];
    if FIXED.iter().any(|known| text.starts_with(known)) {
        return text.to_owned();
    }
    // The value comes first and may contain these words itself; the type has the last word.
    let expected = text.rfind(", expected ").map_or("", |at| &text[at..]);
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(value) = text.strip_prefix(kind) {
            return format!("{kind}{}{expected}", kind_of(value));
        }
    }
    if let Some(field) = text.strip_prefix("unknown field `") {
        let name = field.split('`').next().unwrap_or_default();
        return format!("unknown field `{}`{expected}", shown_key(name));
    }
    if text.starts_with("unknown variant `") {
        return format!("unknown variant{expected}");
    }
    // A message of the job type's own parser may quote anything.
    "a value is not accepted".to_owned()
}

/// The kind of a value that serde describes, as in "string \"abc\"" or "integer `5`".
fn kind_of(value: &str) -> &'static str {
    const KINDS: &[(&str, &str)] = &[
        ("string ", "a string"),
        ("character ", "a character"),
        ("integer ", "an integer"),
        ("floating point ", "a number"),
        ("number", "a number"),
        ("boolean ", "a boolean"),
        ("null", "null"),
        ("map", "an object"),
        ("sequence", "an array"),
    ];
    KINDS.iter().find(|(start, _)| value.starts_with(start)).map_or("a value", |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Card {
        _number: u64,
    }

    #[derive(Debug, Deserialize)]
    enum Plan {
        Free,
    }

    fn text<J: DeserializeOwned>(payload: &str) -> String {
        mismatch::<J>(payload, &serde_json::from_str::<J>(payload).map(|_| ()).unwrap_err())
    }

    #[test]
    fn mismatch_names_the_kind_and_never_the_value() {
        for secret in ["\"4111-secret, expected u8\"", "\"4111`secret\"", "4111.5", "-4111", "[4111]", "true"]
        {
            let text = text::<Card>(&format!("{{\"_number\":{secret}}}"));
            assert!(!text.contains("4111") && !text.contains("secret"), "{text}");
            assert!(text.contains("expected u64 at line 1 column"), "{text}");
        }
        assert!(text::<Card>("{\"_number\":\"x\"}").contains("invalid type: a string, expected u64"));
        assert!(
            text::<u8>("4111").contains(": invalid value: an integer, expected u8"),
            "{}",
            text::<u8>("4111")
        );
        let variant = text::<Plan>("\"secret\"");
        assert!(variant.starts_with(": unknown variant, expected `Free`"), "{variant}");
        let own = text::<IpAddr>("\"secret\"");
        assert!(!own.contains("secret"), "{own}");
        let syntax = text::<Card>("{\"_number\":");
        assert!(syntax.contains("EOF while parsing"), "{syntax}");
        let _ = (Plan::Free, |card: Card| card._number);
    }

    #[test]
    fn mismatch_names_fields_but_no_keys_of_maps() {
        assert!(text::<Card>("{}").contains("missing field `_number`"));
        assert!(text::<Card>("{\"numbr\":1}").contains("unknown field `numbr`, expected `_number`"));
        let address = text::<Card>("{\"ann@example.com\":1}");
        assert!(!address.contains("ann"), "{address}");
        let keyed = text::<BTreeMap<String, u8>>("{\"ann@example.com\":\"secret\"}");
        assert!(!keyed.contains("ann") && !keyed.contains("secret"), "{keyed}");
    }

    #[test]
    #[cfg(feature = "server")]
    fn mismatch_names_the_position() {
        let nested = text::<BTreeMap<String, Vec<Card>>>("{\"cards\":[{\"_number\":1},{\"_number\":\"x\"}]}");
        assert!(nested.starts_with(" at `cards[1]._number`: invalid type: a string"), "{nested}");
    }
}
