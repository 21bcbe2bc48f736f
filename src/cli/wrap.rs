//! Text in lines that fit the terminal.

use console::measure_text_width;
use textwrap::{Options, WordSplitter};

/// Part of the width of a line up to which its continuation is indented.
const MAX_HANG_SHARE: usize = 3;
/// Shows a character before it as a picture, which takes one more column.
const PICTURE_SELECTOR: &str = "\u{fe0f}";
/// Takes one column, and is in no sanitised text.
const STAND_IN: &str = "\u{2028}";

/// A text whose lines take at most `width` columns. A line breaks between words, and within a word only if no line holds the whole
/// word. The rest of a line is indented like its beginning, or like the value behind its label.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| wrapped_line(line, width)).collect();
    lines.join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    if measure_text_width(line) <= width {
        return line.to_owned();
    }
    let indent = " ".repeat(hang(line, width));
    let options = Options::new(width).subsequent_indent(&indent).word_splitter(WordSplitter::NoHyphenation);
    // textwrap measures each character alone, the selector of a picture as nothing.
    let measurable = line.replace(PICTURE_SELECTOR, STAND_IN);
    textwrap::fill(&measurable, options).replace(STAND_IN, PICTURE_SELECTOR)
}

/// Columns before the continuation of a line: those before the value that two spaces separate from its label, else those before
/// the text.
fn hang(line: &str, width: usize) -> usize {
    let most = width / MAX_HANG_SHARE;
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    let before_value = text.split_once("  ").map(|(label, value)| {
        let gap = 2 + value.len() - value.trim_start_matches(' ').len();
        indent + measure_text_width(label) + gap
    });
    before_value.filter(|columns| *columns <= most).unwrap_or(indent.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three\nfour\n", 9), "one two\nthree\nfour\n");
        assert_eq!(wrapped("  one two three", 10), "  one two\n  three");
        assert_eq!(wrapped("short", 9), "short");
        assert_eq!(wrapped("add --page-after 17", 12), "add\n--page-after\n17");
        assert_eq!(
            wrapped("job         send the mail to all of them", 36),
            "job         send the mail to all of\n            them"
        );
    }

    #[test]
    fn word_breaks_only_if_no_line_holds_it() {
        assert_eq!(wrapped("an abcdefgh ij", 8), "an\nabcdefgh\nij");
        assert_eq!(wrapped("an abcdefghijkl", 8), "an\nabcdefgh\nijkl");
        assert_eq!(
            wrapped("job         abcdefghijklmnopqrstuvwxyz0123456789", 36),
            "job         abcdefghijklmnopqrstuvwx\n            yz0123456789"
        );
    }

    #[test]
    fn wide_characters_and_colours_are_measured() {
        assert_eq!(wrapped("日本日本日", 5), "日本\n日本\n日");
        assert_eq!(wrapped("⚠️ ⚠️ ⚠️", 6), "⚠️ ⚠️\n⚠️");
        assert_eq!(wrapped("\x1b[31mab cd\x1b[0m", 4), "\x1b[31mab\ncd\x1b[0m");
    }
}
