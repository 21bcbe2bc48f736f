//! Bots of DingTalk groups: Markdown, signed in the query of the URL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

use super::super::text::{Text, escape};
use super::markdown;
use super::query_value;
use super::request::{HttpRequest, NextAttempt, SendFailure, code_in_body, refused, without_code};
use crate::config::Secret;
use crate::config::alerts::{HttpTarget, Mentions};
use crate::job::Timestamp;
use crate::webhook::http_client::ReceivedResponse;

/// Bytes of a text.
const MAX_BYTES: usize = 4_000;
/// The code of a bot that is muted, and for how long.
const TOO_FAST: i64 = 130_101;

/// The signature of a request at a time in milliseconds.
fn signature(secret: &str, millis: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, format!("{millis}\n{secret}").as_bytes()))
}

pub(super) fn request(
    target: &HttpTarget,
    secret: Option<&Secret>,
    mentions: &Mentions,
    text: &Text,
    now: Timestamp,
) -> HttpRequest {
    let mut url = target.url.uri().to_string();
    if let Some(secret) = secret {
        let millis = now.0 / 1_000;
        let sign = query_value(&signature(secret.reveal(), millis));
        let joint = if url.contains('?') { '&' } else { '?' };
        url.push_str(&format!("{joint}timestamp={millis}&sign={sign}"));
    }
    let mentions = if text.severity.is_some() { mentions.clone() } else { Mentions::default() };
    // A mention takes effect only when its name stands in the text, too.
    let mut names: Vec<String> =
        mentions.mobiles.iter().chain(&mentions.users).map(|name| format!("@{name}")).collect();
    if mentions.all {
        names.push("@all".to_owned());
    }
    let body = escape::truncated(&markdown::body(text), MAX_BYTES.saturating_sub(names.join(" ").len() + 2));
    let body = if names.is_empty() { body } else { format!("{body}\n\n{}", names.join(" ")) };
    let body = json!({
        "msgtype": "markdown",
        "markdown": { "title": text.title, "text": body },
        "at": { "atMobiles": mentions.mobiles, "atUserIds": mentions.users, "isAtAll": mentions.all },
    });
    HttpRequest::post(url, &body)
}

pub(super) fn verdict(answer: &ReceivedResponse) -> Result<(), SendFailure> {
    match code_in_body(answer, &["errcode"]) {
        Some((0, _)) => Ok(()),
        Some((TOO_FAST, said)) => Err(refused(TOO_FAST, &said, NextAttempt::Muted(super::MUTED))),
        Some((-1, said)) => Err(refused(-1, &said, NextAttempt::Usual)),
        Some((code, said)) => Err(refused(code, &said, NextAttempt::Never)),
        None => Err(without_code(answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::answer;
    use super::super::tests::{body, target};
    use super::*;
    use crate::config::alerts::Language;
    use crate::engine::alerts::sample::{AT, notification, resolved};

    const URL: &str = "https://oapi.dingtalk.com/robot/send?access_token=hunter2";

    #[test]
    fn signature_matches_the_fixed_vector() {
        assert_eq!(
            signature("SECtest0123456789", 1_700_000_000_000),
            "yBKp5IlG6qCzcQWmgyRK/ziJBdVNJmHfFE2ST/CzT/g="
        );
        let text = Text::of(&notification(), Language::English);
        let secret = Secret::new("SECtest0123456789");
        let request = request(&target(URL), Some(&secret), &Mentions::default(), &text, AT);
        assert_eq!(
            request.url,
            format!(
                "{URL}&timestamp=1700000000000&sign=yBKp5IlG6qCzcQWmgyRK%2FziJBdVNJmHfFE2ST%2FCzT%2Fg%3D"
            )
        );
    }

    #[test]
    fn body_is_markdown_that_mentions_only_while_firing() {
        let mentions = Mentions { users: vec!["ann".into()], mobiles: vec!["138".into()], all: false };
        let of = |n| body(&request(&target(URL), None, &mentions, &Text::of(&n, Language::English), AT));
        let firing = of(notification());
        assert_eq!(firing["msgtype"], "markdown");
        assert_eq!(firing["markdown"]["title"], "[FIRING] mail: backlog · 1,204 waiting");
        assert!(firing["markdown"]["text"].as_str().unwrap().ends_with("\n\n@138 @ann"), "{firing}");
        assert_eq!(firing["at"], json!({ "atMobiles": ["138"], "atUserIds": ["ann"], "isAtAll": false }));
        assert_eq!(of(resolved())["at"], json!({ "atMobiles": [], "atUserIds": [], "isAtAll": false }));
    }

    #[test]
    fn refusals_in_the_body_are_failures() {
        assert_eq!(verdict(&answer(200, r#"{"errcode":0,"errmsg":"ok"}"#)), Ok(()));
        let muted = verdict(&answer(200, r#"{"errcode":130101,"errmsg":"send too fast"}"#)).unwrap_err();
        assert_eq!(muted.next, NextAttempt::Muted(super::super::MUTED));
        let keywords =
            verdict(&answer(200, r#"{"errcode":310000,"errmsg":"keywords not in content"}"#)).unwrap_err();
        assert_eq!(keywords.next, NextAttempt::Never);
        assert_eq!(keywords.message, "the receiver refused with code 310000: keywords not in content");
        assert_eq!(verdict(&answer(502, "bad gateway")).unwrap_err().next, NextAttempt::Usual);
        assert!(verdict(&answer(200, "<html>")).unwrap_err().message.contains("without a code"));
    }
}
