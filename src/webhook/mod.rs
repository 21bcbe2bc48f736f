//! Jobs as signed requests: one POST for each run of a job of a channel with `worker.url`.
//!
//! A master makes no requests itself. The worker of such a channel is this program again, with [`WORKER_ARGUMENT`] as its first
//! argument and everything it must know in the variable [`SETTINGS_VARIABLE`]; it speaks the worker protocol like any other, so
//! time-outs, stops and crashes are judged in one place. Secrets are in the environment of that process alone, which
//! starts no other.
//!
//! Duties, a file each: what is configured (`settings`), which addresses are nobody's business (`public_ip`), the
//! signature (`signature`), the request (`request`), connections to vetted addresses only (`connector`), sending and reading a
//! bounded answer (`client`), what the answer means (`response_outcome`). It never follows a redirect, never takes a proxy from the
//! environment, and never prints what the settings hold as secret.

mod client;
mod connector;
mod redact;
mod request;
mod response_outcome;
mod signature;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::webhook::Settings;
use crate::job::{Context, JobError, Registry};
use crate::worker;
use client::Client;

/// The first argument of a process that serves a channel with `worker.url`.
pub const WORKER_ARGUMENT: &str = "__webhook";
/// The variable with the settings of such a process.
pub const SETTINGS_VARIABLE: &str = "AINT_QUEUE_WEBHOOK";

/// Serves the master on the inherited socket, with a request for every job.
#[must_use]
pub(crate) fn main() -> ExitCode {
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
        .map_err(|_| "its settings are missing: a channel with worker.url is served by queue:listen")?;
    Client::new(Settings::from_variable(&text)?)
}

async fn deliver(client: &Client, ctx: &Context, payload: String) -> Result<(), JobError> {
    let answer = tokio::select! {
        biased;
        answer = client.send(ctx, payload) => answer?,
        // The request is dropped and its connection with it.
        () = ctx.cancelled() => return Err("cancelled while it waited for an answer".into()),
    };
    response_outcome::outcome(answer, std::time::SystemTime::now())
}

/// Each request under way needs a connection, and the usual limit of descriptors is below the usual number of jobs at
/// once. Where more is not allowed, connecting says so.
fn allow_many_connections() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
