//! The receivers of messages: one file per service.
//!
//! A service behind a URL is two pure functions: the request of a message, and the verdict on the answer (`request`). `sender` sends
//! messages to one receiver of any kind. `command` runs programs, `file` adds lines, `email` speaks SMTP.

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
mod teams;
mod wecom;

use std::time::Duration;

use super::notification::{AlertStatus, Notification};
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

/// The headers of Standard Webhooks; none without a key. The id is that of the message, the same in each attempt.
fn standard_headers(keys: &[SigningKey], notification: &Notification, body: &str) -> Vec<(String, String)> {
    if keys.is_empty() {
        return Vec::new();
    }
    let first = notification.alerts.first();
    let state = match first.map(|alert| alert.status) {
        Some(AlertStatus::Firing) => "firing",
        _ => "resolved",
    };
    let fingerprint = first.map_or_else(String::new, |alert| alert.fingerprint.to_string());
    let id = format!("{fingerprint}-{state}-{}", notification.at.0);
    let seconds = notification.at.0 / 1_000_000;
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

    pub(super) fn target(url: &str) -> HttpTarget {
        let url = WebhookUrl::parse(url, true, AllowedUrls { http: true, private: true }).unwrap();
        HttpTarget { url, headers: Vec::new(), allow_private: true, ca_file: None }
    }

    pub(super) fn body(request: &HttpRequest) -> Json {
        serde_json::from_str(&request.body).unwrap()
    }

    #[test]
    fn values_of_queries_are_escaped() {
        assert_eq!(query_value("a+b/c=d ä~"), "a%2Bb%2Fc%3Dd%20%C3%A4~");
    }
}
