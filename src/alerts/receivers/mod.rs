//! The receivers of messages: one file per service.
//!
//! A service behind a URL is two pure functions: the request of a message, and the verdict on the answer (`request`). `sender` sends
//! messages to one receiver of any kind. `command` runs programs, `file` adds lines, `email` speaks SMTP. `snapshot` has
//! the forms in which some of them get snapshots.

mod alertmanager;
mod command;
mod dingtalk;
mod discord;
mod email;
mod feishu;
mod file;
mod heartbeat;
mod markdown;
mod pagerduty;
mod request;
mod sender;
mod slack;
mod snapshot;
mod teams;
mod wecom;

use std::time::Duration;

use super::notification::{AlertStatus, NEWS_AGE, Notification};
use crate::config::stable_hash;
use crate::config::webhook::SigningKey;
use crate::job::Timestamp;
use crate::webhook::signature::signature;

pub use request::{NextAttempt, SendFailure};
pub(super) use sender::Sender;

/// The time for which a muted bot is left alone.
const MUTED: Duration = Duration::from_secs(600);

/// A time in the form of RFC 3339.
fn rfc3339(time: Timestamp) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Text as a value in the query of a URL.
fn query_value(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                value.push(char::from(byte))
            }
            byte => value.push_str(&format!("%{byte:02X}")),
        }
    }
    value
}

/// The identity of a message: the same for a message that a master sends again because the one before it died, another one for each
/// repeat and each change.
fn message_key(notification: &Notification) -> String {
    let Some(first) = notification.alerts.first() else { return String::new() };
    let (mut all, mut end) = (String::new(), None);
    for alert in &notification.alerts {
        let state = match alert.status {
            AlertStatus::Firing => "firing".to_owned(),
            AlertStatus::Resolved(at) => {
                end = end.max(Some(at));
                at.0.to_string()
            }
        };
        all.push_str(&format!("{}-{state};", alert.fingerprint));
    }
    let hash = stable_hash(all.as_bytes());
    let repeat = match (first.status, end) {
        (AlertStatus::Resolved(_), Some(_)) => "end".to_owned(),
        _ => (notification.at.since(first.started_at).as_secs() / NEWS_AGE.as_secs()).to_string(),
    };
    format!("{}-{}-{repeat}-{hash:016x}", first.fingerprint, first.started_at.0)
}

/// The headers of Standard Webhooks; none without a key. The id is that of the message, the same in each attempt.
fn standard_headers(keys: &[SigningKey], id: String, at: Timestamp, body: &str) -> Vec<(String, String)> {
    if keys.is_empty() {
        return Vec::new();
    }
    let seconds = at.0 / 1_000_000;
    let signature = signature(keys, &id, seconds, body.as_bytes());
    let headers =
        [("webhook-id", id), ("webhook-timestamp", seconds.to_string()), ("webhook-signature", signature)];
    headers.map(|(name, value)| (name.to_owned(), value)).into()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value as Json;

    use super::request::HttpRequest;
    use super::*;
    use crate::config::alerts::HttpTarget;
    use crate::config::webhook::{AllowedUrls, WebhookUrl};
    use crate::engine::alerts::sample::{notification, resolved};
    use crate::engine::alerts::{Alert, Fingerprint};

    pub(super) fn target(url: &str) -> HttpTarget {
        let url = WebhookUrl::parse(url, true, AllowedUrls { http: true, private: true }).unwrap();
        HttpTarget { url, headers: Vec::new(), allow_private: true, ca_file: None }
    }

    pub(super) fn body(request: &HttpRequest) -> Json {
        serde_json::from_str(&request.body).unwrap()
    }

    #[test]
    fn message_sent_again_after_a_takeover_has_the_same_key() {
        let first = notification();
        let later = |seconds| {
            let at = first.at.after(Duration::from_secs(seconds));
            message_key(&Notification { at, ..notification() })
        };
        assert_eq!(message_key(&first), later(30));
        assert_ne!(message_key(&first), later(14_400), "a repeat");
        let mut changed = notification();
        changed.alerts.push(Alert { fingerprint: Fingerprint(7), ..changed.alerts[0].clone() });
        assert_ne!(message_key(&first), message_key(&changed));
        let end = message_key(&resolved());
        assert_eq!(end, message_key(&Notification { at: Timestamp(7), ..resolved() }));
        assert!(!end.contains('.'), "the separator of signed parts");
    }

    #[test]
    fn values_of_queries_are_escaped() {
        assert_eq!(query_value("a+b/c=d ä~"), "a%2Bb%2Fc%3Dd%20%C3%A4~");
    }
}
