//! A connection: HTTP/1.1 with limits on sizes and times.

use std::future::poll_fn;
use std::pin::Pin;
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
use tokio::time::timeout;
use tracing::debug;

use super::write_timeout::WriteTimeout;

/// Largest head of a request, and the read-ahead of a body, in bytes.
const MAX_HEAD: usize = 32 << 10;
/// Largest number of headers of a request.
const MAX_HEADERS: usize = 64;
/// Time for which bytes of a refused client are read and dropped, so that it gets the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until the listener stops or its owner is gone.
pub(super) async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    routes: Router,
    limit: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    // Responses are small and written at once, so Nagle's delay has no benefit.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let routes = TowerToHyperService::new(routes.clone());
        Box::pin(async move { hyper::service::Service::call(&routes, request.map(Body::new)).await })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, limit)), service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(ended),
        () = wait_for_stop(&mut stopped) => None,
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
