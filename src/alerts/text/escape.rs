//! Keeps text from being read as markup or as a mention by the services that get it.

use crate::sanitize;

/// Text on one line without control characters and characters that hide or reorder others.
pub(crate) fn line(text: &str) -> String {
    let spaced = text.replace(['\r', '\n', '\t'], " ");
    sanitize::line(&spaced).into_owned()
}

/// For Markdown of DingTalk, WeCom and Feishu, where `<at>` and `<@` mention people.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // A mention needs the sign as it is; the full-width ones look the same and mean nothing.
            '<' => escaped.push('＜'),
            '@' => escaped.push('＠'),
            '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '(' | ')' | '#' | '>' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

/// For text messages of the bots that read `@name` in them.
pub(crate) fn without_mentions(text: &str) -> String {
    text.replace('@', "＠")
}

/// For Slack, where `<!channel>` and `<@U1>` mention people.
pub(crate) fn slack(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// For Markdown of Discord and of Teams, where mentions are also switched off in the request.
pub(crate) fn common_markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_~[]()#>|<".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
        if c == '@' {
            escaped.push('\u{200b}');
        }
    }
    escaped
}

/// For HTML of mails.
pub(crate) fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The first bytes of a text, at a boundary of characters, with a mark where it was cut.
pub(crate) fn truncated(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut cut = text[..text.floor_char_boundary(max.saturating_sub('…'.len_utf8()))].to_owned();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_and_marks_lose_their_meaning() {
        let hostile = "<at user_id=\"all\"></at> <@all> <!channel> @all *b* [x](http://y) `c` & \u{202e}";
        assert!(!markdown(hostile).contains(['<', '@']) && markdown(hostile).contains("\\[x\\]\\(http"));
        assert!(!slack(hostile).contains(['<', '>']) && slack(hostile).contains("&lt;!channel&gt;"));
        assert!(!without_mentions(hostile).contains('@'));
        assert!(
            common_markdown(hostile).contains("@\u{200b}all")
                && common_markdown(hostile).contains("\\<\\@".replace("\\@", "@").as_str())
        );
        assert!(!html("<b a=\"c\">&").contains(['<', '>', '"']));
        assert_eq!(line("a\r\nb\u{1b}[1m"), "a  b\\u{1b}[1m");
        assert_eq!(truncated("äöü", 6), "äöü");
        assert_eq!(truncated("äöüß", 6), "ä…");
    }
}
