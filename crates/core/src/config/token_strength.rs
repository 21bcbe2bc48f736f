//! Tokens that may be guessed.

use std::collections::BTreeSet;

/// Shortest token without a warning, in bytes.
const GOOD_TOKEN: usize = 16;
/// Fewest different characters of a token without a warning.
const DISTINCT_CHARACTERS: usize = 6;

/// The reason why a token is easy to guess.
pub(super) fn weakness(token: &str) -> Option<String> {
    if token.len() < GOOD_TOKEN {
        return Some(format!("has fewer than {GOOD_TOKEN} characters"));
    }
    let distinct = token.bytes().collect::<BTreeSet<_>>().len();
    (distinct < DISTINCT_CHARACTERS).then(|| format!("has only {distinct} different characters"))
}
