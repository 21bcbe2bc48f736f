//! Sanitises text that leaves this program for a log or a terminal: no character of it may move the cursor, change colours,
//! hide or reorder other text.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` on one line, with control characters, escape sequences and invisible direction marks escaped.
///
/// Every string from a job, a producer, a worker or a file passes through this function before it is printed or logged.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe)
}

/// As [`line`], but keeps tabs: programs indent their output with them.
pub(crate) fn output_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\t' && is_unsafe(c))
}

/// JSON text with unsafe characters written as equivalent `\u` escapes. Outside of strings, JSON has no unsafe characters
/// except white space.
pub(crate) fn json_text(text: &str) -> Cow<'_, str> {
    let is_replaced = |c: char| is_unsafe(c) && !matches!(c, '\n' | '\r' | '\t');
    if !text.contains(is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(shown, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Whether a character is a control character, or a format character that reorders or hides the text around it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(line("ä 漢 ok"), "ä 漢 ok");
        assert_eq!(line("\x1b[31mred\x07"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(line("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(line("x\u{202e}gpj.exe\u{9b}2J"), "x\\u{202e}gpj.exe\\u{9b}2J");
        assert_eq!(output_line("a\tb\rc\u{200b}d\0"), "a\tb\\rc\\u{200b}d\\u{0}");
    }

    #[test]
    fn sanitized_json_keeps_its_meaning() {
        let text = "a\x1b\u{202e}\u{9b}\u{e0001}ä";
        let written = serde_json::to_string(text).unwrap();
        let shown = json_text(&written);
        assert!(shown.chars().all(|c| !is_unsafe(c)), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}
