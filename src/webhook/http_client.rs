//! Sends requests and reads responses within limits of size and time.

use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::{Connector, Target};
use super::redact::Redactor;

/// Idle time after which a connection is not reused: many servers close idle connections after 5 s, and a request that meets
/// the close costs an attempt.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);
/// Largest number of idle connections.
const MAX_IDLE_CONNECTIONS: usize = 256;
/// Read buffer of a response, in bytes; its head must fit.
const READ_BUFFER: usize = 32 << 10;
/// Bytes read of a response body. A longer body costs its connection.
const MAX_BODY_READ: usize = 64 << 10;
/// Time for the body after the head. The outcome depends on the head alone.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Errors that only wrap their cause and are left out of the message.
const WRAPPER_ERRORS: [&str; 2] = ["dns error", "tcp connect error"];

/// The longest wait a receiver can request.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);
/// The shortest wait a receiver can request: a wait of zero would use up all attempts at once.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// The parts of a response that decide about its request.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedResponse {
    /// The status.
    pub(crate) status: StatusCode,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The start of the body, without secrets.
    pub(crate) body: String,
}

impl ReceivedResponse {
    /// The value of `Retry-After`, seconds or a date, as a wait between [`MIN_WAIT`] and [`MAX_WAIT`].
    pub(crate) fn retry_after_wait(&self, now: SystemTime) -> Option<Duration> {
        let text = self.retry_after.as_deref()?.trim();
        let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // A number too large to parse means the longest wait.
            text.parse().map_or(MAX_WAIT, Duration::from_secs)
        } else {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(now).unwrap_or_default()
        };
        Some(wait.clamp(MIN_WAIT, MAX_WAIT))
    }
}

/// Sends requests to one server.
pub(crate) struct HttpClient {
    /// Scheme, host and port: the part of the URL that messages show.
    origin: String,
    pool: Pool<Connector, Full<Bytes>>,
    redactor: Redactor,
}

impl HttpClient {
    pub(crate) fn new(
        target: &Target<'_>,
        origin: String,
        secrets: Vec<String>,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http1_max_buf_size(READ_BUFFER)
            .build(Connector::new(target)?);
        Ok(Self { origin, pool, redactor: Redactor::new(secrets) })
    }

    /// Sends a request and waits for the response. The caller limits the time; `enough` ends the wait for the rest of the body.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        enough: impl Future<Output = ()>,
    ) -> Result<ReceivedResponse, String> {
        match self.pool.request(request).await {
            Ok(response) => Ok(self.read(response, enough).await),
            Err(error) => Err(self.request_error(&error)),
        }
    }

    async fn read(&self, response: Response<Incoming>, enough: impl Future<Output = ()>) -> ReceivedResponse {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = read_body(response.into_body(), enough).await;
        let body = self.redactor.redact(&String::from_utf8_lossy(&body));
        ReceivedResponse { status, retry_after, body }
    }

    fn request_error(&self, error: &hyper_util::client::legacy::Error) -> String {
        let what = if error.is_connect() { "could not connect to" } else { "got no response from" };
        let mut text = format!("{what} {}", self.origin);
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !WRAPPER_ERRORS.contains(&said.as_str()) && !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        self.redactor.redact(&text)
    }
}

/// Reads the body within its limits. A body read to its end keeps the connection; a longer one closes it.
async fn read_body(mut body: Incoming, enough: impl Future<Output = ()>) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                read.extend_from_slice(&data[..data.len().min(MAX_BODY_READ - read.len())]);
            }
            if read.len() == MAX_BODY_READ {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = tokio::time::sleep(BODY_TIMEOUT) => {}
        () = enough => {}
    }
    read
}
