//! Sessions without a store: a cookie that the token of its holder signs. A session ends with its time, and when the token is
//! changed or removed; it outlives a restart of the master.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::config::Secret;
use crate::job::Timestamp;

/// The life of a session.
pub(super) const SESSION_TIME: Duration = Duration::from_secs(12 * 3600);
/// The purpose of the derived key, so that the token has no other use by it.
const PURPOSE: &[u8] = b"aint-queue session 1";
/// Longest cookie that is read.
const MAX_COOKIE: usize = 512;

/// The part of a cookie that names its holder; its signature is not checked yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    /// `o` for an operator, `v` for a viewer.
    pub(super) role: char,
    pub(super) name: String,
    expires: u64,
    signed: &'a str,
    mac: Vec<u8>,
}

fn key(token: &Secret) -> hmac::Key {
    let token = hmac::Key::new(hmac::HMAC_SHA256, token.reveal().as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&token, PURPOSE).as_ref())
}

/// The value of the cookie of a holder of this token.
pub(super) fn issue(role: char, name: &str, token: &Secret, now: Timestamp) -> String {
    let expires = now.0 / 1_000_000 + SESSION_TIME.as_secs();
    let nonce = fastrand::u64(..);
    let signed = format!("v1.{role}.{}.{expires}.{nonce:016x}", URL_SAFE_NO_PAD.encode(name));
    let mac = hmac::sign(&key(token), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

impl<'a> Claim<'a> {
    /// Reads a cookie; `None` for a text that is none of ours.
    pub(super) fn read(cookie: &'a str) -> Option<Self> {
        if cookie.len() > MAX_COOKIE {
            return None;
        }
        let (signed, mac) = cookie.rsplit_once('.')?;
        let mut parts = signed.split('.');
        let (version, role, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (expires, _nonce, None) = (parts.next()?, parts.next()?, parts.next()) else { return None };
        let (Some(role), "v1", 1) = (role.chars().next(), version, role.len()) else { return None };
        Some(Self {
            role,
            name: String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?,
            expires: expires.parse().ok()?,
            signed,
            mac: URL_SAFE_NO_PAD.decode(mac).ok()?,
        })
    }

    /// Whether this token has signed the claim, and it is still valid.
    pub(super) fn is_valid(&self, token: &Secret, now: Timestamp) -> bool {
        hmac::verify(&key(token), self.signed.as_bytes(), &self.mac).is_ok()
            && now.0 / 1_000_000 < self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_796_029_200_000_000);

    #[test]
    fn session_is_of_one_holder_one_token_and_twelve_hours() {
        let token = Secret::new("a-token-of-ann-0123456789");
        let cookie = issue('o', "ann;=.\"", &token, NOW);
        assert!(cookie.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{cookie}");
        let claim = Claim::read(&cookie).unwrap();
        assert_eq!((claim.role, claim.name.as_str()), ('o', "ann;=.\""));
        let later = |hours: u64| Timestamp(NOW.0 + hours * 3_600_000_000);
        assert!(claim.is_valid(&token, NOW) && claim.is_valid(&token, later(11)));
        assert!(!claim.is_valid(&token, later(12)), "expired");
        assert!(!claim.is_valid(&Secret::new("another-token-0123456789"), NOW), "changed token");
    }

    #[test]
    fn changed_cookie_is_worth_nothing() {
        let token = Secret::new("a-token-of-ann-0123456789");
        let cookie = issue('v', "ann", &token, NOW);
        let is_valid = |cookie: &str| Claim::read(cookie).is_some_and(|claim| claim.is_valid(&token, NOW));
        assert!(is_valid(&cookie));
        assert!(!is_valid(&cookie.replacen("v1.v.", "v1.o.", 1)), "another role");
        for end in 0..cookie.len() {
            assert!(!is_valid(&cookie[..end]), "cut at {end}");
        }
        for wrong in ["", ".", "v1", "v1.o.YW5u.99999999999.0.", "v2.o.YW5u.1.0.AAAA", &"a.".repeat(9000)] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }
}
