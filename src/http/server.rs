//! Accepts connections, a bounded number at once, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{DRAIN_TIMEOUT, connection};
use crate::config::Http;

/// The pause after a connection that could not be accepted: without descriptors, trying at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often such failures are logged at most.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Runs until `stopped` says so, and a moment longer for the requests under way.
pub(super) async fn run(
    listener: TcpListener,
    routes: Router,
    settings: &Http,
    mut stopped: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    let on_stop = stopped.clone();
    tokio::select! {
        () = accept(&listener, &routes, settings, &on_stop, &mut open) => {}
        () = wait_for_stop(&mut stopped) => {}
    }
    drop(listener);
    let _ = timeout(DRAIN_TIMEOUT, async { while open.join_next().await.is_some() {} }).await;
}

/// Waits for the word to stop, or for the end of whoever would give it.
pub(super) async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn accept(
    listener: &TcpListener,
    routes: &Router,
    settings: &Http,
    stopped: &watch::Receiver<bool>,
    open: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let mut last_logged: Option<Instant> = None;
    loop {
        // Without a place, new connections wait in the system's queue.
        let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes it");
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = connection::serve(stream, routes.clone(), settings.timeout, stopped.clone());
                open.spawn(async move {
                    serving.await;
                    drop(slot);
                });
            }
            Err(error) => {
                if last_logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
                    warn!(%error, "could not accept an HTTP connection");
                    last_logged = Some(Instant::now());
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
}
