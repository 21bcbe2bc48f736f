//! Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::{Deserialize, Serialize};

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// Bytes a secret may have.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that requests are signed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// The secret that `text` writes as `whsec_…`.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
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

    /// The signature of one request: `v1,` and base64.
    fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// The value of `webhook-signature`: a signature for each secret, so that the other side can change to a new one while
/// it still knows the old one only.
pub(super) fn signature(keys: &[SigningKey], id: &str, seconds: u64, body: &[u8]) -> String {
    let all: Vec<_> = keys.iter().map(|key| key.sign(id, seconds, body)).collect();
    all.join(" ")
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

/// For the variable of a worker, and for nothing else.
impl From<SigningKey> for String {
    fn from(key: SigningKey) -> Self {
        format!("{PREFIX}{}", STANDARD.encode(&key.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret, request and signature that the specification's own libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn published_signature_vector_matches() {
        let key = SigningKey::parse(SECRET).unwrap();
        assert_eq!(signature(std::slice::from_ref(&key), ID, 1_614_265_330, BODY), SIGNATURE);
        let other = SigningKey(vec![7; 32]);
        let both = signature(&[key, other], ID, 1_614_265_330, BODY);
        assert!(both.starts_with(&format!("{SIGNATURE} v1,")) && both.len() == 2 * SIGNATURE.len() + 1);
    }

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
