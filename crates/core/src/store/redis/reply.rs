//! Parses script replies. `None` means a reply of unexpected form.

use redis::Value;

use crate::job::{JobId, JobMeta, MAX_PAYLOAD_BYTES, truncated};
use crate::store::{JobState, JobView, Leased, driver_rules};

pub(super) fn int(value: Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

/// A count or a time; negative numbers, which no script returns intentionally, become zero.
pub(super) fn count(value: Value) -> Option<u64> {
    int(value).map(|number| u64::try_from(number).unwrap_or(0))
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    bytes(value).map(into_text)
}

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

pub(super) fn texts(value: Value) -> Option<Vec<String>> {
    list(value)?.into_iter().map(text).collect()
}

/// Exactly `N` values.
pub(super) fn fields<const N: usize>(value: Value) -> Option<[Value; N]> {
    list(value)?.try_into().ok()
}

/// Whether the reply is this word.
pub(super) fn is_word(value: &Value, word: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == word.as_bytes(),
        Value::SimpleString(text) => text == word,
        _ => false,
    }
}

/// A job id; `None` for a foreign entry.
///
/// Other spellings of a number, such as `007`, are foreign as well: a later call would name another entry.
pub(super) fn id(value: &Value) -> Option<JobId> {
    match value {
        Value::BulkString(bytes) => {
            let text = std::str::from_utf8(bytes).ok()?;
            text.parse::<JobId>().ok().filter(|id| id.to_string() == text)
        }
        Value::Int(number) => u64::try_from(*number).ok().map(JobId),
        _ => None,
    }
}

/// Entries of an owner's set.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Entries {
    /// Job ids in ascending order.
    pub(super) ids: Vec<JobId>,
    /// Entries of another program.
    pub(super) foreign: Vec<Vec<u8>>,
}

pub(super) fn entries(value: Value) -> Option<Entries> {
    let mut entries = Entries::default();
    for value in list(value)? {
        match id(&value) {
            Some(id) => entries.ids.push(id),
            None => entries.foreign.push(bytes(value)?),
        }
    }
    entries.ids.sort_unstable();
    Some(entries)
}

/// The score of a zset entry: whole microseconds, which some servers print as a float.
pub(super) fn score(value: Value) -> Option<u64> {
    let text = text(value)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scores are whole µs")]
    text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|float| float as u64))
}

/// A leased job, from `<meta>\n<payload>`.
pub(super) fn leased(id: JobId, record: Vec<u8>) -> Leased {
    let mut meta = into_text(record);
    let payload = match meta.find('\n') {
        Some(cut) => {
            let payload = meta.split_off(cut + 1);
            meta.truncate(cut);
            payload
        }
        None => std::mem::take(&mut meta),
    };
    driver_rules::leased(id, &meta, payload)
}

/// Leased jobs and foreign entries, from a list of ids and a list of records of the same length.
pub(super) fn jobs(ids: Value, records: Value) -> Option<(Vec<Leased>, Vec<Vec<u8>>)> {
    let (ids, records) = (list(ids)?, list(records)?);
    let (mut jobs, mut foreign) = (Vec::with_capacity(ids.len()), Vec::new());
    for (entry, record) in ids.into_iter().zip(records) {
        let record = bytes(record)?;
        match id(&entry) {
            Some(id) => jobs.push(leased(id, record)),
            None => foreign.push(bytes(entry)?),
        }
    }
    Some((jobs, foreign))
}

/// A job for display.
pub(super) fn listed(id: JobId, state: JobState, score: u64, record: Vec<u8>) -> JobView {
    let record = into_text(record);
    match record.split_once('\n') {
        Some((meta, payload)) => driver_rules::listed(id, state, score, meta, payload.to_owned()),
        // Without a newline there is no meta; the whole text is shown.
        None => JobView {
            payload: truncated(&record, MAX_PAYLOAD_BYTES).to_owned(),
            ..driver_rules::listed(id, state, score, "", String::new())
        },
    }
}

/// Metas; `None` for unreadable ones.
pub(super) fn metas(value: Value) -> Option<Vec<Option<JobMeta>>> {
    let meta = |value| Some(serde_json::from_slice(&bytes(value)?).ok());
    list(value)?.into_iter().map(meta).collect()
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn record_is_meta_and_payload_on_two_lines() {
        let Leased::Job(record) = leased(JobId(7), b"{\"job\":\"a\"}\n{\"x\":1}".to_vec()) else { panic!() };
        assert_eq!((record.meta.job.as_str(), record.payload.as_str()), ("a", "{\"x\":1}"));
    }

    #[test]
    fn non_record_is_malformed_and_kept_as_found() {
        for found in ["", "text", "text\nmore", "{\"job\":\"a\"}\n{", "{\"job\":7}\n1"] {
            assert!(matches!(leased(JobId(7), found.into()), Leased::Malformed { .. }), "{found}");
        }
        assert_eq!(listed(JobId(7), JobState::Failed, 9, "text".into()).payload, "text");
        assert_eq!(listed(JobId(7), JobState::Failed, 9, "text\nmore".into()).payload, "text\nmore");
        let half = listed(JobId(7), JobState::Failed, 9, "{\"job\":\"a\"}\n{".into());
        assert_eq!((half.meta.job.as_str(), half.payload.as_str(), half.at), ("a", "{", Timestamp(9)));
        assert!(matches!(leased(JobId(7), vec![0xff, b'\n', 0xfe]), Leased::Malformed { .. }));
    }

    #[test]
    fn foreign_entries_are_separated_from_ids() {
        let ids = ["12", "x", "3", "007", "+7", " 7", "-7", "", "18446744073709551616"].map(bulk);
        let Entries { ids, foreign } = entries(Value::Array(ids.to_vec())).unwrap();
        assert_eq!((ids, foreign.len()), (vec![JobId(3), JobId(12)], 7));
    }

    #[test]
    fn scores_are_exact_in_both_spellings() {
        assert_eq!(score(bulk("1790000000000001")), Some(1_790_000_000_000_001));
        assert_eq!(score(bulk("1.790000000000001e+15")), Some(1_790_000_000_000_001));
        assert_eq!(score(bulk("x")), None);
    }

    #[test]
    fn malformed_reply_is_none() {
        assert_eq!(count(bulk("x")), None);
        assert_eq!(fields::<2>(Value::Array(vec![Value::Int(1)])), None);
        assert_eq!(texts(Value::Nil), None);
        assert_eq!(count(Value::Int(-3)), Some(0));
    }
}
