//! Incoming webhooks of Slack.

use serde_json::{Value as Json, json};

use super::super::text::{Text, escape};
use super::markdown::url_text;
use super::request::{HttpRequest, SendFailure, by_status, excerpt};
use crate::config::alerts::{HttpTarget, Mentions, Severity};
use crate::webhook::http_client::ReceivedResponse;

/// Characters of a header.
const MAX_HEADER: usize = 150;
/// Bytes of a section, which may have 3,000 characters.
const MAX_SECTION: usize = 3_000;

pub(super) fn request(target: &HttpTarget, mentions: &Mentions, text: &Text) -> HttpRequest {
    let colour = match text.severity {
        Some(Severity::Critical) => "#c00000",
        Some(Severity::Warning) => "#e07b00",
        Some(Severity::Info) => "#2f6fde",
        None => "#2e8540",
    };
    let header: String = text.title.chars().take(MAX_HEADER).collect();
    let mut blocks = vec![json!({ "type": "header", "text": { "type": "plain_text", "text": header } })];
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": escape::truncated(&text, MAX_SECTION) } });
    for alert in &text.alerts {
        let mut lines = vec![format!("*{}*", escape::slack(&alert.heading)), escape::slack(&alert.summary)];
        let fact =
            |(label, value): &(String, String)| format!("{}: {}", escape::slack(label), escape::slack(value));
        lines.extend(alert.facts.iter().map(fact));
        lines.extend(alert.runbook.as_deref().map(|url| format!("<{}>", url_text(url).replace('|', "%7C"))));
        blocks.push(section(lines.join("\n")));
    }
    let commands =
        text.commands.iter().map(|command| format!("\n`{}`", escape::slack(&command.replace('`', "'"))));
    let more = if text.more.is_empty() { String::new() } else { format!("{}\n", text.more) };
    blocks.push(section(format!("{more}{}:{}", text.commands_label, commands.collect::<String>())));
    if let Some((label, url)) = &text.link {
        let button = json!({ "type": "button", "text": { "type": "plain_text", "text": label }, "url": url });
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
    let mut fallback = escape::slack(&text.title);
    if text.severity.is_some() {
        let names = mentions.users.iter().map(|user| format!("<@{user}>"));
        let all = mentions.all.then(|| "<!channel>".to_owned());
        fallback = names.chain(all).chain([fallback]).collect::<Vec<_>>().join(" ");
    }
    let body: Json = json!({ "text": fallback, "attachments": [{ "color": colour, "blocks": blocks }] });
    HttpRequest::post(target.url.uri().to_string(), &body)
}

pub(super) fn verdict(answer: &ReceivedResponse) -> Result<(), SendFailure> {
    by_status(answer)?;
    // Slack says "ok"; services with the same interface answer an empty body or JSON.
    let refusals =
        ["invalid_payload", "invalid_token", "no_service", "channel_not_found", "action_prohibited"];
    match answer.body.trim() {
        said if refusals.contains(&said) => {
            Err(SendFailure::last(format!("the receiver refused: {}", excerpt(said))))
        }
        _ => Ok(()),
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
    fn body_has_fallback_colour_blocks_and_button() {
        let mentions = Mentions { users: vec!["U1".into()], all: true, ..Mentions::default() };
        let url = "https://hooks.slack.com/services/T0/B0/hunter2";
        let of = |n| body(&request(&target(url), &mentions, &Text::of(&n, Language::English)));
        let firing = of(notification());
        assert_eq!(firing["text"], "<@U1> <!channel> [FIRING] mail: backlog · 1,204 waiting");
        let attachment = &firing["attachments"][0];
        assert_eq!(
            (attachment["color"].as_str(), attachment["blocks"].as_array().unwrap().len()),
            (Some("#e07b00"), 4)
        );
        assert_eq!(attachment["blocks"][0]["text"]["text"], "[FIRING] mail: backlog · 1,204 waiting");
        assert!(
            attachment["blocks"][1]["text"]["text"].as_str().unwrap().contains("waiting &gt; 1000 holds")
        );
        assert_eq!(attachment["blocks"][3]["elements"][0]["url"], "https://queue.example.com/channels/mail");
        assert_eq!(of(resolved())["text"], "[RESOLVED] mail: backlog · after 12 min");
    }

    #[test]
    fn text_of_a_rule_makes_no_mention() {
        let mut hostile = notification();
        hostile.alerts[0].summary = Some("<!channel> <@U2> @here".into());
        let url = "https://hooks.slack.com/services/T0/B0/hunter2";
        let body = request(&target(url), &Mentions::default(), &Text::of(&hostile, Language::English)).body;
        assert!(!body.contains("<!") && !body.contains("<@") && body.contains("&lt;!channel&gt;"), "{body}");
    }

    #[test]
    fn status_and_known_refusals_decide() {
        assert_eq!(verdict(&answer(200, "ok")), Ok(()));
        assert_eq!(verdict(&answer(200, "")), Ok(()));
        assert!(verdict(&answer(200, "no_service")).is_err());
        assert!(verdict(&answer(404, "no_team")).unwrap_err().message.contains("404 Not Found: no_team"));
    }
}
