//! Alerts: messages to people about channels that need them.
//!
//! `phase` follows one alert from the values of its rule, `group` decides when a receiver gets the next message, `book` keeps both for
//! a channel; all three are pure. `watch` runs a book: it looks at the store, evaluates the rules over the values of all masters
//! (`fleet_values`, `host_report`) and sends what is due; `host_book` is the book of the rules over values of one host.
//! `notification` is the message, `outbox` its way to `delivery` and the way of its result back.
//!
//! `delivery` sends messages to their receivers: `message_queue` has those that wait, `text` the words, `receivers` the services.
//! `channel_alerts` is the state of all this for display (`alerts_json` as JSON), `silences` changes the rules that are silent.
//! `heartbeat` decides when heartbeat receivers are called. `test_message` is the message of `queue:alerts --test`.
//! `snapshot_receiver` sends snapshots in place of messages.

mod alerts_json;
mod book;
mod channel_alerts;
mod delivery;
mod fleet_values;
mod group;
mod heartbeat;
mod host_book;
mod host_report;
mod message_queue;
mod notification;
mod outbox;
mod phase;
mod receivers;
#[cfg(test)]
mod sample;
mod silences;
mod snapshot_receiver;
mod test_message;
mod text;
mod watch;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::stable_hash;

pub use alerts_json::ChannelAlertsJson;
pub use book::{AlertBook, AlertRecord, Answer, Circumstances, EndedAlert};
pub use channel_alerts::{ChannelAlerts, PresentAlert};
pub use delivery::{Deliveries, test_receiver};
pub use group::{Concern, Due, Group, Timing};
pub use heartbeat::{Pulse, Pulses, run as call_heartbeat};
pub use host_report::HostReport;
pub use notification::{Alert, AlertStatus, Notification};
pub use outbox::{Delivered, Outbox, ReceiverStatus};
pub use phase::{Ended, Phase, Verdict};
pub use receivers::{NextAttempt, SendFailure};
pub use silences::{MAX_SILENCE_TIME, end_silence, silence_rule};
pub use snapshot_receiver::snapshot_receivers;
pub use test_message::{send_test, test_messages};
pub use watch::{WatchHandle, WatchPlace, WatchSettings};

/// The identity of an alert: of a rule in a channel, and of a host where the rule is over values of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The identity of an alert, the same in every master.
    #[must_use]
    pub fn of(channel: &str, rule: &str, host: Option<&str>) -> Self {
        Self(stable_hash(format!("{channel}\0{rule}\0{}", host.unwrap_or_default()).as_bytes()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
