//! The words of a snapshot.

use aint_queue_core::condition::Field;

use super::escape;
use super::format::{Formats, at};
use super::words::Words;
use crate::config::alerts::Language;
use crate::job::Timestamp;
use crate::snapshot::Snapshot;

/// The words of a snapshot, without markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::alerts) struct SnapshotText {
    /// The title, on one line.
    pub(in crate::engine::alerts) title: String,
    /// Labels and values.
    pub(in crate::engine::alerts) values: Vec<(String, String)>,
}

impl SnapshotText {
    /// The words of a snapshot in a language.
    pub(in crate::engine::alerts) fn of(snapshot: &Snapshot, language: Language) -> Self {
        let words = Words::of(language);
        let formats = Formats::new(&words);
        let measured = |(field, value)| words.measured(field, &formats.value(field, value));
        let [waiting, failed] =
            [Field::Waiting, Field::Failed].map(|field| Some((field, value(snapshot, field)?)));
        let counts: Vec<_> = [waiting, failed].into_iter().flatten().map(measured).collect();
        let row = |field: &Field| {
            let value = formats.value(*field, value(snapshot, *field)?);
            Some((words.field(*field).to_owned(), value))
        };
        let time = Timestamp(u64::try_from(snapshot.at.as_microsecond()).unwrap_or_default());
        let mut values: Vec<_> = FIELDS.iter().filter_map(row).collect();
        values.push((words.time.to_owned(), at(time)));
        Self { title: escape::line(&format!("{}: {}", snapshot.channel, counts.join(", "))), values }
    }

    /// The whole text.
    pub(in crate::engine::alerts) fn plain(&self) -> String {
        let rows = self.values.iter().map(|(label, value)| format!("\n{label}: {value}"));
        std::iter::once(self.title.clone()).chain(rows).collect()
    }
}

/// The values of a message, in their order.
const FIELDS: [Field; 11] = [
    Field::Waiting,
    Field::Delayed,
    Field::Reserved,
    Field::Failed,
    Field::Total,
    Field::OldestWaiting,
    Field::RateIn,
    Field::RateOut,
    Field::FailureRate,
    Field::WorkersMemory,
    Field::Paused,
];

#[expect(clippy::cast_precision_loss, reason = "numbers of jobs and bytes")]
fn value(snapshot: &Snapshot, field: Field) -> Option<f64> {
    let (counts, recent) = (&snapshot.status, &snapshot.recent);
    match field {
        Field::Waiting => Some(counts.waiting as f64),
        Field::Delayed => Some(counts.delayed as f64),
        Field::Reserved => Some(counts.reserved as f64),
        Field::Failed => Some(counts.failed as f64),
        Field::Total => Some(snapshot.total as f64),
        Field::OldestWaiting => snapshot.front_waiting_seconds,
        Field::RateIn => recent.arrived_per_second,
        Field::RateOut => recent.settled_per_second,
        Field::FailureRate => recent.failure_rate,
        Field::WorkersMemory => snapshot.master.as_ref().map(|master| master.workers_memory_bytes as f64),
        Field::Paused => Some(f64::from(u8::from(counts.paused))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::alerts::sample::snapshot;

    #[test]
    fn title_has_the_counts_and_the_text_all_values() {
        let english = SnapshotText::of(&snapshot(), Language::English);
        assert_eq!(english.title, "mail: 1,204 waiting, 3 failed");
        assert!(english.plain().contains("\noldest_waiting: 12 min\n"), "{}", english.plain());
        assert!(english.plain().ends_with("\nTime: 2023-11-14 22:13:20 UTC"), "{}", english.plain());
        assert_eq!(SnapshotText::of(&snapshot(), Language::Chinese).title, "mail: 等待 1,204, 失败 3");
    }
}
