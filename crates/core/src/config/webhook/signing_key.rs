//! Signing secrets of webhooks.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Prefix of the text of a secret.
const PREFIX: &str = "whsec_";
/// Allowed length of a secret, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that signs requests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Parses a secret written as `whsec_…`.
    ///
    /// # Errors
    /// The mistake, without quoting the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix(PREFIX).ok_or("does not begin with \"whsec_\"")?;
        let bytes = STANDARD.decode(text).map_err(|_| "is not base64 after \"whsec_\"")?;
        if bytes.len() < *SECRET_BYTES.start() {
            return Err("has fewer than 24 bytes and may be guessed");
        }
        if bytes.len() > *SECRET_BYTES.end() {
            return Err("has more than 64 bytes");
        }
        Ok(Self(bytes))
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl TryFrom<String> for SigningKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// Writes the secret for the environment variable of a worker; no other code may show it.
impl From<SigningKey> for String {
    fn from(key: SigningKey) -> Self {
        format!("{PREFIX}{}", STANDARD.encode(&key.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn secret_reaches_its_worker_and_nothing_else() {
        let key = SigningKey::parse(SECRET).unwrap();
        assert_eq!(String::from(key.clone()), SECRET);
        assert_eq!(format!("{key:?}"), "[secret]");
    }

    #[test]
    fn invalid_secret_is_refused_with_reason() {
        let wrong = |text: &str| SigningKey::parse(text).unwrap_err();
        assert_eq!(wrong("hunter2"), "does not begin with \"whsec_\"");
        assert_eq!(wrong("whsec_ä"), "is not base64 after \"whsec_\"");
        assert_eq!(wrong("whsec_c2hvcnQ="), "has fewer than 24 bytes and may be guessed");
        assert_eq!(wrong(&String::from(SigningKey(vec![1; 65]))), "has more than 64 bytes");
    }
}
