//! The words of a condition.

use super::ConditionError;
use super::units::Unit;

/// A word, with the column of its first character.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) column: usize,
    pub(super) kind: TokenKind<'t>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TokenKind<'t> {
    /// A number in its base unit: seconds, bytes, a share.
    Literal(f64, Unit),
    /// A field, a function, `and`, `or`, `not`, `true` or `false`.
    Word(&'t str),
    /// An operator or a bracket.
    Symbol(&'static str),
}

/// Longest first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 18] =
    ["<=", ">=", "==", "!=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "(", ")", ",", "&", "|"];

const DURATIONS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

const BYTES: [(&str, f64); 9] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// Splits a condition into words.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ConditionError> {
    let mut reader = Reader { text, rest: text };
    let mut tokens = Vec::new();
    loop {
        reader.rest = reader.rest.trim_start();
        let Some(first) = reader.rest.chars().next() else { return Ok(tokens) };
        let column = reader.column();
        let kind = match first {
            '0'..='9' => reader.literal()?,
            'a'..='z' | 'A'..='Z' | '_' => {
                TokenKind::Word(reader.take(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.'))
            }
            _ => reader.symbol()?,
        };
        tokens.push(Token { column, kind });
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Reader<'t> {
    /// The column of the next character, from 1.
    fn column(&self) -> usize {
        self.text[..self.text.len() - self.rest.len()].chars().count() + 1
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn symbol(&mut self) -> Result<TokenKind<'t>, ConditionError> {
        let column = self.column();
        let wrong = |message: String| ConditionError { column, message };
        let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol)) else {
            let found = self.rest.chars().next().unwrap_or_default();
            return Err(wrong(match found {
                '=' => "write == to compare".to_owned(),
                found => format!("\"{}\" has no meaning in a condition", found.escape_debug()),
            }));
        };
        if let "&" | "|" = symbol {
            return Err(wrong(format!("write {symbol}{symbol}, or the words \"and\" and \"or\"")));
        }
        self.rest = &self.rest[symbol.len()..];
        Ok(TokenKind::Symbol(symbol))
    }

    /// A number with its unit; a duration may have several parts.
    fn literal(&mut self) -> Result<TokenKind<'t>, ConditionError> {
        let column = self.column();
        let wrong = |message: String| ConditionError { column, message };
        let (mut sum, mut parts) = (0.0, 0);
        loop {
            let digits = self.take(|c| c.is_ascii_digit() || c == '_' || c == '.');
            let number: f64 = digits
                .replace('_', "")
                .parse()
                .map_err(|_| wrong(format!("\"{digits}\" is no number: write 1000, 1_000 or 0.05")))?;
            let unit = match self.rest.strip_prefix('%') {
                Some(rest) => {
                    self.rest = rest;
                    "%"
                }
                None => self.take(|c| c.is_ascii_alphabetic()),
            };
            let duration = DURATIONS.into_iter().find(|(name, _)| *name == unit);
            match (unit, duration) {
                (_, Some((_, seconds))) => sum += number * seconds,
                ("", None) if parts == 0 => return Ok(TokenKind::Literal(number, Unit::Number)),
                ("%", None) if parts == 0 => return Ok(TokenKind::Literal(number / 100.0, Unit::Share)),
                (_, None) => {
                    let bytes = BYTES.into_iter().find(|(name, _)| *name == unit && parts == 0);
                    let Some((_, bytes)) = bytes else {
                        let units = "durations have ms, s, m, h or d, shares %, bytes B, KiB, MiB, GiB, TiB, kB, MB, GB or TB";
                        return Err(wrong(format!("\"{digits}{unit}\" has no known unit: {units}")));
                    };
                    return Ok(TokenKind::Literal(number * bytes, Unit::Bytes));
                }
            }
            parts += 1;
            if !self.rest.starts_with(|c: char| c.is_ascii_digit()) {
                return Ok(TokenKind::Literal(sum, Unit::Duration));
            }
        }
    }
}
