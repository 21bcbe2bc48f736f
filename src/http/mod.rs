//! The HTTP listener of a master: producers in any language push jobs through it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /channels/{name}/jobs` | the job in the body, or all of an array, is in the channel |
//! | `GET /health` | the listener serves |
//!
//! Duties: let in whoever may push (`auth`), take bodies of bounded size in bounded time (`body`), read them as jobs
//! (`parse`), push them (`push`) into queues that are opened when they are first needed, and answer every
//! mistake with its place and remedy (`response`).
//!
//! It runs on a thread and a runtime of its own and shares nothing with the channels but their stores: it can be slow,
//! hang or be flooded without holding up a single job. It never reads jobs. It ends with the master: what is being
//! pushed is given a moment to end, everything else is cut off.

mod auth;
mod body;
mod connection;
mod parse;
mod push;
mod response;
mod server;
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
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::{error, info};

use crate::config::{Config, Http};
use crate::queue_set::QueueSet;
use auth::Auth;
use response::ErrorResponse;

/// Large bodies that are in memory at once; more wait for their turn.
const MAX_LARGE_BODIES: usize = 4;
/// How long requests under way are given when the listener ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the master waits for the listener's end, which is a little more.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);

/// A listener that has its port and serves nobody yet: clients wait.
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
    /// Serves all declared channels on a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread or no descriptors for it.
    pub fn serve(self, config: &Arc<Config>) -> io::Result<RunningListener> {
        let Self { socket, settings, address } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(socket)?
        };
        let routes = routes(&settings, address, config);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("http".to_owned()).spawn(move || {
            // Dropped also by a panic, which must not keep the master waiting.
            let _end = end;
            runtime.block_on(server::run(socket, routes, &settings, stopped));
            runtime.shutdown_timeout(DRAIN_TIMEOUT / 2);
        })?;
        info!(%address, "http listening");
        Ok(RunningListener { address, stop, ended })
    }
}

impl RunningListener {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and gives those under way a moment.
    pub async fn shut_down(self) {
        self.stop.send_replace(true);
        // The answer never comes: the end of the thread drops its side.
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.ended).await.is_err() {
            error!("the HTTP listener did not end in time; it is left behind");
        }
    }
}

/// What every request can use.
struct ListenerState {
    settings: Http,
    auth: Auth,
    queues: QueueSet,
    /// Places for large bodies.
    large_bodies: Arc<Semaphore>,
}

fn routes(settings: &Http, address: SocketAddr, config: &Arc<Config>) -> Router {
    let state = Arc::new(ListenerState {
        auth: Auth::new(settings, address),
        queues: QueueSet::of(Arc::clone(config)),
        large_bodies: Arc::new(Semaphore::new(MAX_LARGE_BODIES)),
        settings: settings.clone(),
    });
    Router::new()
        .route("/health", get(async || response::ok(&json!({ "status": "ok" }))))
        .route("/channels/{channel}/jobs", post(push::push))
        .fallback(async || ErrorResponse::not_found())
        .method_not_allowed_fallback(async || ErrorResponse::method_not_allowed())
        .layer(from_fn_with_state(Arc::clone(&state), auth::authorize))
        .with_state(state)
}
