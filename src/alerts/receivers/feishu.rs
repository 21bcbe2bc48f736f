//! Bots of Feishu and Lark groups: a card, signed in the body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value as Json, json};

use super::super::text::{Text, escape};
use super::markdown;
use super::request::{HttpRequest, NextAttempt, SendFailure, code_in_body, refused, without_code};
use crate::config::Secret;
use crate::config::alerts::{HttpTarget, Mentions, Severity};
use crate::job::Timestamp;
use crate::webhook::http_client::ReceivedResponse;

/// Bytes of the text of a card, whose body may have 20 KiB.
const MAX_BYTES: usize = 12_000;
/// Codes of requests that came too fast, or while the service was busy.
const PASSING: [i64; 2] = [9_499, 11_232];

/// The signature of a request at a time in seconds: the key is the text, and the data is empty.
fn signature(secret: &str, seconds: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, format!("{seconds}\n{secret}").as_bytes());
    STANDARD.encode(hmac::sign(&key, b""))
}

pub(super) fn request(
    target: &HttpTarget,
    secret: Option<&Secret>,
    mentions: &Mentions,
    text: &Text,
    now: Timestamp,
) -> HttpRequest {
    let colour = match text.severity {
        Some(Severity::Critical) => "red",
        Some(Severity::Warning) => "orange",
        Some(Severity::Info) => "blue",
        None => "green",
    };
    let mut content = escape::truncated(&markdown::lines_below_title(text), MAX_BYTES);
    if text.severity.is_some() {
        let all = mentions.all.then_some("all");
        for user in mentions.users.iter().map(String::as_str).chain(all) {
            content.push_str(&format!("\n<at id={user}></at>"));
        }
    }
    let mut elements = vec![json!({ "tag": "div", "text": { "tag": "lark_md", "content": content } })];
    if let Some((label, url)) = &text.link {
        let button = json!({ "tag": "button", "text": { "tag": "plain_text", "content": label }, "url": url, "type": "default" });
        elements.extend([json!({ "tag": "hr" }), json!({ "tag": "action", "actions": [button] })]);
    }
    let mut body = json!({
        "msg_type": "interactive",
        "card": {
            "config": { "wide_screen_mode": true },
            "header": { "template": colour, "title": { "tag": "plain_text", "content": text.title } },
            "elements": elements,
        },
    });
    if let Some(secret) = secret {
        let seconds = now.0 / 1_000_000;
        body["timestamp"] = Json::String(seconds.to_string());
        body["sign"] = Json::String(signature(secret.reveal(), seconds));
    }
    HttpRequest::post(target.url.uri().to_string(), &body)
}

pub(super) fn verdict(answer: &ReceivedResponse) -> Result<(), SendFailure> {
    match code_in_body(answer, &["code", "StatusCode"]) {
        Some((0, _)) => Ok(()),
        Some((code, said)) if PASSING.contains(&code) => Err(refused(code, &said, NextAttempt::Usual)),
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

    const URL: &str = "https://open.feishu.cn/open-apis/bot/v2/hook/hunter2";

    #[test]
    fn signature_matches_the_fixed_vector() {
        let expected = "xqhKocb0RcGBDr30iFkLPByPLrRBM9Oy/dgBx968k0U=";
        assert_eq!(signature("SECtest0123456789", 1_700_000_000), expected);
        let text = Text::of(&notification(), Language::English);
        let secret = Secret::new("SECtest0123456789");
        let body = body(&request(&target(URL), Some(&secret), &Mentions::default(), &text, AT));
        assert_eq!((&body["timestamp"], &body["sign"]), (&json!("1700000000"), &json!(expected)));
    }

    #[test]
    fn card_has_the_colour_of_the_severity_and_a_button() {
        let mentions = Mentions { users: vec!["ou_1".into()], all: true, ..Mentions::default() };
        let of = |n| body(&request(&target(URL), None, &mentions, &Text::of(&n, Language::Chinese), AT));
        let firing = of(notification());
        assert_eq!(firing["card"]["header"]["template"], "orange");
        assert_eq!(
            firing["card"]["elements"][2]["actions"][0]["url"],
            "https://queue.example.com/channels/mail"
        );
        let content = firing["card"]["elements"][0]["text"]["content"].as_str().unwrap();
        assert!(content.ends_with("\n<at id=ou_1></at>\n<at id=all></at>"), "{content}");
        assert!(firing.get("sign").is_none());
        let resolved = of(resolved());
        assert_eq!(resolved["card"]["header"]["template"], "green");
        assert!(!resolved.to_string().contains("<at id"));
    }

    #[test]
    fn refusals_in_the_body_are_failures() {
        assert_eq!(verdict(&answer(200, r#"{"code":0,"msg":"success"}"#)), Ok(()));
        assert_eq!(verdict(&answer(200, r#"{"StatusCode":0,"StatusMessage":"success"}"#)), Ok(()));
        let next = |status, body: &str| verdict(&answer(status, body)).unwrap_err().next;
        assert_eq!(next(400, r#"{"code":9499,"msg":"too many request"}"#), NextAttempt::Usual);
        assert_eq!(next(200, r#"{"code":11232,"msg":"busy"}"#), NextAttempt::Usual);
        assert_eq!(next(200, r#"{"code":19021,"msg":"sign match fail"}"#), NextAttempt::Never);
    }
}
