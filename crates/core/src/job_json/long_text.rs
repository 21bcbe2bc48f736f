//! Texts that are longer than any job: refused, or freed of the white space that makes them so long, without a copy of a long part.
//!
//! A producer may send a text of many megabytes. Its name, its keys and its values are measured where they are, so that a refusal takes
//! no memory beside the text.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{JobJsonError, KEYS, MAX_HEADERS_TEXT, cut_key, headers_too_long, place, wrong};
use crate::job::{
    MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, NewJobError, PayloadError, depth, mend_surrogates, truncated,
};

/// Longest text that is read as it is: about twice the longest job.
pub const LONG_TEXT: usize = 2 * MAX_PAYLOAD_BYTES;
/// Longest text of a key that can be one of a job, as JSON.
const MAX_KEY_TEXT: usize = 512;
/// Longest text of a value that is neither payload nor headers: a unique key whose characters are all escaped.
const MAX_VALUE_TEXT: usize = 2 << 10;
/// Longest shown part of a wrong job name.
const MAX_NAME_SHOWN: usize = 160;

/// Whether arrays and objects are nested deeper in a text than in any valid job; `outer` levels are around the job.
#[must_use]
pub fn is_too_deep(text: &str, outer: usize) -> bool {
    depth(text) > MAX_PAYLOAD_DEPTH + 1 + outer
}

/// The job of a long text without white space between its keys.
pub(super) fn shortened(text: &str) -> Result<String, JobJsonError> {
    if !text.starts_with('{') {
        return Err(JobJsonError::NotAnObject(format!("the text has {} bytes", text.len())));
    }
    if is_too_deep(text, 0) {
        return Err(JobJsonError::Payload(PayloadError::TooDeep));
    }
    let mut entries = Entries::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_map(&mut entries).and_then(|()| reader.end());
    if let Some(mistake) = entries.mistake {
        return Err(mistake);
    }
    read.map_err(|error| JobJsonError::NotJson(place(&error)))?;
    Ok(format!("{{{}}}", entries.kept.join(",")))
}

/// The entries of an object, up to the first mistake.
#[derive(Default)]
struct Entries {
    seen: Vec<&'static str>,
    kept: Vec<String>,
    mistake: Option<JobJsonError>,
}

impl Entries {
    fn add(&mut self, key: &RawValue, value: &RawValue) -> Result<(), JobJsonError> {
        let known = known_key(key.get())?;
        if self.seen.contains(&known) {
            return Err(JobJsonError::Twice(known.to_owned()));
        }
        check_length(known, value.get())?;
        self.seen.push(known);
        self.kept.push(format!("\"{known}\":{}", value.get()));
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Entries {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some((key, value)) = object.next_entry::<&RawValue, &RawValue>()? {
            if let Err(mistake) = self.add(key, value) {
                self.mistake = Some(mistake);
                return Err(A::Error::custom("a mistake in a job"));
            }
        }
        Ok(())
    }
}

/// The key that this text of JSON means.
fn known_key(text: &str) -> Result<&'static str, JobJsonError> {
    let unknown = |key: &str| JobJsonError::UnknownKey { key: cut_key(key) };
    if text.len() > MAX_KEY_TEXT {
        return Err(unknown(truncated(&text[1..], MAX_KEY_TEXT)));
    }
    let key: String = serde_json::from_str(&mend_surrogates(text.to_owned()))
        .map_err(|error| JobJsonError::NotJson(place(&error)))?;
    KEYS.into_iter().find(|known| *known == key).ok_or_else(|| unknown(&key))
}

fn check_length(key: &'static str, value: &str) -> Result<(), JobJsonError> {
    let bytes = value.len();
    let shown = || truncated(value.trim_start_matches('"'), MAX_NAME_SHOWN).to_owned();
    match key {
        "payload" if bytes > MAX_PAYLOAD_BYTES => {
            Err(JobJsonError::Payload(PayloadError::TooLarge { bytes }))
        }
        "headers" if bytes > MAX_HEADERS_TEXT => Err(headers_too_long()),
        "payload" | "headers" => Ok(()),
        _ if bytes <= MAX_VALUE_TEXT => Ok(()),
        "job" => Err(JobJsonError::Rule { key, rule: NewJobError::Name(shown()) }),
        "unique" => Err(JobJsonError::Rule { key, rule: NewJobError::UniqueKey(bytes) }),
        _ => Err(wrong(key, format!("the value has {bytes} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PushDefaults, parse};
    use super::*;
    use crate::job::{NewJob, PushOptions};

    const LONG: usize = 3 * MAX_PAYLOAD_BYTES;

    fn parsed(text: &str) -> Result<NewJob, JobJsonError> {
        assert!(text.len() > LONG_TEXT);
        parse(text, &PushDefaults { job: None, options: &PushOptions::new() })
    }

    #[test]
    fn white_space_may_be_long() {
        let space = " ".repeat(LONG);
        let text = format!(
            r#"{{{space}"\u006aob" :{space}"a", "payload": ["\ud83d", 1], "headers": {{"b":"c"}} }}"#
        );
        let job = parsed(&text).unwrap();
        assert_eq!((job.meta.job.as_str(), job.payload.as_str()), ("a", r#"["\ufffd", 1]"#));
        assert_eq!(job.meta.headers["b"], "c");
    }

    #[test]
    fn long_part_is_named_by_a_short_error() {
        let long = "x".repeat(LONG);
        let escaped = "\\u0041".repeat(LONG / 6 + 1);
        for (text, key, says) in [
            (format!(r#"{{"job":"{long}"}}"#), Some("job"), "the job name \"xxx"),
            (format!(r#"{{"job":"{escaped}"}}"#), Some("job"), "the job name"),
            (format!(r#"{{"job":"a","unique":"{long}"}}"#), Some("unique"), "1 to 256 are allowed"),
            (format!(r#"{{"job":"a","delay":"{long}"}}"#), Some("delay"), "the value has"),
            (format!(r#"{{"job":"a","max_attempts":"{long}"}}"#), Some("max_attempts"), "the value has"),
            (format!(r#"{{"job":"a","payload":"{escaped}"}}"#), Some("payload"), "at most 1048576"),
            (format!(r#"{{"job":"a","headers":{{"b":"{long}"}}}}"#), Some("headers"), "at most"),
            (format!(r#"{{"job":"a","job":"b","payload":"{long}"}}"#), Some("job"), "given twice"),
            (format!(r#"{{"job":"a","payload":"{long}"#), None, "not valid JSON"),
            (format!("\"{long}\""), None, "not an object"),
            ("[".repeat(LONG), None, "not an object"),
            (format!(r#"{{"job":"a","payload":{}"#, "[".repeat(LONG)), Some("payload"), "nested deeper"),
        ] {
            let error = parsed(&text).unwrap_err();
            assert_eq!(error.key(), key, "{error}");
            let error = error.to_string();
            assert!(error.contains(says) && error.len() < 1000, "{error}");
        }
        for key in [&long, &escaped] {
            let error = parsed(&format!(r#"{{"{key}":1}}"#)).unwrap_err();
            assert!(error.key().is_some_and(|shown| shown.chars().count() == 64), "{error}");
            assert!(error.to_string().len() < 1000 && error.to_string().contains("is no key of a job"));
        }
    }
}
