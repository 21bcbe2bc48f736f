//! A connection: HTTP/1.1 with limits on sizes and times.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::admission::Place;
use super::unread::UnreadMemory;
use super::write_timeout::WriteTimeout;

/// Largest head of a request, and the read-ahead of a body, in bytes.
const MAX_HEAD: usize = 32 << 10;
/// Largest number of headers of a request.
const MAX_HEADERS: usize = 64;
/// Longest life of a connection, in timeouts of a request: a client connects again, and every client gets a place in turn.
const MAX_LIFE_TIMEOUTS: u32 = 30;
/// Time for which bytes of a refused client are read and dropped, so that it gets the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// The stop of the listener, for responses that last until then.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits until the listener stops.
    pub async fn wait(&mut self) {
        wait_for_stop(&mut self.0).await;
    }
}

/// Waits until the listener stops or its owner is gone.
pub(super) async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Refuses a connection of a peer that has too many. The response is lost if the client has sent a request already.
pub(super) fn refuse(stream: &TcpStream) {
    const BODY: &str = "{\"error\":\"too many connections from this address: close idle ones, or use them for several requests\"}";
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    // The send buffer of a new connection is empty.
    let _ = stream.try_write(response.as_bytes());
}

/// Serves one connection to its end; `place` is freed then.
pub(super) async fn serve(
    stream: TcpStream,
    place: Arc<Place>,
    routes: Router,
    (limit, unread): (Duration, UnreadMemory),
    mut stopped: watch::Receiver<bool>,
) {
    // Responses are small and written at once, so Nagle's delay has no benefit.
    let _ = stream.set_nodelay(true);
    let on_stop = stopped.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let routes = TowerToHyperService::new(routes.clone());
        request.extensions_mut().insert(Arc::clone(&place));
        request.extensions_mut().insert(Stopping(on_stop.clone()));
        Box::pin(async move { hyper::service::Service::call(&routes, request.map(Body::new)).await })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, limit, unread)), service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = wait_for_stop(&mut stopped) => None,
        () = sleep(limit * MAX_LIFE_TIMEOUTS) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            // The current request is answered; no further one is read.
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended early");
    }
    let mut stream = connection.into_parts().io.into_inner();
    // A close with unread bytes would reset the connection, and the client might lose the response.
    let _ = timeout(LINGER_TIMEOUT, async {
        stream.shutdown().await?;
        let mut rest = vec![0; 8 << 10];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}
