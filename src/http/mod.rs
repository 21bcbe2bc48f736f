//! The HTTP listener of a master: producers in any language push jobs through it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /channels/{name}/jobs` | the job in the body, or all of an array, is in the channel |
//! | `GET /health` | the listener serves |
//!
//! Duties: let in whoever may push (`guard`), take bodies of bounded size in bounded time (`body`), read them as jobs
//! (`input`), push them (`push`) into queues that are opened when they are first needed, and answer every
//! mistake with its place and remedy (`answer`).
//!
//! It runs on a thread and a runtime of its own and shares nothing with the channels but their stores: it can be slow,
//! hang or be flooded without holding up a single job. It never reads jobs. It ends with the master: what is being
//! pushed is given a moment to end, everything else is cut off.

mod answer;
mod body;
mod connection;
mod guard;
mod input;
mod patience;
mod push;
mod server;

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
use crate::queues::Queues;
use answer::Refusal;
use guard::Guard;

/// Large bodies that are in memory at once; more wait for their turn.
const LARGE_BODIES: usize = 4;
/// How long requests under way are given when the listener ends.
const LAST_REQUESTS: Duration = Duration::from_secs(2);
/// How long the master waits for the listener's end, which is a little more.
const END: Duration = Duration::from_secs(4);

/// A listener that has its port and serves nobody yet: clients wait.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: Http,
    address: SocketAddr,
}

/// A listener that serves.
#[derive(Debug)]
pub struct Serving {
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
    pub fn serve(self, config: &Arc<Config>) -> io::Result<Serving> {
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
            runtime.shutdown_timeout(LAST_REQUESTS / 2);
        })?;
        info!(%address, "http listening");
        Ok(Serving { address, stop, ended })
    }
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and gives those under way a moment.
    pub async fn shut_down(self) {
        self.stop.send_replace(true);
        // The answer never comes: the end of the thread drops its side.
        if tokio::time::timeout(END, self.ended).await.is_err() {
            error!("the HTTP listener did not end in time; it is left behind");
        }
    }
}

/// What every request can use.
struct State {
    settings: Http,
    guard: Guard,
    queues: Queues,
    /// Places for large bodies.
    large: Arc<Semaphore>,
}

fn routes(settings: &Http, address: SocketAddr, config: &Arc<Config>) -> Router {
    let state = Arc::new(State {
        guard: Guard::new(settings, address),
        queues: Queues::of(Arc::clone(config)),
        large: Arc::new(Semaphore::new(LARGE_BODIES)),
        settings: settings.clone(),
    });
    Router::new()
        .route("/health", get(async || answer::ok(&json!({ "status": "ok" }))))
        .route("/channels/{channel}/jobs", post(push::push))
        .fallback(async || Refusal::no_such_page())
        .method_not_allowed_fallback(async || Refusal::wrong_method())
        .layer(from_fn_with_state(Arc::clone(&state), guard::watch))
        .with_state(state)
}
