//! Sends requests and reads responses within limits of size and time.

use std::error::Error;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::header::RETRY_AFTER;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::Connector;
use super::redact::Redactor;
use super::request;
use super::response_outcome::ReceivedResponse;
use crate::config::webhook::Settings;
use crate::job::{Context, JobError};

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

/// Sends requests to one receiver.
pub(super) struct Client {
    settings: Settings,
    pool: Pool<Connector, Full<Bytes>>,
    redactor: Redactor,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .http1_max_buf_size(READ_BUFFER)
            .build(Connector::new(&settings)?);
        let redactor = Redactor::new(settings.secrets());
        Ok(Self { settings, pool, redactor })
    }

    /// Sends a job and waits for the response. The caller limits the time.
    pub(super) async fn send(&self, ctx: &Context, payload: String) -> Result<ReceivedResponse, JobError> {
        let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = request::build(&self.settings, ctx, payload, seconds)?;
        match self.pool.request(request).await {
            Ok(response) => Ok(self.read(ctx, response).await),
            Err(error) => Err(self.request_error(&error)),
        }
    }

    async fn read(&self, ctx: &Context, response: Response<Incoming>) -> ReceivedResponse {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = read_body(ctx, response.into_body()).await;
        let body = self.redactor.redact(&String::from_utf8_lossy(&body));
        ReceivedResponse { status, retry_after, body }
    }

    fn request_error(&self, error: &hyper_util::client::legacy::Error) -> JobError {
        let what = if error.is_connect() { "could not connect to" } else { "got no response from" };
        let mut text = format!("{what} {}", self.settings.url.origin());
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !WRAPPER_ERRORS.contains(&said.as_str()) && !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        self.redactor.redact(&text).into()
    }
}

/// Reads the body within its limits. A body read to its end keeps the connection; a longer one closes it.
async fn read_body(ctx: &Context, mut body: Incoming) -> Vec<u8> {
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
        // The job has timed out, but its response is complete enough.
        () = ctx.cancelled() => {}
    }
    read
}
