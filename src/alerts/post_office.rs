//! Brings the results of messages back to the books that sent them: all books of a master share its receivers.

use std::io;
use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use tokio::sync::mpsc;

use super::delivery::{Delivered, Deliveries};
use super::watch::{MessageResult, MessageSender};
use super::{Fingerprint, Notification};
use crate::config::alerts::Receiver;
use crate::guardian::GuardianHandle;

/// The sender of the messages of a master.
#[derive(Debug)]
pub struct PostOffice {
    deliveries: Deliveries,
    pending: Arc<Mutex<Vec<Pending>>>,
}

/// A message without a result.
#[derive(Debug)]
struct Pending {
    receiver: String,
    /// The alerts of the message, which no other book has.
    alerts: Vec<Fingerprint>,
    results: mpsc::UnboundedSender<MessageResult>,
}

impl PostOffice {
    /// Starts the receivers.
    ///
    /// # Errors
    /// When their thread cannot be started.
    pub fn start(
        receivers: impl IntoIterator<Item = Receiver>,
        guardian: Option<GuardianHandle>,
    ) -> io::Result<Self> {
        let (deliveries, results) = Deliveries::start(receivers, guardian)?;
        let pending = Arc::default();
        tokio::spawn(forward(results, Arc::clone(&pending)));
        Ok(Self { deliveries, pending })
    }

    /// The receivers.
    #[must_use]
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Ends the receivers: what waits is tried once.
    pub async fn stop(self) {
        self.deliveries.stop().await;
    }
}

impl MessageSender for PostOffice {
    fn send(&self, receiver: &str, message: Notification, results: mpsc::UnboundedSender<MessageResult>) {
        let alerts = message.alerts.iter().map(|alert| alert.fingerprint).collect();
        lock(&self.pending).push(Pending { receiver: receiver.to_owned(), alerts, results });
        self.deliveries.deliver(receiver, message);
    }
}

/// Forwards the last result of each message.
async fn forward(mut results: mpsc::UnboundedReceiver<Delivered>, pending: Arc<Mutex<Vec<Pending>>>) {
    while let Some(Delivered { receiver, fingerprints, result, .. }) = results.recv().await {
        let error = match result {
            Ok(()) => None,
            Err(failure) if failure.is_final => Some(failure.message),
            // Another attempt follows.
            Err(_) => continue,
        };
        let mut pending = lock(&pending);
        let is_its = |pending: &Pending| pending.receiver == receiver && pending.alerts == fingerprints;
        if let Some(place) = pending.iter().position(is_its) {
            let its = pending.remove(place);
            // The watch may have ended.
            let _ = its.results.send(MessageResult { receiver, error });
        }
    }
}
