//! The messages that test a receiver.

use std::collections::BTreeMap;
use std::time::Duration;

use aint_queue_core::condition::Field;

use super::Fingerprint;
use super::delivery::test_receiver;
use super::notification::{Alert, AlertStatus, Notification};
use crate::config::alerts::{Receiver, Severity};
use crate::guardian::GuardianHandle;
use crate::job::Timestamp;

/// The name of the rule of a test.
const RULE: &str = "test";

/// A firing alert and its end, marked as a test, for `queue:alerts --test`.
#[must_use]
pub fn test_messages(
    channel: &str,
    sender: &str,
    public_url: Option<String>,
    now: Timestamp,
) -> [Notification; 2] {
    let message = |status| Notification {
        channel: channel.into(),
        alerts: vec![Alert {
            rule: RULE.into(),
            severity: Severity::Info,
            status,
            host: None,
            condition: "waiting >= 0".to_owned(),
            summary: Some("This is a test of the receiver: nothing is wrong.".into()),
            runbook: None,
            values: BTreeMap::from([(Field::Waiting, 0.0)]),
            fields: vec![Field::Waiting],
            started_at: now,
            fingerprint: Fingerprint::of(channel, RULE, None),
        }],
        at: now,
        sender: sender.to_owned(),
        public_url: public_url.clone(),
        is_test: true,
    };
    [message(AlertStatus::Firing), message(AlertStatus::Resolved(now.after(Duration::from_secs(1))))]
}

/// Sends the messages of a test to a receiver, one after the other; `guardian` runs the program of a receiver that is one.
///
/// # Errors
/// The reason of the first failure.
pub async fn send_test(
    receiver: &Receiver,
    messages: &[Notification],
    guardian: Option<&GuardianHandle>,
) -> Result<(), String> {
    for message in messages {
        let sent = test_receiver(receiver.clone(), message, guardian.cloned()).await;
        sent.map_err(|failure| failure.message)?;
    }
    Ok(())
}
