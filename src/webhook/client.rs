//! Sends a request and reads a bounded answer.

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

/// A connection is not used again after this long without a request: many servers close theirs after 5 s, and a request
/// that meets the close on its way is one attempt lost.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle connections kept.
const MAX_IDLE_CONNECTIONS: usize = 256;
/// Bytes that are buffered of an answer at once; its head must fit.
const READ_BUFFER: usize = 32 << 10;
/// So much of a body is read. A longer one costs its connection.
const MAX_BODY_READ: usize = 64 << 10;
/// How long a body may take once the status is known, which is all that decides.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Errors that only say where their cause was met.
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

    /// Sends a job and waits for the answer for as long as the job may take.
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
        let what = if error.is_connect() { "could not connect to" } else { "got no answer from" };
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

/// What of a body comes within its bounds. Read to its end, the connection is used again; else it is closed.
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
        // The job's time is up, but it has its answer.
        () = ctx.cancelled() => {}
    }
    read
}
