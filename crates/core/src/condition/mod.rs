//! Conditions over the values of a channel, such as `waiting > 1000 and rate_out == 0`: the language of alert rules.
//!
//! `tokens` splits the text into words, `parser` builds the tree of `expression` and checks its `units`, `evaluation` computes the
//! value. `fields` lists the values that a condition can name.
//!
//! ```text
//! or     = and { ("or" | "||") and }
//! and    = not { ("and" | "&&") not }
//! not    = ("not" | "!") not | compare
//! compare = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//! sum    = product { ("+" | "-") product }
//! product = sign { ("*" | "/") sign }
//! sign   = "-" sign | atom
//! atom   = number | "true" | "false" | field | function "(" field "," duration ")" | "(" or ")"
//! ```

mod evaluation;
mod expression;
mod fields;
mod parser;
#[cfg(test)]
mod tests;
mod tokens;
mod units;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

pub use evaluation::Values;
pub use fields::{Across, Field};
pub use units::Unit;

use expression::Logic;

/// Most bytes of a condition.
const MAX_BYTES: usize = 1024;
/// Most words and symbols.
const MAX_PARTS: usize = 128;
/// Most brackets, negations and signs inside each other.
const MAX_DEPTH: usize = 16;
/// Lengths of a window.
const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(3600);

/// A condition whose fields and units have been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    tree: Logic,
}

/// The seconds of a duration as conditions write it, such as `60s` or `1h30m`; `None` for another text.
#[must_use]
pub fn seconds_of(text: &str) -> Option<f64> {
    match tokens::tokens(text).ok()?.as_slice() {
        [tokens::Token { kind: tokens::TokenKind::Literal(seconds, Unit::Duration), .. }] => Some(*seconds),
        _ => None,
    }
}

/// The reason why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {message}")]
pub struct ConditionError {
    /// The column of the mistake in characters, from 1.
    pub column: usize,
    /// The mistake and its remedy.
    pub message: String,
}

impl Condition {
    /// The value: `None` while it cannot be known, because a field that decides is unknown.
    #[must_use]
    pub fn evaluate(&self, values: &impl Values) -> Option<bool> {
        evaluation::logic(&self.tree, values)
    }

    /// The fields that the condition names.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<Field> {
        let mut fields = BTreeSet::new();
        self.tree.fields(&mut |field| {
            fields.insert(field);
        });
        fields
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        Ok(Self { text: text.to_owned(), tree: parser::parse(text)? })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
