//! Sanitises text of jobs for a terminal: no character of it may move the cursor, change colours or reorder other text.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Serialize;

/// `text` on one line, with control characters, escape sequences and invisible direction marks escaped.
///
/// Every string from a job, a producer or a file passes through this function before it is printed.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// As [`line`], but keeps line breaks.
pub(crate) fn lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// A line of at most `max` characters, cut with an ellipsis.
pub(crate) fn truncated(text: &str, max: usize) -> String {
    let line = line(text.trim());
    match line.char_indices().nth(max) {
        None => line.into_owned(),
        Some(_) => {
            let mut cut: String = line.chars().take(max.saturating_sub(1)).collect();
            cut.push('…');
            cut
        }
    }
}

/// JSON that is safe on a terminal: unsafe characters are written as equivalent `\u` escapes.
pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("output of commands is plain data");
    json_text(&text)
}

/// As [`json`], for a text that is JSON already. Outside of strings, JSON has no unsafe characters except white space.
fn json_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) && !matches!(c, '\n' | '\r' | '\t') {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(shown, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Indents a JSON text. Numbers and the order of keys are preserved, which parsing and serialising would not guarantee. A
/// text that is not JSON is returned as it is, sanitised.
pub(crate) fn pretty(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return lines(text);
    }
    let (mut shown, mut depth, mut in_string, mut escaped) = (String::new(), 0usize, false, false);
    let tokens: Vec<char> = json_text(text).chars().collect();
    let next_token = |from: usize| tokens[from..].iter().copied().find(|c| !c.is_ascii_whitespace());
    let line_break = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.push_str(&"  ".repeat(depth));
    };
    let mut just_opened_and_closed = false;
    for (i, c) in tokens.iter().copied().enumerate() {
        if in_string {
            shown.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                shown.push(c);
            }
            '{' | '[' => {
                shown.push(c);
                just_opened_and_closed = matches!(next_token(i + 1), Some('}' | ']'));
                if !just_opened_and_closed {
                    depth += 1;
                    line_break(&mut shown, depth);
                }
            }
            '}' | ']' => {
                if !std::mem::take(&mut just_opened_and_closed) {
                    depth = depth.saturating_sub(1);
                    line_break(&mut shown, depth);
                }
                shown.push(c);
            }
            ',' => {
                shown.push(c);
                line_break(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => shown.push(c),
        }
    }
    shown
}

/// Whether a character is a control character, or a format character that reorders or hides the text around it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
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
        assert_eq!(lines("a\nb\x1b"), "a\nb\\u{1b}");
    }

    #[test]
    fn sanitized_json_keeps_its_meaning() {
        let text = "a\x1b\u{202e}\u{9b}\u{e0001}ä";
        let shown = json(&text);
        assert!(shown.chars().all(|c| !is_unsafe(c)), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn long_text_is_cut_to_one_line() {
        assert_eq!(truncated("  abc\n", 10), "abc");
        assert_eq!(truncated("abcdef", 4), "abc…");
        assert_eq!(truncated("ab\ncd", 10), "ab\\ncd");
    }

    #[test]
    fn pretty_json_keeps_numbers_and_order() {
        let text = r#"{"b":[1,{"c":"x,{\"y\\"}], "a":123456789012345678901234567890,"e":{ },"f":[]}"#;
        let expected = r#"{
  "b": [
    1,
    {
      "c": "x,{\"y\\"
    }
  ],
  "a": 123456789012345678901234567890,
  "e": {},
  "f": []
}"#;
        assert_eq!(pretty(text), expected);
        assert_eq!(pretty("null"), "null");
        assert_eq!(pretty("[[],[[]]]"), "[\n  [],\n  [\n    []\n  ]\n]");
        assert_eq!(pretty("not { json\x1b"), "not { json\\u{1b}");
    }
}
