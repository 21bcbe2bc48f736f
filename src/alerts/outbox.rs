//! The way of a message out, and of its result back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::notification::Notification;
use crate::job::Timestamp;
use crate::metrics::MessageCounts;

/// The result of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The receiver.
    pub receiver: String,
    /// The reason why the message was not delivered; `None` if it was.
    pub error: Option<String>,
}

/// A queue of results with its two ends.
pub(super) struct Results {
    /// The end for messages.
    pub(super) sender: mpsc::UnboundedSender<Delivered>,
    /// The end for those who wait.
    pub(super) receiver: mpsc::UnboundedReceiver<Delivered>,
}

impl Results {
    /// An empty queue.
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }
}

/// The state of a receiver in one master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReceiverStatus {
    /// The messages since the start of the master.
    #[serde(flatten)]
    pub counts: MessageCounts,
    /// Messages that wait, the one that is on its way included.
    pub waiting: usize,
    /// The time until which the receiver is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// The failure of the last attempt; `None` after a success.
    #[serde(rename = "error", skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The time of the last attempt.
    #[serde(skip)]
    pub last_at: Option<Timestamp>,
}

impl ReceiverStatus {
    /// Whether the receiver has taken every message.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self
            == Self {
                counts: MessageCounts { sent: self.counts.sent, ..MessageCounts::default() },
                last_at: self.last_at,
                ..Self::default()
            }
    }

    /// The rank among states of which not all can be shown: first those that have lost messages or are muted, the newest first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let has_lost = self.counts.failed + self.counts.dropped > 0 || self.muted_until.is_some();
        std::cmp::Reverse((has_lost, self.last_at))
    }
}

/// Sends messages.
pub trait Outbox: Send + Sync {
    /// Sends a message to a receiver of the configuration, and its result to `results`.
    fn deliver(&self, receiver: &str, message: Notification, results: mpsc::UnboundedSender<Delivered>);

    /// The state of each receiver.
    fn status(&self) -> BTreeMap<String, ReceiverStatus>;
}
