//! The events of a second, each made once for all streams of the same page and language.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;

use super::parts::Language;

/// The text of an event by page and language, for the last picture.
#[derive(Debug, Default)]
pub(super) struct Ticks(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    /// The number of the picture.
    picture: u64,
    texts: HashMap<(String, &'static str), Arc<str>>,
}

impl Ticks {
    /// The text for a page in a language, made by `make` unless it is made already for this picture.
    pub(super) fn text(
        &self,
        picture: u64,
        about: &str,
        language: Language,
        make: impl FnOnce() -> String,
    ) -> Arc<str> {
        let mut made = lock(&self.0);
        if made.picture != picture {
            *made = Made { picture, texts: HashMap::new() };
        }
        let text = made.texts.entry((about.to_owned(), language.tag()));
        Arc::clone(text.or_insert_with(|| make().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_made_once_per_picture_page_and_language() {
        let (ticks, mut made) = (Ticks::default(), 0);
        for (picture, about, language) in [
            (1, "*", Language::English),
            (1, "*", Language::English),
            (1, "*", Language::SimplifiedChinese),
            (1, "mail", Language::English),
            (2, "*", Language::English),
            (2, "*", Language::English),
        ] {
            ticks.text(picture, about, language, || {
                made += 1;
                String::new()
            });
        }
        assert_eq!(made, 4);
    }
}
