//! The HTTP listener of a master: producers in any language push jobs through it.
//!
//! | request | meaning of status 200 or 201 |
//! |---|---|
//! | `POST /channels/{name}/jobs` | the job or every job of the array in the body is in the channel |
//! | `GET /health` | the listener serves |
//!
//! Duties: give places to connections (`admission`), authorize requests (`auth`, `token_guesses`), read bodies within limits of size and time (`body`), parse them into jobs (`parse`), push
//! these into queues that open on first use (`push`), and answer every error with its place and remedy (`response`).
//!
//! The listener runs on its own thread and runtime and shares only the stores with the channels: a slow, hung or flooded
//! listener delays no job. It never reads jobs. It ends with the master: pending pushes get a short time to finish, all other
//! connections are closed.

mod admission;
mod auth;
mod body;
mod connection;
mod event_log;
mod parse;
mod peer;
mod push;
mod response;
mod server;
mod token_guesses;
mod write_timeout;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use crate::config::{Config, Http};
use crate::producer_memory::ProducerMemory;
use crate::queue_set::QueueSet;
use auth::Auth;
use response::ErrorResponse;

/// Time for pending requests after the stop of the listener.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Time the master waits for the end of the listener; longer than [`DRAIN_TIMEOUT`] plus the end of the runtime.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);

/// The state that all requests share.
struct ListenerState {
    settings: Http,
    queues: QueueSet,
    memory: ProducerMemory,
}

/// A listener with a bound port that does not serve yet: clients wait in the system's accept queue.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: Http,
    address: SocketAddr,
}

/// A listener that serves.
#[derive(Debug)]
pub struct RunningListener {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// Takes the port.
///
/// # Errors
/// When the port is taken or the address is not one of this machine.
pub fn bind(settings: &Http) -> io::Result<Listener> {
    let socket = TcpListener::bind(settings.listen)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, settings: settings.clone(), address })
}

impl Listener {
    /// Serves all declared channels on a new thread. Requests share `memory`.
    ///
    /// # Errors
    /// When the system has no free thread or descriptor.
    pub fn serve(self, config: &Arc<Config>, memory: ProducerMemory) -> io::Result<RunningListener> {
        let Self { socket, settings, address } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(socket)?
        };
        let routes = routes(&settings, address, config, memory);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("http".to_owned()).spawn(move || {
            // A panic of the thread drops this too, so that the master does not wait in vain.
            let _end = end;
            runtime.block_on(server::run(socket, routes, &settings, stopped));
            runtime.shutdown_timeout(DRAIN_TIMEOUT / 2);
        })?;
        info!(%address, "http listening");
        Ok(RunningListener { address, stop, ended })
    }
}

impl RunningListener {
    /// The address of the listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more requests and waits for pending ones.
    pub async fn shut_down(self) {
        self.stop.send_replace(true);
        // No value is ever sent: the end of the thread drops the sender.
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.ended).await.is_err() {
            error!("HTTP listener did not end in time: exiting without it");
        }
    }
}

fn routes(settings: &Http, address: SocketAddr, config: &Arc<Config>, memory: ProducerMemory) -> Router {
    let auth = Arc::new(Auth::new(settings, address));
    let state =
        ListenerState { settings: settings.clone(), queues: QueueSet::of(Arc::clone(config)), memory };
    Router::new()
        .route("/health", get(async || response::ok(&json!({ "status": "ok" }))))
        .route("/channels/{channel}/jobs", post(push::push))
        .fallback(async || ErrorResponse::not_found())
        .method_not_allowed_fallback(async || ErrorResponse::method_not_allowed())
        .layer(from_fn_with_state(auth, auth::authorize))
        .with_state(Arc::new(state))
}
