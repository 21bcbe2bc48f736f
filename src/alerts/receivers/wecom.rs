//! Bots of WeCom groups: Markdown, or plain text where people are mentioned by their mobile numbers.

use serde_json::json;

use super::super::text::{Text, escape};
use super::markdown;
use super::request::{HttpRequest, NextAttempt, SendFailure, code_in_body, refused, without_code};
use crate::config::alerts::{HttpTarget, Mentions};
use crate::webhook::http_client::ReceivedResponse;

/// Bytes of a Markdown message.
const MAX_MARKDOWN: usize = 4_096;
/// Bytes of a text message.
const MAX_TEXT: usize = 2_048;
/// The code of a bot that has sent too much in a minute.
const TOO_FAST: i64 = 45_009;

pub(super) fn request(target: &HttpTarget, mentions: &Mentions, text: &Text) -> HttpRequest {
    let mentions = if text.severity.is_some() { mentions.clone() } else { Mentions::default() };
    let body = if mentions.all || !mentions.mobiles.is_empty() {
        // Markdown of WeCom mentions neither everybody nor mobile numbers.
        let mut users = mentions.users;
        if mentions.all {
            users.push("@all".to_owned());
        }
        let content = escape::truncated(&escape::without_mentions(&text.plain()), MAX_TEXT);
        json!({
            "msgtype": "text",
            "text": { "content": content, "mentioned_list": users, "mentioned_mobile_list": mentions.mobiles },
        })
    } else {
        let names: String = mentions.users.iter().map(|user| format!("\n<@{user}>")).collect();
        let content =
            escape::truncated(&markdown::coloured_body(text), MAX_MARKDOWN.saturating_sub(names.len()));
        json!({ "msgtype": "markdown", "markdown": { "content": format!("{content}{names}") } })
    };
    HttpRequest::post(target.url.uri().to_string(), &body)
}

pub(super) fn verdict(answer: &ReceivedResponse) -> Result<(), SendFailure> {
    match code_in_body(answer, &["errcode"]) {
        Some((0, _)) => Ok(()),
        Some((code @ (TOO_FAST | -1), said)) => Err(refused(code, &said, NextAttempt::Usual)),
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
    use crate::engine::alerts::sample::{notification, resolved};

    const URL: &str = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=hunter2";

    #[test]
    fn users_are_mentioned_in_markdown_and_mobiles_in_text() {
        let of =
            |n, mentions: &Mentions| body(&request(&target(URL), mentions, &Text::of(&n, Language::English)));
        let users = Mentions { users: vec!["ann".into()], ..Mentions::default() };
        let firing = of(notification(), &users);
        assert_eq!(firing["msgtype"], "markdown");
        let content = firing["markdown"]["content"].as_str().unwrap();
        assert!(
            content.starts_with("<font color=\"warning\">") && content.ends_with("\n<@ann>"),
            "{content}"
        );
        assert!(!of(resolved(), &users).to_string().contains("<@ann>"));
        let all = Mentions { mobiles: vec!["138".into()], all: true, ..users };
        let text = of(notification(), &all);
        assert_eq!(text["msgtype"], "text");
        assert_eq!(text["text"]["mentioned_list"], json!(["ann", "@all"]));
        assert_eq!(text["text"]["mentioned_mobile_list"], json!(["138"]));
        assert!(text["text"]["content"].as_str().unwrap().len() <= MAX_TEXT);
    }

    #[test]
    fn refusals_in_the_body_are_failures() {
        assert_eq!(verdict(&answer(200, r#"{"errcode":0,"errmsg":"ok"}"#)), Ok(()));
        let next = |body: &str| verdict(&answer(200, body)).unwrap_err().next;
        assert_eq!(next(r#"{"errcode":45009,"errmsg":"freq"}"#), NextAttempt::Usual);
        assert_eq!(next(r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#), NextAttempt::Never);
    }
}
