//! The report of a watcher of alerts to the one that holds the watch: the values of its own master in a channel.

use std::collections::BTreeMap;

use aint_queue_core::condition::{Across, Field, Values};
use serde::{Deserialize, Serialize};

use crate::job::Timestamp;
use crate::snapshot::PresentValues;
use crate::store::MAX_ALERT_REPORT_BYTES;

/// Form of a report. A report of a higher version is not read.
const VERSION: u32 = 1;

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
    deliveries: BTreeMap<String, DeliveryReport>,
}

/// The messages of a master to one receiver, since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeliveryReport {
    /// Messages and calls that the receiver took.
    pub sent: u64,
    /// Messages and calls that failed for good.
    pub failed: u64,
    /// Messages that were dropped because too many waited.
    pub dropped: u64,
    /// Messages that wait.
    pub waiting: usize,
    /// The time until which the receiver is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// The failure of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
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
            deliveries: BTreeMap::new(),
        }
    }

    /// Replaces the deliveries: those of receivers that have taken every message are left out.
    pub fn set_deliveries(&mut self, deliveries: impl IntoIterator<Item = (String, DeliveryReport)>) {
        let quiet = |delivery: &DeliveryReport| {
            *delivery == DeliveryReport { sent: delivery.sent, ..DeliveryReport::default() }
        };
        self.deliveries = deliveries.into_iter().filter(|(_, delivery)| !quiet(delivery)).collect();
    }

    /// Takes the deliveries of an earlier report: they are read with each look only.
    pub fn keep_deliveries(&mut self, earlier: Self) {
        self.deliveries = earlier.deliveries;
    }

    /// The deliveries that have something to say, by receiver.
    #[must_use]
    pub fn deliveries(&self) -> &BTreeMap<String, DeliveryReport> {
        &self.deliveries
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

    /// The text of the report: without the deliveries if it would be too large with them.
    #[must_use]
    pub fn text(&self) -> String {
        let text = |report: &Self| serde_json::to_string(report).expect("a report is plain data");
        let whole = text(self);
        if whole.len() <= MAX_ALERT_REPORT_BYTES || self.deliveries.is_empty() {
            return whole;
        }
        text(&Self { deliveries: BTreeMap::new(), ..self.clone() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_that_have_trouble_are_reported_within_the_limit() {
        let mut report = HostReport::nothing_of("web1");
        let trouble =
            DeliveryReport { dropped: 2, error: Some("x".repeat(150)), ..DeliveryReport::default() };
        let good = DeliveryReport { sent: 7, ..DeliveryReport::default() };
        report.set_deliveries([("good".to_owned(), good), ("ding".to_owned(), trouble.clone())]);
        let read = HostReport::read(&report.text()).unwrap();
        assert_eq!(read.deliveries(), &BTreeMap::from([("ding".to_owned(), trouble.clone())]));
        report.set_deliveries((0..100).map(|number| (format!("receiver-{number}"), trouble.clone())));
        assert!(HostReport::read(&report.text()).unwrap().deliveries().is_empty());
    }
}
