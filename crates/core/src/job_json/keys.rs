//! The keys of the JSON form of a job, and mistakes in them.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::JobJsonError;
use crate::suggest::nearest;

/// Every key, in the order of the documentation.
pub(super) const KEYS: [&str; 13] = [
    "job",
    "payload",
    "delay",
    "at",
    "max_attempts",
    "retry_until",
    "timeout",
    "unique",
    "unique_until",
    "unique_for",
    "priority",
    "expires",
    "headers",
];
/// Keys of other queues and of the command line, with the key that they mean here.
const OTHER_NAMES: [(&str, &str); 4] =
    [("data", "payload"), ("name", "job"), ("attempts", "max_attempts"), ("tries", "max_attempts")];
/// Longest shown part of an unknown key.
const MAX_KEY_CHARS: usize = 64;
/// Shortest beginning of a key that stands for it.
const MIN_BEGINNING: usize = 3;

/// The first key of an object that is unknown, or else given twice. `None` for a text that is no object.
pub(super) fn mistake(text: &str) -> Option<JobJsonError> {
    let Mistakes { unknown, twice } = serde_json::from_str(text).ok()?;
    let unknown = unknown.map(|key| JobJsonError::UnknownKey { key });
    unknown.or(twice.map(|key| JobJsonError::Twice(key.to_owned())))
}

/// The shown part of an unknown key.
pub(super) fn cut_key(key: &str) -> String {
    key.chars().take(MAX_KEY_CHARS).collect()
}

/// The remedy for an unknown key.
pub(super) fn remedy(key: &str) -> String {
    match meant(key) {
        Some(key) => format!("did you mean \"{key}\"?"),
        None => format!("the keys are {}", KEYS.join(", ")),
    }
}

fn meant(key: &str) -> Option<&'static str> {
    let other_name = OTHER_NAMES.into_iter().find(|(name, _)| *name == key).map(|(_, meant)| meant);
    let beginning = || {
        let mut longer =
            KEYS.into_iter().filter(|known| key.len() >= MIN_BEGINNING && known.starts_with(key));
        longer.next().filter(|_| longer.next().is_none())
    };
    other_name.or_else(|| nearest(key, KEYS)).or_else(beginning)
}

/// Mistakes in the keys of an object. Keys are not collected: a text of a few megabytes may have very many.
#[derive(Default)]
struct Mistakes {
    /// The first unknown key, cut.
    unknown: Option<String>,
    /// The first known key that is given twice.
    twice: Option<&'static str>,
}

impl<'de> Deserialize<'de> for Mistakes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Mistakes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Mistakes, A::Error> {
        let (mut found, mut seen) = (Mistakes::default(), BTreeSet::new());
        while let Some((key, IgnoredAny)) = object.next_entry::<String, _>()? {
            match KEYS.into_iter().find(|known| *known == key) {
                None if found.unknown.is_none() => {
                    found.unknown = Some(cut_key(&key));
                }
                Some(known) if !seen.insert(known) && found.twice.is_none() => found.twice = Some(known),
                None | Some(_) => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::JobObject;
    use super::*;

    #[test]
    fn keys_are_those_of_the_object() {
        let key = Some(1);
        let object = JobObject {
            job: key,
            payload: key,
            delay: key,
            at: key,
            max_attempts: key,
            retry_until: key,
            timeout: key,
            unique: key,
            unique_until: key,
            unique_for: key,
            priority: key,
            expires: key,
            headers: key,
        };
        let text = serde_json::to_string(&object).unwrap();
        assert!(mistake(&text).is_none());
        assert_eq!(text.matches(':').count(), KEYS.len(), "{text}");
    }

    #[test]
    fn known_keys_are_no_mistake() {
        for key in KEYS {
            assert!(mistake(&format!("{{\"{key}\":1}}")).is_none(), "{key}");
        }
        assert!(mistake("[1]").is_none());
    }

    #[test]
    fn long_unknown_key_is_cut() {
        let found = mistake(&format!("{{\"{}\":1}}", "é".repeat(1000))).unwrap();
        assert_eq!(found.key().unwrap().chars().count(), MAX_KEY_CHARS);
    }

    #[test]
    fn suggestion_is_nearest_or_begins_alike() {
        for (key, expected) in [
            ("prio", Some("priority")),
            ("uniqe", Some("unique")),
            ("name", Some("job")),
            ("unique_", Some("unique")),
            ("pa", None),
            ("colour", None),
        ] {
            assert_eq!(meant(key), expected, "{key}");
        }
    }
}
