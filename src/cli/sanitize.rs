//! Sanitised text of jobs in the output of commands: cut, indented, as JSON.

use serde::Serialize;

use crate::sanitize::json_text;
pub(crate) use crate::sanitize::{line, truncated};

/// As [`line`], but keeps line breaks.
pub(crate) fn lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// JSON that is safe on a terminal: unsafe characters are written as equivalent `\u` escapes.
pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("output of commands is plain data");
    json_text(&text).into_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_breaks() {
        assert_eq!(lines("a\nb\x1b"), "a\nb\\u{1b}");
        assert_eq!(json(&"a\u{202e}"), "\"a\\u202e\"");
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
