//! Payloads: one JSON value, kept as the pushed text.

use std::fmt;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use thiserror::Error;

use super::surrogates::mend_surrogates;

/// Largest payload in bytes: 1 MiB.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Deepest nesting of arrays and objects in a payload.
pub const MAX_PAYLOAD_DEPTH: usize = 128;

/// A JSON value of at most [`MAX_PAYLOAD_BYTES`] and [`MAX_PAYLOAD_DEPTH`], on a single line.
///
/// The text is that of the producer, with line breaks between tokens replaced by spaces, so that a payload fits into one
/// line of the worker protocol without being parsed again. Half a character (`\ud83d` alone), which many JSON readers refuse,
/// is replaced by U+FFFD.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Box<str>);

/// A broken rule of a payload.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// The text is larger than [`MAX_PAYLOAD_BYTES`].
    #[error(
        "the payload has {bytes} bytes; at most {MAX_PAYLOAD_BYTES} (1 MiB) are allowed: store the data elsewhere and push a reference to it"
    )]
    TooLarge {
        /// Size of the refused text in bytes.
        bytes: usize,
    },
    /// Arrays and objects are nested deeper than [`MAX_PAYLOAD_DEPTH`].
    #[error("the payload is nested deeper than {MAX_PAYLOAD_DEPTH} levels: flatten it")]
    TooDeep,
    /// The text is not one JSON value.
    #[error("the payload is not valid JSON: {0}")]
    NotJson(#[from] serde_json::Error),
}

impl Payload {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// When the text is too large, too deeply nested, or not one JSON value.
    pub fn parse(text: impl Into<String>) -> Result<Self, PayloadError> {
        let mut text: String = text.into();
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadError::TooLarge { bytes: text.len() });
        }
        serde_json::from_str::<IgnoredAny>(&text)?;
        if depth(&text) > MAX_PAYLOAD_DEPTH {
            return Err(PayloadError::TooDeep);
        }
        // JSON strings cannot contain raw line breaks, so every line break is white space.
        if text.bytes().any(is_line_break) {
            text = text.replace(['\n', '\r'], " ");
        }
        Ok(Self(mend_surrogates(text).into_boxed_str()))
    }

    /// Serialises `value`.
    ///
    /// # Errors
    /// When the value cannot be serialised or its text breaks a rule for payloads.
    pub fn of(value: &impl Serialize) -> Result<Self, PayloadError> {
        Self::parse(serde_json::to_string(value)?)
    }

    /// Wraps a payload that the sender of its frame has checked.
    #[doc(hidden)]
    pub fn from_raw(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as raw JSON, for embedding in a frame without parsing.
    #[must_use]
    pub fn as_raw(&self) -> &RawValue {
        // A payload is valid JSON by construction; only surrounding white space, trimmed here, could make the raw form
        // refuse it.
        serde_json::from_str(self.0.trim()).expect("a payload is valid JSON by construction")
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads may contain secrets, so debug output shows the size only.
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

fn is_line_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The deepest nesting in a valid JSON text.
#[must_use]
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_text_is_kept_on_one_line() {
        let payload = Payload::parse("{\n  \"a\": [1, \"x\\n\"]\r\n}").unwrap();
        assert_eq!(payload.as_str(), "{   \"a\": [1, \"x\\n\"]  }");
        assert_eq!(Payload::parse("null").unwrap().as_str(), "null");
    }

    #[test]
    fn half_a_character_in_a_payload_is_replaced() {
        let payload = Payload::parse(r#"{"name":"a\ud83d","face":"\ud83d\ude00"}"#).unwrap();
        assert_eq!(payload.as_str(), r#"{"name":"a\ufffd","face":"\ud83d\ude00"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(payload.as_str()).is_ok());
    }

    #[test]
    fn non_json_payload_is_refused() {
        for text in ["", "{", "1 2", "{\"a\":}", "'x'", "nul"] {
            assert!(matches!(Payload::parse(text), Err(PayloadError::NotJson(_))), "{text}");
        }
    }

    #[test]
    fn limits_are_exact() {
        let fits = format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES - 2));
        assert!(Payload::parse(fits.clone()).is_ok());
        let over = format!("{fits} ");
        assert!(matches!(Payload::parse(over), Err(PayloadError::TooLarge { .. })));

        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Payload::parse(nested(MAX_PAYLOAD_DEPTH)).is_ok());
        assert!(matches!(Payload::parse(nested(MAX_PAYLOAD_DEPTH + 1)), Err(PayloadError::TooDeep)));
        let brackets_in_a_string = format!("\"{}\"", "[".repeat(500));
        assert!(Payload::parse(brackets_in_a_string).is_ok());
    }
}
