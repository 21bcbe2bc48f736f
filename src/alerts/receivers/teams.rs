//! Workflows of Microsoft Teams: an adaptive card.

use serde_json::{Value as Json, json};

use super::super::text::{Text, escape};
use super::request::HttpRequest;
use crate::config::alerts::HttpTarget;

/// Bytes of one block of text; a message may have 28 KiB.
const MAX_BLOCK: usize = 2_000;

pub(super) fn request(target: &HttpTarget, text: &Text) -> HttpRequest {
    let colour = if text.severity.is_some() { "attention" } else { "good" };
    let block =
        |text: &str| json!({ "type": "TextBlock", "text": escape::truncated(text, MAX_BLOCK), "wrap": true });
    let mut blocks: Vec<Json> = vec![json!({
        "type": "TextBlock",
        "text": escape::common_markdown(&text.title),
        "weight": "Bolder",
        "size": "Medium",
        "wrap": true,
        "style": "heading",
        "color": colour,
    })];
    for alert in &text.alerts {
        blocks.push(block(&format!("**{}**", escape::common_markdown(&alert.heading))));
        blocks.push(block(&escape::common_markdown(&alert.summary)));
        let fact = |(label, value): &(String, String)| json!({ "title": label, "value": escape::common_markdown(value) });
        blocks.push(json!({ "type": "FactSet", "facts": alert.facts.iter().map(fact).collect::<Vec<_>>() }));
        blocks.extend(alert.runbook.as_deref().map(block));
    }
    if !text.more.is_empty() {
        blocks.push(block(&text.more));
    }
    let commands: Vec<_> = text.commands.iter().map(|command| escape::common_markdown(command)).collect();
    blocks.push(block(&format!("{}:\n\n{}", text.commands_label, commands.join("\n\n"))));
    let link = text.link.as_ref();
    let actions: Vec<_> = link
        .map(|(label, url)| json!({ "type": "Action.OpenUrl", "title": label, "url": url }))
        .into_iter()
        .collect();
    let body = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.2",
                "body": blocks,
                "actions": actions,
                "msteams": { "width": "full" },
            },
        }],
    });
    HttpRequest::post(target.url.uri().to_string(), &body)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{body, target};
    use super::*;
    use crate::config::alerts::Language;
    use crate::engine::alerts::sample::{notification, resolved};

    #[test]
    fn card_has_heading_facts_and_link() {
        let of = |n| {
            body(&request(&target("https://prod.example.com/w/hunter2"), &Text::of(&n, Language::English)))
        };
        let firing = of(notification());
        let attachment = &firing["attachments"][0];
        assert_eq!(attachment["contentType"], "application/vnd.microsoft.card.adaptive");
        let content = &attachment["content"];
        assert_eq!((&content["type"], &content["version"]), (&json!("AdaptiveCard"), &json!("1.2")));
        assert_eq!(content["body"][0]["color"], "attention");
        assert_eq!(
            content["body"][3]["facts"][0],
            json!({ "title": "Why", "value": "waiting \\> 1000 holds" })
        );
        assert_eq!(content["actions"][0]["url"], "https://queue.example.com/channels/mail");
        assert_eq!(of(resolved())["attachments"][0]["content"]["body"][0]["color"], "good");
    }
}
