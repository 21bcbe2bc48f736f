//! A request as data, and the verdict on its answer.

use std::time::Duration;

use serde_json::Value as Json;

use super::super::text::escape;
use crate::webhook::http_client::ReceivedResponse;

/// Most characters that are kept of an answer.
const MAX_ANSWER: usize = 200;

/// A request, before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpRequest {
    /// `POST`, or `GET` for a request without a body.
    pub(super) method: &'static str,
    /// The complete URL.
    pub(super) url: String,
    /// Headers beside the usual ones.
    pub(super) headers: Vec<(String, String)>,
    /// The body, JSON.
    pub(super) body: String,
}

impl HttpRequest {
    /// A request with a JSON body.
    pub(super) fn post(url: impl Into<String>, body: &Json) -> Self {
        Self { method: "POST", url: url.into(), headers: Vec::new(), body: body.to_string() }
    }

    /// A request without a body.
    pub(super) fn get(url: impl Into<String>) -> Self {
        Self { method: "GET", url: url.into(), headers: Vec::new(), body: String::new() }
    }
}

/// The failure of one attempt to send a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendFailure {
    /// The reason, without secrets, on one line.
    pub message: String,
    /// Whether and when the message is sent again.
    pub next: NextAttempt,
}

/// The next attempt after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// None: the same request would fail again.
    Never,
    /// After the usual wait.
    Usual,
    /// After this time, which the receiver asked for.
    After(Duration),
    /// After this time, in which the receiver takes no message at all.
    Muted(Duration),
}

impl SendFailure {
    /// A failure that ends the attempts.
    pub(super) fn last(message: impl Into<String>) -> Self {
        Self { message: message.into(), next: NextAttempt::Never }
    }

    /// A failure that may pass.
    pub(super) fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), next: NextAttempt::Usual }
    }
}

/// The start of an answer on one line.
pub(super) fn excerpt(answer: &str) -> String {
    let line = escape::line(answer.trim());
    match line.char_indices().nth(MAX_ANSWER) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The verdict by the status of an answer, as most receivers mean it.
pub(super) fn by_status(answer: &ReceivedResponse) -> Result<(), SendFailure> {
    let code = answer.status.as_u16();
    if (200..300).contains(&code) {
        return Ok(());
    }
    let reason = answer.status.canonical_reason().map_or_else(String::new, |reason| format!(" {reason}"));
    let said = match excerpt(&answer.body) {
        said if said.is_empty() => said,
        said => format!(": {said}"),
    };
    let message = format!("the receiver answered {code}{reason}{said}");
    let asked = answer.retry_after_wait(std::time::SystemTime::now());
    Err(match (code, asked) {
        (300..400, _) => {
            SendFailure::last(format!("{message}; redirects are never followed: write the final URL"))
        }
        (429 | 503, Some(wait)) => SendFailure { message, next: NextAttempt::After(wait) },
        (408 | 425 | 429 | 500.., _) => SendFailure::passing(message),
        _ => SendFailure::last(message),
    })
}

/// The code in the body of an answer, under one of these names.
pub(super) fn code_in_body(answer: &ReceivedResponse, names: &[&str]) -> Option<(i64, String)> {
    let body: Json = serde_json::from_str(&answer.body).ok()?;
    let code = names.iter().find_map(|name| body.get(name)?.as_i64())?;
    let message = ["errmsg", "msg", "StatusMessage"].iter().find_map(|name| body.get(name)?.as_str());
    Some((code, excerpt(message.unwrap_or_default())))
}

/// The failure of a bot that refuses in the body of its answer.
pub(super) fn refused(code: i64, said: &str, next: NextAttempt) -> SendFailure {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    SendFailure { message: format!("the receiver refused with code {code}{said}"), next }
}

/// The failure of a bot whose answer has no code.
pub(super) fn without_code(answer: &ReceivedResponse) -> SendFailure {
    match by_status(answer) {
        Err(failure) => failure,
        Ok(()) => {
            SendFailure::last(format!("the receiver answered without a code: {}", excerpt(&answer.body)))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn answer(status: u16, body: &str) -> ReceivedResponse {
        let status = hyper::StatusCode::from_u16(status).unwrap();
        ReceivedResponse { status, retry_after: None, body: body.to_owned() }
    }

    #[test]
    fn status_decides_about_the_next_attempt() {
        let next = |status| by_status(&answer(status, "no")).err().map(|failure| failure.next);
        for status in [200, 202, 204] {
            assert_eq!(next(status), None);
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 410, 422] {
            assert_eq!(next(status), Some(NextAttempt::Never), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(next(status), Some(NextAttempt::Usual), "{status}");
        }
        let asked = ReceivedResponse { retry_after: Some("7".to_owned()), ..answer(429, "") };
        let failure = by_status(&asked).unwrap_err();
        assert_eq!(failure.next, NextAttempt::After(Duration::from_secs(7)));
        assert_eq!(failure.message, "the receiver answered 429 Too Many Requests");
    }

    #[test]
    fn answers_are_cut_and_made_harmless() {
        let long = by_status(&answer(400, &format!("a\n\u{1b}[2J{}", "ä".repeat(500)))).unwrap_err().message;
        assert!(long.contains("a \\u{1b}[2J") && long.ends_with('…'), "{long}");
        assert!(long.chars().count() < 250);
    }
}
