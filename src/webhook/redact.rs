//! Removes secrets from a receiver's response, which may repeat the request.

/// Shorter secrets are not removed: they match too much text that is no secret.
const MIN_SECRET_LENGTH: usize = 4;

/// The secrets to remove, longest first.
#[derive(Clone)]
pub(crate) struct Redactor(Vec<String>);

impl Redactor {
    pub(crate) fn new(mut words: Vec<String>) -> Self {
        words.retain(|word| word.len() >= MIN_SECRET_LENGTH);
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        Self(words)
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, word| text.replace(word.as_str(), "[hidden]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_secrets_are_redacted_first() {
        let redactor = Redactor::new(["abc", "Bearer hunter2", "hunter2"].map(str::to_owned).to_vec());
        assert_eq!(redactor.redact("abc: \"Bearer hunter2\", hunter2."), "abc: \"[hidden]\", [hidden].");
    }
}
