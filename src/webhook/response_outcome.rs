//! Maps a receiver's response to the outcome of the run. Pure.

use std::time::SystemTime;

use super::http_client::ReceivedResponse;
use crate::job::JobError;
use crate::sanitize;

/// Bytes of a body that are kept in the error.
const MAX_EXCERPT: usize = 1024;

/// The outcome of a run: done, retried, or failed without retry.
pub(super) fn outcome(answer: ReceivedResponse, now: SystemTime) -> Result<(), JobError> {
    let asked = answer.retry_after_wait(now);
    let ReceivedResponse { status, body, .. } = answer;
    let body = match excerpt(&body) {
        empty if empty.is_empty() => empty,
        body => format!(": {body}"),
    };
    let reason = status.canonical_reason().map_or_else(String::new, |reason| format!(" {reason}"));
    let error = format!("the receiver answered {}{reason}{body}", status.as_u16());
    match (status.as_u16(), asked) {
        (200..=299, _) => Ok(()),
        (429 | 503, Some(retry_after_wait)) => Err(JobError::retry_after(retry_after_wait, error)),
        (300..=399, _) => Err(JobError::never(format!(
            "{error}; redirects are not followed: set worker.url to the final address"
        ))),
        (408 | 425 | 429, _) => Err(error.into()),
        (400..=499, _) => Err(JobError::never(error)),
        _ => Err(error.into()),
    }
}

/// The first bytes of a body on one line, sanitised.
fn excerpt(body: &str) -> String {
    let body = body.trim();
    let kept = &body[..body.floor_char_boundary(MAX_EXCERPT)];
    let mut line = sanitize::line(&kept.replace(['\n', '\r', '\t'], " ")).into_owned();
    if kept.len() < body.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::StatusCode;

    use super::*;
    use crate::job::{Outcome, RetryDecision};

    /// 1994-11-06 08:49:37 UTC, the example date of RFC 9110.
    const EXAMPLE: Duration = Duration::from_secs(784_111_777);

    fn end(status: u16, retry_after: Option<&str>) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        let answer =
            ReceivedResponse { status, retry_after: retry_after.map(str::to_owned), body: "no\n".into() };
        let now = SystemTime::UNIX_EPOCH + EXAMPLE - Duration::from_secs(90);
        outcome(answer, now).map_or_else(JobError::into_outcome, |()| Outcome::Done)
    }

    fn next(status: u16, retry_after: Option<&str>) -> RetryDecision {
        match end(status, retry_after) {
            Outcome::Failed { next, .. } => next,
            other => panic!("{status} is no failure but {other:?}"),
        }
    }

    #[test]
    fn every_status_class_has_its_outcome() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(end(status, Some("5")), Outcome::Done);
        }
        for status in [300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 422, 451] {
            assert_eq!(next(status, Some("5")), RetryDecision::Never, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(next(status, None), RetryDecision::ByPolicy, "{status}");
        }
        assert_eq!(next(500, Some("5")), RetryDecision::ByPolicy);
    }

    #[test]
    fn retry_after_is_bounded() {
        let after = |text| next(429, Some(text));
        let seconds = |n| RetryDecision::After(Duration::from_secs(n));
        assert_eq!(after(" 7 "), seconds(7));
        assert_eq!(next(503, Some("120")), seconds(120));
        assert_eq!(after("0"), seconds(1));
        assert_eq!(after("99999999999999999999999"), seconds(86_400));
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(after(date), seconds(90), "{date}");
        }
        assert_eq!(after("Sat, 05 Nov 1994 08:49:37 GMT"), seconds(1));
        assert_eq!(after("Fri, 31 Dec 9999 23:59:59 GMT"), seconds(86_400));
        for nonsense in ["", "soon", "-1", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(after(nonsense), RetryDecision::ByPolicy, "{nonsense}");
        }
    }

    #[test]
    fn error_keeps_status_and_start_of_body() {
        let error = |body: &str| {
            let answer =
                ReceivedResponse { status: StatusCode::NOT_FOUND, retry_after: None, body: body.into() };
            outcome(answer, SystemTime::UNIX_EPOCH).unwrap_err().message().to_owned()
        };
        assert_eq!(error(""), "the receiver answered 404 Not Found");
        assert_eq!(
            error("a\r\nb\x1b[31m\u{202e}\u{3164}"),
            "the receiver answered 404 Not Found: a  b\\u{1b}[31m\\u{202e}\\u{3164}"
        );
        let long = error(&"ä".repeat(2000));
        assert!(long.ends_with("ä…") && long.len() < MAX_EXCERPT + 60, "{}", long.len());
        let redirect = outcome(
            ReceivedResponse { status: StatusCode::FOUND, retry_after: None, body: String::new() },
            SystemTime::UNIX_EPOCH,
        );
        assert!(redirect.unwrap_err().message().contains("302 Found; redirects are not followed"));
    }
}
