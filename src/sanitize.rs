//! Sanitises text that leaves this program for a log or a terminal: no character of it may move the cursor, change colours,
//! hide or reorder other text, or be invisible, so that two different texts look the same.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` on one line, with control characters, escape sequences, direction marks and invisible characters escaped.
///
/// Every string from a job, a producer, a worker or a file passes through this function before it is printed or logged.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe)
}

/// A line of at most `max` columns, cut with an ellipsis.
pub(crate) fn truncated(text: &str, max: usize) -> String {
    console::truncate_str(&line(text.trim()), max, "…").into_owned()
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

/// Whether a character is a control character, reorders or hides the text around it, or is drawn as nothing.
fn is_unsafe(c: char) -> bool {
    c.is_control() || is_direction_or_separator(c) || is_invisible(c)
}

/// Marks that change the writing direction, separators of lines and paragraphs, and annotations within a line.
fn is_direction_or_separator(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fff9}'..='\u{fffb}')
}

/// Unicode's default-ignorable characters (joiners, fillers, variation selectors, tags), the format controls of hieroglyphs,
/// shorthand and music, and symbols whose glyph is blank. White space is visible as a gap, so it stays.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{13430}'..='\u{1343f}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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
    fn invisible_characters_are_escaped() {
        // Fillers and blank letters, joiners, variation selectors, tags, format controls of rare scripts.
        for c in "\u{3164}\u{115f}\u{1160}\u{ffa0}\u{2800}\u{180e}\u{180b}\u{17b4}\u{34f}\u{200d}\u{2062}\u{fe0f}\u{fff0}\u{13430}\u{16fe4}\u{1bca0}\u{1d159}\u{1d173}\u{e0000}\u{e0061}\u{e007f}\u{e0100}\u{e0fff}"
            .chars()
        {
            let name = format!("mail{c}send");
            assert_eq!(line(&name), format!("mail{}send", c.escape_unicode()));
            assert_eq!(output_line(&name), line(&name));
            assert!(json_text(&name).is_ascii(), "{:x}", u32::from(c));
        }
        let visible = "ä 漢　字\u{a0}한글 ❤ 👍 é e\u{301} ـ ‐ ᠠ";
        assert_eq!(line(visible), visible);
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
