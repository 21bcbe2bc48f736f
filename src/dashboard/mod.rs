//! The dashboard: pages, their live updates and the JSON API of a master, for people who look after queues.
//!
//! | path | content |
//! |---|---|
//! | `/` | all channels |
//! | `/channels/{name}` | one channel with its charts, running jobs and workers |
//! | `/channels/{name}/jobs` | the jobs of a state, and search |
//! | `/channels/{name}/jobs/{id}` | one job |
//! | `/channels/{name}/workers/{pid}` | one worker with its processes |
//! | `/alerts` | alerts, silences and receivers of all channels |
//! | `/activity` | the last actions and events |
//! | `/system` | masters, stores, limits and the configuration |
//! | `/report` | a summary of a period, to print |
//! | `/login`, `/logout` | sign in with a token |
//! | `/events` | numbers of the pages as they change |
//! | `/api/v1/…` | the same as JSON |
//! | `/assets/…` | style sheet and script |
//!
//! Every page is whole HTML from the server and works without script; the script keeps its numbers up to date. Pages show a
//! picture that is taken at most once a second for all visitors, from the memory of the master.
//!
//! Duties: know visitors and their rights (`rights`), take pictures (`picture`), render them (`pages`, from `parts` and `chart`),
//! as JSON (`api`), and as events (`events`), and carry out the actions of operators (`actions`).

mod actions;
mod api;
mod chart;
mod events;
mod explanation;
mod fixed_files;
mod hidden_keys;
mod layer;
mod pages;
mod parts;
mod picture;
mod private;
mod process_trees;
mod readings;
mod refusal;
mod rights;
mod source;
mod ticks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::time::timeout;

pub use private::{OneTimeSecret, private_routes};
pub use readings::Readings;
pub use source::{ChannelLook, OwnResources, Source, Stores};

use crate::config::{Config, Http};
use crate::http::Permits;
use crate::job::error_chain;
use crate::metrics::{RequestKind, RequestMetrics};
use crate::queue_set::QueueSet;
use crate::store::{Store, StoreError};
use hidden_keys::HiddenKeys;
use parts::{Frame, Page, named};
use picture::{Camera, ChannelPicture, Picture};
use process_trees::ProcessTrees;
use refusal::Refusal;
use rights::{Gate, Visitor};
use ticks::Ticks;

/// Longest time for the answer of a store to a page.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// Most streams of live updates at once.
const MAX_STREAMS: usize = 64;

/// The parts that all requests share.
struct Dashboard {
    gate: Gate,
    frame: Frame,
    camera: Camera,
    stores: Stores,
    hidden: HiddenKeys,
    streams: Permits,
    ticks: Ticks,
    trees: ProcessTrees,
    /// The configuration of the start of the master.
    config: Arc<Config>,
    source: Arc<dyn Source>,
    /// The queues into which operators push jobs.
    queues: QueueSet,
}

/// The parts of a dashboard that differ between a listener and the pages of one visitor.
struct Parts<'a> {
    gate: Gate,
    frame: Frame,
    stores: Stores,
    /// Keys whose values are not shown.
    hide: &'a [String],
}

impl Dashboard {
    fn new(
        parts: Parts,
        config: &Arc<Config>,
        source: Arc<dyn Source>,
        metrics: &RequestMetrics,
    ) -> Arc<Self> {
        let Parts { gate, frame, stores, hide } = parts;
        Arc::new(Self {
            gate,
            frame,
            camera: Camera::new(Arc::clone(config), stores.clone(), Arc::clone(&source)),
            stores,
            hidden: HiddenKeys::new(hide),
            streams: Permits::new(
                RequestKind::Stream,
                MAX_STREAMS,
                "close some pages of the dashboard",
                metrics,
            ),
            ticks: Ticks::default(),
            trees: ProcessTrees::default(),
            config: Arc::clone(config),
            source,
            queues: QueueSet::of(Arc::clone(config)),
        })
    }

    /// A channel of a picture, by the part of an address that names it.
    fn found<'a>(&self, picture: &'a Picture, part: &str) -> Result<&'a ChannelPicture, Refusal> {
        let declared = || picture.channels.iter().map(|channel| channel.name.clone()).collect();
        picture.channel(named(part)).ok_or_else(|| Refusal::NoSuchChannel(declared()))
    }

    /// The whole page for a visitor.
    fn render(&self, page: &Page, visitor: &Visitor) -> Response {
        self.frame.render(page, visitor.name.as_deref(), Some(self.camera.firing()))
    }

    /// The store of a channel.
    fn store(&self, channel: &str) -> Result<&dyn Store, Refusal> {
        self.stores.get(channel).map(|store| &**store).ok_or(Refusal::NoSuchPage)
    }
}

/// The answer of a store, within [`STORE_TIMEOUT`].
async fn answered<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, Refusal> {
    match timeout(STORE_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Refusal::StoreDown(error_chain(&error))),
        Err(_) => Err(Refusal::StoreDown(String::new())),
    }
}

/// The answer of a store to an action, however long it takes: an action that is dropped in the middle may be half done.
async fn stored<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, Refusal> {
    call.await.map_err(|error| Refusal::StoreDown(error_chain(&error)))
}

/// The routes of the dashboard of a listener; `None` while it is off. Behind a proxy the paths may begin with that of `public_url`.
#[must_use]
pub fn routes(
    settings: &Http,
    config: &Arc<Config>,
    host: &str,
    stores: Stores,
    source: Arc<dyn Source>,
    metrics: &RequestMetrics,
) -> Option<Router> {
    let own = settings.dashboard.as_ref()?;
    let frame = Frame::new(settings, own, host);
    let gate = Gate::new(settings, own, metrics);
    let parts = Parts { gate, frame, stores, hide: &own.hide };
    Some(router(Dashboard::new(parts, config, source, metrics)))
}

fn router(dashboard: Arc<Dashboard>) -> Router {
    let base = dashboard.frame.base_path().to_owned();
    let mut pages = Router::new();
    if !base.is_empty() {
        // `nest` has no route for the path with a slash at its end.
        pages = pages.route(&format!("{base}/"), get(pages::overview));
    }
    let pages = pages
        .route("/", get(pages::overview))
        .route("/channels/{channel}", get(pages::channel))
        .route("/channels/{channel}/jobs", get(pages::jobs))
        .route("/channels/{channel}/jobs/{id}", get(pages::job))
        .route("/channels/{channel}/jobs/{id}/{action}", post(actions::of_job))
        .route("/channels/{channel}/workers/{pid}", get(pages::worker))
        .route("/channels/{channel}/workers/{pid}/{action}", post(actions::of_worker))
        .route("/channels/{channel}/actions/{action}", post(actions::of_channel))
        .route("/alerts", get(pages::alerts))
        .route("/alerts/test", post(actions::test_receiver))
        .route("/activity", get(pages::activity))
        .route("/system", get(pages::system))
        .route("/report", get(pages::report))
        .route("/login", get(pages::login_form).post(pages::log_in))
        .route("/logout", post(pages::log_out))
        .route("/events", get(events::stream))
        .route("/assets/{name}", get(fixed_files::serve))
        .route("/api/v1/channels", get(api::channels))
        .route("/api/v1/channels/{channel}", get(api::channel))
        .route("/api/v1/channels/{channel}/series", get(api::series))
        .route("/api/v1/alerts", get(api::alerts))
        .route("/api/v1/activity", get(api::activity))
        .route("/api/v1/openapi.json", get(api::description))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&dashboard), layer::identify))
        .with_state(dashboard);
    // A proxy may pass the path of `public_url` on, or remove it.
    if base.is_empty() { pages } else { pages.clone().nest(&base, pages) }
}
