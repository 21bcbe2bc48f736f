//! The columns that a text takes on a terminal: measured, wrapped between words, cut.

use unicode_width::UnicodeWidthChar;

/// Part of the width of a line after which no continuation line is indented.
const MAX_HANG_SHARE: usize = 3;
/// Shows a character before it as a picture, which takes one more column.
const PICTURE_SELECTOR: char = '\u{fe0f}';

/// The columns of a text without its colours.
pub(super) fn columns(text: &str) -> usize {
    pieces(text).map(|(_, columns)| columns).sum()
}

/// Characters and escape sequences of a text, each with its columns.
fn pieces(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_escape = rest.starts_with("\x1b[");
        let bytes = match rest.find(|c: char| c.is_ascii_alphabetic()).filter(|_| is_escape) {
            Some(end) => end + 1,
            None => first.len_utf8(),
        };
        let columns = match first {
            '\x1b' => 0,
            PICTURE_SELECTOR => 1,
            other => other.width().unwrap_or(0),
        };
        let (piece, behind) = rest.split_at(bytes);
        rest = behind;
        Some((piece, columns))
    })
}

/// The start of a text that takes at most `max` columns, cut with an ellipsis.
pub(super) fn cut(text: &str, max: usize) -> String {
    if columns(text) <= max {
        return text.to_owned();
    }
    let (mut cut, mut used) = (String::new(), 1);
    for (piece, columns) in pieces(text) {
        used += columns;
        if used > max {
            break;
        }
        cut.push_str(piece);
    }
    cut + "…"
}

/// A text whose lines take at most `width` columns. A line breaks between words, and within a word only if no line holds the whole
/// word. The rest of a line is indented like its beginning, or like the value behind its label.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, line_break) = match line.strip_suffix('\n') {
            Some(content) => (content, "\n"),
            None => (line, ""),
        };
        shown.push_str(&wrapped_line(content, width).join("\n"));
        shown.push_str(line_break);
    }
    shown
}

/// The lines of [`wrapped`] for a text without line breaks.
pub(super) fn wrapped_line(line: &str, width: usize) -> Vec<String> {
    if columns(line) <= width {
        return vec![line.to_owned()];
    }
    let indent = leading_spaces(line);
    let mut lines = LineBreaker {
        width,
        hang: hang(line, width).min(width / MAX_HANG_SHARE),
        lines: Vec::new(),
        open: " ".repeat(indent),
        used: indent,
    };
    for (n, word) in line[indent..].split(' ').enumerate() {
        lines.push(word, n.min(1));
    }
    lines.end()
}

/// The lines of a text while it is broken.
struct LineBreaker {
    width: usize,
    /// Columns before the text of a continuation line.
    hang: usize,
    lines: Vec<String>,
    open: String,
    /// Columns of the open line.
    used: usize,
}

impl LineBreaker {
    fn push(&mut self, word: &str, gap: usize) {
        let size = columns(word);
        let is_begun = self.used > self.hang;
        let room = self.width.saturating_sub(self.used + gap);
        // A word that has to break anyway begins on a line with room.
        let breaks_anyway = size > self.width - self.hang && room >= self.width / 2;
        if size > room && is_begun && !breaks_anyway {
            self.next_line();
        } else {
            self.open.push_str(&" ".repeat(gap));
            self.used += gap;
        }
        for (piece, columns) in pieces(word) {
            if self.used + columns > self.width {
                self.next_line();
            }
            self.open.push_str(piece);
            self.used += columns;
        }
    }

    fn next_line(&mut self) {
        let line = std::mem::replace(&mut self.open, " ".repeat(self.hang));
        self.lines.push(line.trim_end().to_owned());
        self.used = self.hang;
    }

    fn end(mut self) -> Vec<String> {
        self.next_line();
        self.lines
    }
}

/// Columns before the continuation of a line: those before the value that two spaces separate from its label, else those before
/// the text.
fn hang(line: &str, width: usize) -> usize {
    let indent = leading_spaces(line);
    let Some((label, value)) = line[indent..].split_once("  ") else { return indent };
    let before_value = indent + columns(label) + 2 + leading_spaces(value);
    if before_value <= width / MAX_HANG_SHARE { before_value } else { indent }
}

fn leading_spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three\nfour\n", 9), "one two\nthree\nfour\n");
        assert_eq!(wrapped("  one two three", 10), "  one two\n  three");
        assert_eq!(wrapped("short", 9), "short");
        assert_eq!(
            wrapped("job         send the mail to all of them", 36),
            "job         send the mail to all of\n            them"
        );
    }

    #[test]
    fn word_breaks_only_if_no_line_holds_it() {
        assert_eq!(wrapped("an abcdefgh ij", 8), "an\nabcdefgh\nij");
        assert_eq!(wrapped("an abcdefghijkl", 8), "an abcde\nfghijkl");
    }

    #[test]
    fn wide_characters_and_colours_are_measured() {
        assert_eq!((columns("日本"), columns("\x1b[31mab\x1b[0m"), columns("e\u{301}")), (4, 2, 1));
        assert_eq!(wrapped("日本日本日", 5), "日本\n日本\n日");
        assert_eq!(wrapped("\x1b[31mab cd\x1b[0m", 4), "\x1b[31mab\ncd\x1b[0m");
        assert_eq!(
            (cut("日本日本", 5), cut("abc", 3), cut("abcd", 3)),
            ("日本…".into(), "abc".into(), "ab…".into())
        );
    }
}
