//! The HTTP listener of a master: producers in any language push jobs through it.
//!
//! | request | meaning of status 200 or 201 |
//! |---|---|
//! | `POST /channels/{name}/jobs` | the job or every job of the array in the body is in the channel |
//! | `GET /metrics` | the metrics of the master, from memory |
//! | `GET /healthz`, `GET /health` | every channel of the master answers |
//! | `GET /readyz` | jobs of every channel can run |
//!
//! `[metrics] listen` is a listener of its own for all but the pushes.
//!
//! Duties: give places to connections (`admission`), authorize requests (`auth`, `token_guesses`) and give them permits (`permits`), read bodies within limits of size and time (`body`), parse them into jobs (`parse`), push
//! these into queues that open on first use (`push`), show the master (`observed`), and answer every error with its place and remedy (`response`).
//!
//! The listener runs on its own thread and runtime and shares only the stores with the channels: a slow, hung or flooded
//! listener delays no job. It never reads jobs. It ends with the master: pending pushes get a short time to finish, all other
//! connections are closed.

mod admission;
mod auth;
mod body;
mod connection;
mod event_log;
mod observed;
mod parse;
mod peer;
mod permits;
mod push;
mod response;
mod server;
mod token_guesses;
mod unread;
mod write_timeout;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use crate::config::{Config, Dashboard, Http, Secret};
use crate::metrics::{OTHER_ROUTE, RequestMetrics};
use crate::producer_memory::ProducerMemory;
use crate::queue_set::QueueSet;
pub use admission::Place;
use auth::{Auth, Readers};
pub use auth::{PublicAddress, Usage, is_proxied};
pub use connection::Stopping;
use observed::View;
pub use observed::{ChannelHealth, Observed};
pub use peer::Peer;
pub use permits::{AtLimit, Permit, Permits, Used};
use response::ErrorResponse;
pub use token_guesses::TokenGuesses;
use unread::UnreadMemory;

/// Time for pending requests after the stop of the listener.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Time the master waits for the end of the listener; longer than [`DRAIN_TIMEOUT`] plus the end of the runtime.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);

/// The state that all requests share.
struct ListenerState {
    settings: Http,
    queues: QueueSet,
    memory: ProducerMemory,
    unread: UnreadMemory,
    metrics: RequestMetrics,
}

/// Memory of the pages of a command, in MiB; unread responses take a part of it.
const PAGES_MEMORY_MIB: u64 = 64;
/// Most connections of a listener for metrics.
const SCRAPE_CONNECTIONS: usize = 64;
/// Longest time for each part of a request to a listener for metrics.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// A listener with a bound port that does not serve yet: clients wait in the system's accept queue.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: Http,
    address: SocketAddr,
    /// Whether producers push jobs here.
    for_producers: bool,
    scrape_token: Option<Secret>,
}

/// A listener that serves.
#[derive(Debug)]
pub struct RunningListener {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

/// The key of the address for producers.
pub const LISTEN_KEY: &str = "http.listen";
/// The key of the address for readers of metrics.
pub const METRICS_LISTEN_KEY: &str = "metrics.listen";

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("could not listen on {address} ({key})")]
pub struct BindError {
    /// The key of the configuration that names the address.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The cause: the address is taken, or not one of this machine.
    #[source]
    pub source: io::Error,
}

/// The addresses that a master with this configuration listens on, each with its key.
pub fn addresses(config: &Config) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let http = config.http.iter().map(|http| (LISTEN_KEY, http.listen));
    http.chain(config.metrics.listen.map(|listen| (METRICS_LISTEN_KEY, listen)))
}

/// The addresses that a master listens on, taken.
///
/// # Errors
/// The address that is taken, or is not one of this machine.
pub fn bind(config: &Config) -> Result<Vec<Listener>, BindError> {
    let token = &config.metrics.token;
    let mut listeners = Vec::new();
    if let Some(settings) = &config.http {
        listeners.push(Listener::bind(settings.clone(), true, token.clone())?);
    }
    if let Some(listen) = config.metrics.listen {
        let settings = Http {
            listen,
            token: None,
            hosts: config.metrics.hosts.clone(),
            max_body: 0,
            max_connections: SCRAPE_CONNECTIONS,
            max_connections_per_peer: SCRAPE_CONNECTIONS,
            timeout: SCRAPE_TIMEOUT,
            public_url: None,
            dashboard: None,
        };
        listeners.push(Listener::bind(settings, false, token.clone())?);
    }
    Ok(listeners)
}

impl Listener {
    /// The settings of the listener for producers, which has the dashboard, too; `None` for that of metrics.
    #[must_use]
    pub fn for_producers(&self) -> Option<&Http> {
        self.for_producers.then_some(&self.settings)
    }

    /// A listener on a free port of loopback for the pages of this dashboard alone: no pushes and no metrics.
    ///
    /// # Errors
    /// When the machine has no free port.
    pub fn for_pages(dashboard: Dashboard) -> Result<Self, BindError> {
        let settings = Http {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            token: None,
            hosts: Vec::new(),
            max_body: 0,
            max_connections: SCRAPE_CONNECTIONS,
            max_connections_per_peer: SCRAPE_CONNECTIONS,
            timeout: SCRAPE_TIMEOUT,
            public_url: None,
            dashboard: Some(dashboard),
        };
        let mut listener = Self::bind(settings, true, None)?;
        listener.settings.listen = listener.address;
        Ok(listener)
    }

    /// The settings, with the address that was taken.
    #[must_use]
    pub fn settings(&self) -> &Http {
        &self.settings
    }

    /// Serves pages and nothing else on a new thread; the pages check the rights of their visitors.
    ///
    /// # Errors
    /// When the system has no free thread or descriptor.
    pub fn serve_pages(self, pages: Router, metrics: RequestMetrics) -> io::Result<RunningListener> {
        let readers = Readers { token: None, is_own_listener: false };
        let auth = Arc::new(Auth::new(&self.settings, self.address, readers, &metrics));
        let unread = UnreadMemory::new(&ProducerMemory::new(PAGES_MEMORY_MIB, 0), self.settings.timeout);
        let pages = pages
            .layer(from_fn_with_state(auth, auth::authorize))
            .layer(from_fn_with_state(unread.clone(), unread::counted));
        self.start(pages, unread, metrics, "pages")
    }

    fn bind(settings: Http, for_producers: bool, scrape_token: Option<Secret>) -> Result<Self, BindError> {
        let bind = || {
            let socket = TcpListener::bind(settings.listen)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let key = if for_producers { LISTEN_KEY } else { METRICS_LISTEN_KEY };
        let (socket, address) =
            bind().map_err(|source| BindError { key, address: settings.listen, source })?;
        Ok(Self { socket, settings, address, for_producers, scrape_token })
    }

    /// Serves all declared channels on a new thread. Requests share `memory`; `pages` are those of the dashboard, which check the
    /// rights of their visitors.
    ///
    /// # Errors
    /// When the system has no free thread or descriptor.
    pub fn serve(
        self,
        config: &Arc<Config>,
        memory: ProducerMemory,
        observed: Arc<dyn Observed>,
        metrics: RequestMetrics,
        pages: Option<Router>,
    ) -> io::Result<RunningListener> {
        let name = if self.for_producers { "http" } else { "metrics" };
        let unread = UnreadMemory::new(&memory, self.settings.timeout);
        let routes = self.routes(config, (memory, unread.clone()), observed, metrics.clone(), pages);
        self.start(routes, unread, metrics, name)
    }

    fn start(
        self,
        routes: Router,
        unread: UnreadMemory,
        metrics: RequestMetrics,
        name: &'static str,
    ) -> io::Result<RunningListener> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Self { socket, settings, address, .. } = self;
        let socket = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(socket)?
        };
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // A panic of the thread drops this too, so that the master does not wait in vain.
            let _end = end;
            runtime.block_on(server::run(socket, routes, &settings, &unread, &metrics, stopped));
            runtime.shutdown_timeout(DRAIN_TIMEOUT / 2);
        })?;
        info!(%address, "{name} listening");
        Ok(RunningListener { address, stop, ended })
    }

    fn routes(
        &self,
        config: &Arc<Config>,
        (memory, unread): (ProducerMemory, UnreadMemory),
        observed: Arc<dyn Observed>,
        metrics: RequestMetrics,
        pages: Option<Router>,
    ) -> Router {
        let for_all = unread.clone();
        let readers = Readers { token: self.scrape_token.clone(), is_own_listener: !self.for_producers };
        let auth = Arc::new(Auth::new(&self.settings, self.address, readers, &metrics));
        let view = Router::new()
            .route("/health", get(observed::healthz))
            .route("/healthz", get(observed::healthz))
            .route("/readyz", get(observed::readyz))
            .route("/metrics", get(observed::metrics))
            .with_state(Arc::new(View::new(observed)));
        let routes = if self.for_producers {
            let queues = QueueSet::of(Arc::clone(config));
            let metrics = metrics.clone();
            let state = ListenerState { settings: self.settings.clone(), queues, memory, unread, metrics };
            let view = view.route(auth::PUSH_ROUTE, post(push::push).with_state(Arc::new(state)));
            match pages {
                Some(pages) => view.merge(pages),
                None => view
                    .fallback(async || ErrorResponse::not_found())
                    .method_not_allowed_fallback(async || ErrorResponse::method_not_allowed()),
            }
        } else {
            view.fallback(async || ErrorResponse::only_metrics())
        };
        routes
            .layer(from_fn_with_state(auth, auth::authorize))
            .layer(from_fn_with_state(metrics, measured))
            .layer(from_fn_with_state(for_all, unread::counted))
    }
}

/// Counts a request, refused ones too.
async fn measured(State(metrics): State<RequestMetrics>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(OTHER_ROUTE, MatchedPath::as_str);
    metrics.answered(route, response.status().as_u16(), begun.elapsed());
    response
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
