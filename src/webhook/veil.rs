//! Takes secrets out of what a receiver said, which may repeat what it was sent.

/// Words shorter than this stand in too much that is no secret.
const SHORTEST: usize = 4;

/// The words to take out, longest first.
#[derive(Clone)]
pub(super) struct Veil(Vec<String>);

impl Veil {
    pub(super) fn over(mut words: Vec<String>) -> Self {
        words.retain(|word| word.len() >= SHORTEST);
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        Self(words)
    }

    pub(super) fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, word| text.replace(word.as_str(), "[hidden]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_words_go_first_and_short_ones_stay() {
        let veil = Veil::over(["abc", "Bearer hunter2", "hunter2"].map(str::to_owned).to_vec());
        assert_eq!(veil.apply("abc: \"Bearer hunter2\", hunter2."), "abc: \"[hidden]\", [hidden].");
    }
}
