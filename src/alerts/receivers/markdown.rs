//! The text of a message in the Markdown of the Chinese chat services.

use super::super::text::{Text, escape};

/// The title as a heading, and the lines below it.
pub(super) fn body(text: &Text) -> String {
    format!("### {}\n\n{}", escape::markdown(&text.title), lines_below_title(text))
}

/// As [`body`], with the colours of WeCom.
pub(super) fn coloured_body(text: &Text) -> String {
    let colour = if text.severity.is_some() { "warning" } else { "info" };
    format!(
        "<font color=\"{colour}\">**{}**</font>\n{}",
        escape::markdown(&text.title),
        lines_below_title(text)
    )
}

/// The alerts, the commands and the link.
pub(super) fn lines_below_title(text: &Text) -> String {
    let mut parts = Vec::new();
    for alert in &text.alerts {
        let mut lines =
            vec![format!("**{}**", escape::markdown(&alert.heading)), escape::markdown(&alert.summary)];
        let fact = |(label, value): &(String, String)| {
            format!("- {}: {}", escape::markdown(label), escape::markdown(value))
        };
        lines.extend(alert.facts.iter().map(fact));
        lines.extend(alert.runbook.as_deref().map(link));
        parts.push(lines.join("\n"));
    }
    if !text.more.is_empty() {
        parts.push(text.more.clone());
    }
    let commands = text.commands.iter().map(|command| format!("\n- {}", escape::markdown(command)));
    parts.push(format!("{}:{}", text.commands_label, commands.collect::<String>()));
    parts.extend(text.link.as_ref().map(|(label, url)| format!("[{label}]({})", url_text(url))));
    parts.join("\n\n")
}

/// A URL as a link that shows itself.
fn link(url: &str) -> String {
    let url = url_text(url);
    format!("[{url}]({url})")
}

/// A URL without the characters that would end the link.
pub(super) fn url_text(url: &str) -> String {
    url.replace(' ', "%20").replace('(', "%28").replace(')', "%29").replace(['[', ']', '<', '>'], "")
}
