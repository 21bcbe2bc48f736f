//! The test of receivers of alerts by a command.

use std::time::SystemTime;

use super::alerting::for_receivers;
use super::listen::runtime;
use super::listen_error::ListenError;
use super::own_identity::own_identity;
use super::start::incarnation;
use crate::alerts::{send_test, test_messages};
use crate::config::Config;
use crate::config::alerts::{Receiver, ReceiverKind};
use crate::guardian::Guardian;
use crate::store::LEASE;

/// Sends the messages of a test, a firing alert and its end, to receivers, one after the other; the result of each: the reason of the
/// first failure, or none.
///
/// # Errors
/// When the process cannot run programs.
pub fn test_receivers(
    config: &Config,
    channel: &str,
    receivers: &[Receiver],
) -> Result<Vec<Result<(), String>>, ListenError> {
    let public_url = config.http.as_ref().and_then(|http| http.public_url.clone());
    let now = SystemTime::now().into();
    let messages = test_messages(channel, &own_identity().host, public_url, now);
    runtime()?.block_on(async {
        let runs_program = |receiver: &Receiver| matches!(receiver.kind, ReceiverKind::Command { .. });
        let guardian = if receivers.iter().any(runs_program) {
            Some(Guardian::start(incarnation(), LEASE).await.map_err(ListenError::System)?)
        } else {
            None
        };
        let mut results = Vec::new();
        for receiver in receivers {
            let handle = guardian.as_ref().map(Guardian::handle).zip(config.alerts.as_ref());
            let handle = handle.map(|(handle, settings)| for_receivers(&handle, settings));
            results.push(send_test(receiver, &messages, handle.as_ref()).await);
        }
        if let Some(guardian) = guardian {
            guardian.shut_down().await;
        }
        Ok(results)
    })
}
