//! Webhooks of Discord channels.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::text::{Text, escape};
use super::markdown::url_text;
use super::request::{HttpRequest, NextAttempt, SendFailure, by_status};
use crate::config::alerts::{HttpTarget, Mentions, Severity};
use crate::webhook::http_client::ReceivedResponse;

/// Characters of the title of an embed.
const MAX_TITLE: usize = 256;
/// Bytes of the description of an embed, which may have 4,096 characters.
const MAX_DESCRIPTION: usize = 4_000;

pub(super) fn request(target: &HttpTarget, mentions: &Mentions, text: &Text) -> HttpRequest {
    let colour: u32 = match text.severity {
        Some(Severity::Critical) => 0x00c0_0000,
        Some(Severity::Warning) => 0x00e0_7b00,
        Some(Severity::Info) => 0x002f_6fde,
        None => 0x002e_8540,
    };
    let mut parts = Vec::new();
    for alert in &text.alerts {
        let mut lines = vec![
            format!("**{}**", escape::common_markdown(&alert.heading)),
            escape::common_markdown(&alert.summary),
        ];
        let fact = |(label, value): &(String, String)| format!("{label}: {}", escape::common_markdown(value));
        lines.extend(alert.facts.iter().map(fact));
        lines.extend(alert.runbook.as_deref().map(url_text));
        parts.push(lines.join("\n"));
    }
    if !text.more.is_empty() {
        parts.push(text.more.clone());
    }
    let commands = text.commands.iter().map(|command| format!("\n`{}`", command.replace('`', "'")));
    parts.push(format!("{}:{}", text.commands_label, commands.collect::<String>()));
    let mut embed = json!({
        "title": text.title.chars().take(MAX_TITLE).collect::<String>(),
        "description": escape::truncated(&parts.join("\n\n"), MAX_DESCRIPTION),
        "color": colour,
    });
    if let Some((_, url)) = &text.link {
        embed["url"] = Json::String(url.clone());
    }
    let is_firing = text.severity.is_some();
    let users: &[String] = if is_firing { &mentions.users } else { &[] };
    let all = (is_firing && mentions.all).then_some("everyone");
    let names = users.iter().map(|user| format!("<@{user}>")).chain(all.map(|all| format!("@{all}")));
    // The list of what may be mentioned: names in texts of rules and jobs are not in it.
    let body = json!({
        "content": names.collect::<Vec<_>>().join(" "),
        "embeds": [embed],
        "allowed_mentions": { "parse": all.into_iter().collect::<Vec<_>>(), "users": users },
    });
    HttpRequest::post(target.url.uri().to_string(), &body)
}

pub(super) fn verdict(answer: &ReceivedResponse) -> Result<(), SendFailure> {
    let failure = match by_status(answer) {
        Ok(()) => return Ok(()),
        Err(failure) => failure,
    };
    let body: Option<Json> = serde_json::from_str(&answer.body).ok();
    let asked = body.and_then(|body| body.get("retry_after")?.as_f64());
    match asked.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(wait) if answer.status.as_u16() == 429 => {
            Err(SendFailure { next: NextAttempt::After(wait), ..failure })
        }
        _ => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::answer;
    use super::super::tests::{body, target};
    use super::*;
    use crate::config::alerts::Language;
    use crate::engine::alerts::sample::{notification, resolved};

    #[test]
    fn only_configured_people_can_be_mentioned() {
        let mut hostile = notification();
        hostile.alerts[0].summary = Some("@everyone <@9>".into());
        let url = "https://discord.com/api/webhooks/1/hunter2";
        let of =
            |n, mentions: &Mentions| body(&request(&target(url), mentions, &Text::of(&n, Language::English)));
        let without_mentions = of(hostile, &Mentions::default());
        assert_eq!(without_mentions["allowed_mentions"], json!({ "parse": [], "users": [] }));
        assert_eq!(without_mentions["content"], "");
        let mentions = Mentions { users: vec!["7".into()], all: true, ..Mentions::default() };
        let some = of(notification(), &mentions);
        assert_eq!(some["content"], "<@7> @everyone");
        assert_eq!(some["allowed_mentions"], json!({ "parse": ["everyone"], "users": ["7"] }));
        assert_eq!(of(resolved(), &mentions)["content"], "");
        assert_eq!(some["embeds"][0]["color"], 0x00e0_7b00);
        assert_eq!(some["embeds"][0]["url"], "https://queue.example.com/channels/mail");
    }

    #[test]
    fn wait_is_read_from_the_body() {
        assert_eq!(verdict(&answer(204, "")), Ok(()));
        let limited = verdict(&answer(429, r#"{"message":"You are being rate limited.","retry_after":1.5}"#));
        assert_eq!(limited.unwrap_err().next, NextAttempt::After(Duration::from_millis(1500)));
    }
}
