//! The dashboard: pages, their live updates and the JSON API of a master, for people who look after queues.
//!
//! | path | content |
//! |---|---|
//! | `/` | all channels |
//! | `/channels/{name}` | one channel with its charts, running jobs and workers |
//! | `/channels/{name}/jobs` | the jobs of a state, and search |
//! | `/channels/{name}/jobs/{id}` | one job |
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
mod fixed_files;
mod hidden_keys;
mod layer;
mod pages;
mod parts;
mod picture;
mod private;
mod readings;
mod refusal;
mod rights;
mod source;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::time::timeout;

pub use private::{OneTimeSecret, private_routes};
pub use readings::Readings;
pub use source::{ChannelLook, Source, Stores};

use crate::config::{Config, Http};
use crate::http::Permits;
use crate::job::error_chain;
use crate::store::{Store, StoreError};
use hidden_keys::HiddenKeys;
use parts::Frame;
use picture::{Camera, ChannelPicture, Picture};
use refusal::Refusal;
use rights::Gate;

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
}

impl Dashboard {
    fn new(gate: Gate, frame: Frame, camera: Camera, stores: Stores, hide: &[String]) -> Arc<Self> {
        let streams = Permits::new(MAX_STREAMS, "close some pages of the dashboard");
        Arc::new(Self { gate, frame, camera, stores, hidden: HiddenKeys::new(hide), streams })
    }

    /// A channel of a picture.
    fn found<'a>(&self, picture: &'a Picture, name: &str) -> Result<&'a ChannelPicture, Refusal> {
        let declared = || picture.channels.iter().map(|channel| channel.name.clone()).collect();
        picture.channel(name).ok_or_else(|| Refusal::NoSuchChannel(declared()))
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

/// The routes of the dashboard of a listener; `None` while it is off. Behind a proxy the paths may begin with that of `public_url`.
#[must_use]
pub fn routes(
    settings: &Http,
    config: &Arc<Config>,
    host: &str,
    stores: Stores,
    source: Arc<dyn Source>,
) -> Option<Router> {
    let own = settings.dashboard.as_ref()?;
    let frame = Frame::new(settings, own, host);
    let gate = Gate::new(settings, own);
    let camera = Camera::new(Arc::clone(config), stores.clone(), source);
    Some(router(Dashboard::new(gate, frame, camera, stores, &own.hide)))
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
        .route("/channels/{channel}/actions/{action}", post(actions::of_channel))
        .route("/login", get(pages::login_form).post(pages::log_in))
        .route("/logout", post(pages::log_out))
        .route("/events", get(events::stream))
        .route("/assets/{name}", get(fixed_files::serve))
        .route("/api/v1/channels", get(api::channels))
        .route("/api/v1/channels/{channel}", get(api::channel))
        .route("/api/v1/channels/{channel}/series", get(api::series))
        .route("/api/v1/openapi.json", get(api::description))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&dashboard), layer::identify))
        .with_state(dashboard);
    // A proxy may pass the path of `public_url` on, or remove it.
    if base.is_empty() { pages } else { pages.clone().nest(&base, pages) }
}
