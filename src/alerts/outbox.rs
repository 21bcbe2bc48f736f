//! The way of a message out, and of its result back.

use tokio::sync::mpsc;

use super::host_report::DeliveryReport;
use super::notification::Notification;

/// The result of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The receiver.
    pub receiver: String,
    /// The reason why the message was not delivered; `None` if it was.
    pub error: Option<String>,
}

/// Sends messages.
pub trait Outbox: Send + Sync {
    /// Sends a message to a receiver of the configuration, and its result to `results`.
    fn deliver(&self, receiver: &str, message: Notification, results: mpsc::UnboundedSender<Delivered>);

    /// The messages to each receiver so far.
    fn deliveries(&self) -> Vec<(String, DeliveryReport)>;
}
