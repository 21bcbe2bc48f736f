//! The test of receivers of alerts by a command.

use std::time::SystemTime;

use super::alerting::for_receivers;
use super::listen::runtime;
use super::listen_error::ListenError;
use super::own_identity::own_identity;
use super::start::incarnation;
use crate::alerts::{test_messages, test_receiver};
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
            let mut result = Ok(());
            for message in &messages {
                let handle = guardian.as_ref().map(Guardian::handle);
                let guardian = handle.zip(config.alerts.as_ref());
                let guardian = guardian.map(|(handle, settings)| for_receivers(&handle, settings));
                let sent = test_receiver(receiver.clone(), message, guardian).await;
                if let Err(failure) = sent {
                    result = Err(failure.message);
                    break;
                }
            }
            results.push(result);
        }
        if let Some(guardian) = guardian {
            guardian.shut_down().await;
        }
        Ok(results)
    })
}
