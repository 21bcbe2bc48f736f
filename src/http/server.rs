//! Accepts connections until the stop of the listener.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::DRAIN_TIMEOUT;
use super::admission::Admission;
use super::connection::{self, wait_for_stop};
use super::peer::Peer;
use super::unread::UnreadMemory;
use crate::config::Http;
use crate::metrics::RequestMetrics;

/// Pause after a failed accept: without free descriptors an immediate retry would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Shortest time between two log lines about failed accepts.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Serves until `stopped` turns true, then gives pending requests [`DRAIN_TIMEOUT`].
pub(super) async fn run(
    listener: TcpListener,
    routes: Router,
    settings: &Http,
    unread: &UnreadMemory,
    metrics: &RequestMetrics,
    mut stopped: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    let on_stop = stopped.clone();
    tokio::select! {
        () = accept(&listener, &routes, Admission::new(settings, metrics), (settings.timeout, unread), &on_stop, &mut open) => {}
        () = wait_for_stop(&mut stopped) => {}
    }
    drop(listener);
    let _ = timeout(DRAIN_TIMEOUT, async { while open.join_next().await.is_some() {} }).await;
}

async fn accept(
    listener: &TcpListener,
    routes: &Router,
    admission: Admission,
    (request_timeout, unread): (Duration, &UnreadMemory),
    stopped: &watch::Receiver<bool>,
    open: &mut JoinSet<()>,
) {
    let mut last_logged: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(place) = admission.take(Peer::of(address.ip()), Instant::now()) else {
                    connection::refuse(&stream);
                    continue;
                };
                let number = place.number();
                let serving = connection::serve(
                    stream,
                    Arc::new(place),
                    routes.clone(),
                    (request_timeout, unread.clone()),
                    stopped.clone(),
                );
                admission.attach(number, open.spawn(serving));
            }
            Err(error) => {
                if last_logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
                    warn!(%error, "HTTP connection not accepted: retrying");
                    last_logged = Some(Instant::now());
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
}
