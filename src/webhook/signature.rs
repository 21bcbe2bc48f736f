//! Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::config::webhook::SigningKey;

/// The signature of one request: `v1,` and base64.
fn sign(key: &SigningKey, id: &str, seconds: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
    context.update(format!("{id}.{seconds}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

/// The value of `webhook-signature`: one signature per secret, so that a receiver can switch to a new secret while the old one
/// is still in use.
pub(crate) fn signature(keys: &[SigningKey], id: &str, seconds: u64, body: &[u8]) -> String {
    let all: Vec<_> = keys.iter().map(|key| sign(key, id, seconds, body)).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Secret, request and signature of the test vector in the specification's libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn published_signature_vector_matches() {
        let key = SigningKey::parse(SECRET).unwrap();
        assert_eq!(signature(std::slice::from_ref(&key), ID, 1_614_265_330, BODY), SIGNATURE);
        let other = SigningKey::parse("whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
        let both = signature(&[key, other], ID, 1_614_265_330, BODY);
        assert!(both.starts_with(&format!("{SIGNATURE} v1,")) && both.len() == 2 * SIGNATURE.len() + 1);
    }
}
