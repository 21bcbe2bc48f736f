//! Accepts connections, a bounded number at once, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{LAST_REQUESTS, connection};
use crate::config::Http;

/// The pause after a connection that could not be accepted: without descriptors, trying at once would only burn time.
const PAUSE: Duration = Duration::from_millis(100);
/// How often such failures are logged at most.
const QUIET: Duration = Duration::from_secs(10);

/// Runs until `stopped` says so, and a moment longer for the requests under way.
pub(super) async fn run(
    listener: TcpListener,
    routes: Router,
    settings: &Http,
    mut stopped: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    let told = stopped.clone();
    tokio::select! {
        () = accept(&listener, &routes, settings, &told, &mut open) => {}
        () = stop(&mut stopped) => {}
    }
    drop(listener);
    let _ = timeout(LAST_REQUESTS, async { while open.join_next().await.is_some() {} }).await;
}

/// Waits for the word to stop, or for the end of whoever would give it.
pub(super) async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn accept(
    listener: &TcpListener,
    routes: &Router,
    settings: &Http,
    stopped: &watch::Receiver<bool>,
    open: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let mut complained: Option<Instant> = None;
    loop {
        // Without a place, new connections wait in the system's queue.
        let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes it");
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = connection::serve(stream, routes.clone(), settings.timeout, stopped.clone());
                open.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() >= QUIET) {
                    warn!(%error, "could not accept an HTTP connection");
                    complained = Some(Instant::now());
                }
                sleep(PAUSE).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
}
