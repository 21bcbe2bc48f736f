//! The report of a watcher of alerts to the one that holds the watch: the values of its own master in a channel.

use std::collections::BTreeMap;

use aint_queue_core::condition::{Across, Field, Values};
use serde::{Deserialize, Serialize};

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
        }
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

    /// The text of the report.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a report is plain data")
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
