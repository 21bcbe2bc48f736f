//! The report of a watcher of alerts to the one that holds the watch: the values of its own master in a channel.

use std::collections::{BTreeMap, BTreeSet};

use aint_queue_core::condition::{Across, Field, Values};
use serde::{Deserialize, Serialize};

use super::outbox::ReceiverStatus;
use crate::snapshot::PresentValues;
use crate::store::MAX_ALERT_REPORT_BYTES;

/// Form of a report. A report of a higher version is not read.
const VERSION: u32 = 1;
/// Most characters of the failure of a receiver.
const MAX_REPORTED_ERROR: usize = 150;

/// The values of one master in a channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    version: u32,
    /// The name of the host.
    pub host: String,
    /// The values that differ between masters, by field, as far as they are known.
    values: BTreeMap<String, f64>,
    /// Runs that ended in the last minutes.
    runs: u32,
    /// The failed ones among them.
    failed_runs: u32,
    /// The deliveries of this master that have something to say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    deliveries: BTreeMap<String, ReceiverStatus>,
    /// Further deliveries that have something to say, for which the report has no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    left_out: usize,
    /// Whether the watcher held the watch at its last look.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    holds: bool,
    /// The identities of the heartbeats that one master calls for all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    heartbeats: BTreeSet<String>,
}

impl HostReport {
    /// The report of a master.
    #[must_use]
    pub fn of(host: &str, present: &PresentValues<'_>) -> Self {
        let differs = |field: &&Field| field.across() != Across::Channel && **field != Field::FailureRate;
        let known = |field: &Field| Some((field.name().to_owned(), present.value(*field)?));
        let (runs, failed_runs) = present.past.recent_runs();
        Self {
            version: VERSION,
            host: host.to_owned(),
            values: Field::ALL.iter().filter(differs).filter_map(known).collect(),
            runs,
            failed_runs,
            ..Self::default()
        }
    }

    /// Replaces the deliveries: those of receivers that have taken every message are left out.
    pub fn set_deliveries(&mut self, deliveries: impl IntoIterator<Item = (String, ReceiverStatus)>) {
        let cut = |(name, mut status): (String, ReceiverStatus)| {
            status.last_error =
                status.last_error.map(|error| error.chars().take(MAX_REPORTED_ERROR).collect());
            (name, status)
        };
        self.deliveries = deliveries.into_iter().filter(|(_, status)| !status.is_good()).map(cut).collect();
    }

    /// Sets whether the watcher holds the watch.
    pub fn set_holds(&mut self, holds: bool) {
        self.holds = holds;
    }

    /// Whether the watcher held the watch at its last look.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Sets the heartbeats that one master calls for all.
    pub fn set_heartbeats(&mut self, heartbeats: BTreeSet<String>) {
        self.heartbeats = heartbeats;
    }

    /// The identities of the heartbeats that one master calls for all.
    #[must_use]
    pub fn heartbeats(&self) -> &BTreeSet<String> {
        &self.heartbeats
    }

    /// Replaces the values by those of a new report.
    pub fn set_values(&mut self, new: Self) {
        let Self { values, runs, failed_runs, .. } = new;
        (self.values, self.runs, self.failed_runs) = (values, runs, failed_runs);
    }

    /// The deliveries that have something to say, by receiver.
    #[must_use]
    pub fn deliveries(&self) -> &BTreeMap<String, ReceiverStatus> {
        &self.deliveries
    }

    /// The number of further ones, for which the report had no room.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The report of a master that has seen nothing yet.
    #[must_use]
    pub fn nothing_of(host: &str) -> Self {
        Self { version: VERSION, host: host.to_owned(), ..Self::default() }
    }

    /// Reads a report; `None` for another text, for one that is too large, and for a newer form.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_ALERT_REPORT_BYTES {
            return None;
        }
        serde_json::from_str(text).ok().filter(|report: &Self| report.version <= VERSION)
    }

    /// The text of the report. Of deliveries that do not all fit, those of the highest rank are in it, and the number of the others.
    #[must_use]
    pub fn text(&self) -> String {
        let whole = json(self);
        if whole.len() <= MAX_ALERT_REPORT_BYTES || self.deliveries.is_empty() {
            return whole;
        }
        let left_out = self.deliveries.len();
        let mut report = Self { deliveries: BTreeMap::new(), left_out, ..self.clone() };
        let mut room =
            MAX_ALERT_REPORT_BYTES.saturating_sub(json(&report).len() + r#","deliveries":{}"#.len());
        let mut by_rank: Vec<_> = self.deliveries.iter().collect();
        by_rank.sort_by_key(|(_, status)| status.rank());
        for (name, status) in by_rank {
            let size = json(name).len() + json(status).len() + ":,".len();
            if size <= room {
                room -= size;
                report.left_out -= 1;
                report.deliveries.insert(name.clone(), status.clone());
            }
        }
        json(&report)
    }

    /// A value of this master.
    #[must_use]
    pub fn value(&self, field: Field) -> Option<f64> {
        self.values.get(field.name()).copied().filter(|value| value.is_finite())
    }

    /// Runs that ended in the last minutes, and the failed ones among them.
    #[must_use]
    pub fn runs(&self) -> (u32, u32) {
        (self.runs, self.failed_runs)
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a report is plain data")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;
    use crate::metrics::MessageCounts;

    fn trouble(dropped: u64, at: u64) -> ReceiverStatus {
        ReceiverStatus {
            counts: MessageCounts { dropped, ..MessageCounts::default() },
            waiting: 3,
            last_error: Some("x".repeat(500)),
            last_at: Some(Timestamp(at)),
            ..ReceiverStatus::default()
        }
    }

    #[test]
    fn deliveries_that_have_trouble_are_reported() {
        let mut report = HostReport::nothing_of("web1");
        let good = ReceiverStatus {
            counts: MessageCounts { sent: 7, ..MessageCounts::default() },
            last_at: Some(Timestamp(1)),
            ..ReceiverStatus::default()
        };
        report.set_deliveries([("good".to_owned(), good), ("ding".to_owned(), trouble(2, 1))]);
        let read = HostReport::read(&report.text()).unwrap();
        assert_eq!(read.deliveries().keys().collect::<Vec<_>>(), ["ding"]);
        let ding = &read.deliveries()["ding"];
        assert_eq!((ding.counts.dropped, ding.waiting), (2, 3));
        assert_eq!(ding.last_error.as_ref().map(String::len), Some(MAX_REPORTED_ERROR));
        assert_eq!(read.left_out(), 0);
    }

    #[test]
    fn report_without_room_has_the_worst_and_newest_deliveries() {
        let mut report = HostReport::nothing_of("web1");
        let lost = ("lost".to_owned(), trouble(1, 1));
        let waiting = (0..100).map(|number| (format!("waits-{number:02}"), trouble(0, number)));
        report.set_deliveries(waiting.chain([lost]));
        let text = report.text();
        assert!(
            text.len() <= MAX_ALERT_REPORT_BYTES && text.len() > MAX_ALERT_REPORT_BYTES - 300,
            "{}",
            text.len()
        );
        let read = HostReport::read(&text).unwrap();
        let names: Vec<_> = read.deliveries().keys().map(String::as_str).collect();
        assert!(names.len() > 10, "{names:?}");
        let newest = (0..100).rev().take(names.len() - 1).map(|number| format!("waits-{number:02}"));
        let mut wanted: Vec<_> = newest.chain(["lost".to_owned()]).collect();
        wanted.sort();
        assert_eq!(names, wanted);
        assert_eq!(read.left_out(), 101 - names.len());
    }
}
