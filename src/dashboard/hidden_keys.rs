//! Values that pages never show: those of keys whose names say that they are secret.

use serde_json::Value;

/// The sign in place of a hidden value.
const DOTS: &str = "••••";

/// Parts of names, in lower case.
#[derive(Debug)]
pub(super) struct HiddenKeys(Vec<String>);

impl HiddenKeys {
    pub(super) fn new(parts: &[String]) -> Self {
        Self(parts.to_vec())
    }

    fn hides(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.0.iter().any(|part| name.contains(part))
    }

    /// A payload as readable JSON, hidden values replaced at any depth. A text that is no JSON is hidden if it has one of the names.
    pub(super) fn payload(&self, text: &str) -> String {
        self.shown(text, serde_json::to_string_pretty)
    }

    /// As [`HiddenKeys::payload`], on one line without spaces.
    pub(super) fn compact(&self, text: &str) -> String {
        self.shown(text, serde_json::to_string)
    }

    fn shown(&self, text: &str, write: fn(&Value) -> serde_json::Result<String>) -> String {
        match serde_json::from_str::<Value>(text) {
            Ok(mut value) => {
                self.hide(&mut value);
                write(&value).unwrap_or_else(|_| DOTS.to_owned())
            }
            Err(_) if self.hides(text) => DOTS.to_owned(),
            Err(_) => text.to_owned(),
        }
    }

    /// The value of a header.
    pub(super) fn header<'a>(&self, name: &str, value: &'a str) -> &'a str {
        if self.hides(name) { DOTS } else { value }
    }

    fn hide(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item)),
            Value::Object(entries) => {
                for (name, entry) in entries {
                    if self.hides(name) { *entry = DOTS.into() } else { self.hide(entry) }
                }
            }
            // Producers nest JSON as text.
            Value::String(text) if text.starts_with(['{', '[']) && self.hides(text) => {
                *text = self.compact(text);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_values_are_hidden_at_any_depth() {
        let hidden = HiddenKeys::new(&["password".to_owned(), "token".to_owned()]);
        let payload =
            r#"{"to":"ann","DbPassword":"x1","list":[{"api_token":{"deep":"x2"}},7],"note":"password x3"}"#;
        let shown = hidden.payload(payload);
        assert!(!shown.contains("x1") && !shown.contains("x2"), "{shown}");
        assert!(
            shown.contains("\"to\": \"ann\"") && shown.contains("password x3"),
            "a value is no name: {shown}"
        );
        assert_eq!(hidden.payload("not JSON, password=x4"), DOTS);
        assert_eq!(hidden.payload("plain"), "plain");
        let nested = hidden.compact(r#"{"data":"{\"password\":\"x6\",\"to\":\"ann\"}"}"#);
        assert!(!nested.contains("x6") && nested.contains("ann"), "{nested}");
        assert_eq!(hidden.header("X-Token", "x5"), DOTS);
        assert_eq!(hidden.header("tenant", "acme"), "acme");
    }
}
