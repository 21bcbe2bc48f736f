//! The stop of the listener.

use std::time::Duration;

use tokio::sync::watch;

/// Time for pending requests after the stop of the listener.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until the listener stops or its owner is gone.
pub(super) async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
