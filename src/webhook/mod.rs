//! Webhooks: one signed POST per run of a job of a channel with `worker.url`.
//!
//! The master sends no requests itself. The worker of such a channel is this program with [`WORKER_ARGUMENT`] as its first
//! argument and its settings in the variable [`SETTINGS_VARIABLE`]. It uses the worker protocol, so timeouts, stops and crashes
//! are handled like those of any other worker. Only this process has the secrets in its environment, and it starts no other
//! process.
//!
//! Duties, one file each: build and sign the request (`request`, `signature`), connect to allowed addresses only (`connector`),
//! send and read within limits (`http_client`, with the settings of the channel `client`), map the response to the outcome of the run (`response_outcome`), remove secrets from
//! messages (`redact`). The settings are in `config::webhook`. The worker never follows a redirect, uses no proxy of the
//! environment and prints no secret.

mod client;
pub(crate) mod connector;
pub(crate) mod http_client;
pub(crate) mod redact;
mod request;
mod response_outcome;
pub(crate) mod signature;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::webhook::Settings;
use crate::job::{Context, JobError, Registry};
use crate::protected_memory;
use crate::worker;
use client::Client;

/// The first argument of a process that serves a channel with `worker.url`.
pub const WORKER_ARGUMENT: &str = "__webhook";
/// The environment variable with the settings of such a process.
pub const SETTINGS_VARIABLE: &str = "AINT_QUEUE_WEBHOOK";

/// Runs the worker on the inherited socket: one request per job.
#[must_use]
pub(crate) fn main() -> ExitCode {
    protected_memory::protect();
    let client = match client() {
        Ok(client) => Arc::new(client),
        Err(error) => {
            eprintln!("error: could not prepare webhooks: {}", JobError::from(error).message());
            return ExitCode::FAILURE;
        }
    };
    allow_many_connections();
    let mut registry = Registry::default();
    registry.add_fallback(move |payload, ctx| {
        let (client, payload) = (Arc::clone(&client), payload.to_owned());
        Box::pin(async move { deliver(&client, &ctx, payload).await })
    });
    worker::main(&registry)
}

fn client() -> Result<Client, Box<dyn Error + Send + Sync>> {
    let text = std::env::var(SETTINGS_VARIABLE)
        .map_err(|_| "settings missing: only queue:listen starts this process")?;
    Client::new(Settings::from_variable(&text)?)
}

async fn deliver(client: &Client, ctx: &Context, payload: String) -> Result<(), JobError> {
    let answer = tokio::select! {
        biased;
        answer = client.send(ctx, payload) => answer?,
        // A cancel drops the request and its connection.
        () = ctx.cancelled() => return Err("cancelled while waiting for the response".into()),
    };
    response_outcome::outcome(answer, std::time::SystemTime::now())
}

/// Raises the limit of open files to its maximum: each pending request needs a connection, and the usual soft limit is below
/// the usual number of concurrent jobs. Above the hard limit, requests fail with a connect error.
fn allow_many_connections() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
