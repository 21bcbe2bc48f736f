//! The dashboard of one visitor: read-only pages of `queue:dashboard`, which a one-time secret opens.
//!
//! The address of the pages has the secret behind `#`, so that no request line, log or referrer has it. A script sends it once, and
//! gets the cookie of a viewer; a second exchange is refused. No request but a safe one is answered.

use std::sync::{Arc, Mutex};

use aint_queue_core::mutex::lock;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, ALLOW, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use maud::html;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

use super::layer::protect;
use super::parts::{Frame, Language, Page};
use super::rights::{Gate, bearer};
use super::source::{Source, Stores};
use super::{Dashboard, Parts, fixed_files, router};
use crate::config::{self, Config, Http, Secret};
use crate::metrics::RequestMetrics;

/// The path of the exchange.
const ENTRANCE: &str = "/entrance";
/// The path of the form that asks for a token elsewhere.
const LOGIN: &str = "/login";
/// The beginning of the paths of style sheet and scripts, which have no data.
const ASSETS: &str = "/assets/";
/// The name of the only viewer.
const VISITOR: &str = "queue:dashboard";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A random text for addresses and tokens.
fn random_text() -> Option<String> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// The secret in the address of private pages, and the token behind their cookie, which leaves the program signed only.
pub struct OneTimeSecret {
    secret: String,
    token: Secret,
}

impl OneTimeSecret {
    /// A new secret; `None` when the system has no randomness.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self { secret: random_text()?, token: Secret::new(random_text()?) })
    }

    /// The secret, for the address.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.secret
    }

    /// The settings of pages that only the holder of the secret sees; the values of keys in `hide` are shown as dots.
    #[must_use]
    pub fn settings(&self, title: Option<String>, hide: Vec<String>) -> config::Dashboard {
        config::Dashboard {
            title,
            viewers: [(VISITOR.to_owned(), self.token.clone())].into(),
            operators: Default::default(),
            anonymous: false,
            anonymous_sees_payloads: false,
            hide,
        }
    }
}

/// The state of the guard around private pages.
struct Private {
    dashboard: Arc<Dashboard>,
    /// The secret until its exchange.
    secret: Mutex<Option<String>>,
}

/// The routes of the pages that a one-time secret opens; `None` without a dashboard in the settings.
#[must_use]
pub fn private_routes(
    settings: &Http,
    config: &Arc<Config>,
    host: &str,
    stores: Stores,
    source: Arc<dyn Source>,
    metrics: &RequestMetrics,
    secret: OneTimeSecret,
) -> Option<Router> {
    let own = settings.dashboard.as_ref()?;
    let frame = Frame::new(settings, own, host).for_one_visitor();
    let gate = Gate::new(settings, own, metrics).with_cookie(format!("aqs{}", settings.listen.port()));
    let parts = Parts { gate, frame, stores, hide: &own.hide };
    let dashboard = Dashboard::new(parts, config, source, metrics);
    let private = Private { dashboard: Arc::clone(&dashboard), secret: Mutex::new(Some(secret.secret)) };
    Some(router(dashboard).layer(from_fn_with_state(Arc::new(private), guard)))
}

async fn guard(State(private): State<Arc<Private>>, request: Request, next: Next) -> Response {
    let mut response = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allow = [(ALLOW, HeaderValue::from_static("GET, HEAD"))];
        (StatusCode::METHOD_NOT_ALLOWED, allow, "These pages change nothing.\n").into_response()
    } else if request.uri().path() == ENTRANCE {
        private.exchange(request.headers())
    } else if request.uri().path() == LOGIN {
        // Visitors of these pages have no token to sign in with.
        StatusCode::NOT_FOUND.into_response()
    } else if request.uri().path().starts_with(ASSETS) || private.knows(request.headers()).await {
        return next.run(request).await;
    } else if accepts_html(request.headers()) {
        private.entrance(Language::of(request.uri().query(), request.headers()))
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    };
    protect(&mut response);
    response
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|accepted| accepted.to_str().ok());
    accepted.any(|accepted| accepted.contains("text/html"))
}

impl Private {
    /// Whether a request has the cookie.
    async fn knows(&self, headers: &HeaderMap) -> bool {
        self.dashboard.gate.visitor(headers, None).await.is_ok_and(|visitor| visitor.has_signed_in())
    }

    /// The cookie for the secret, once.
    fn exchange(&self, headers: &HeaderMap) -> Response {
        let mut secret = lock(&self.secret);
        let sent = bearer(headers).unwrap_or_default();
        let is_right = secret.as_ref().is_some_and(|secret| bool::from(secret.as_bytes().ct_eq(sent)));
        match self.dashboard.gate.admit(VISITOR) {
            Some(cookie) if is_right => {
                *secret = None;
                (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response()
            }
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    }

    /// The page of a visitor without the cookie, whose script makes the exchange.
    fn entrance(&self, language: Language) -> Response {
        let words = language.words();
        let page = Page {
            title: words.sign_in.to_owned(),
            language,
            chosen: None,
            path: "/".to_owned(),
            live: None,
            shows_notice: false,
            reopens: false,
            content: html! {
                section class="card narrow" {
                    h1 { "queue:dashboard" }
                    p { (words.one_time) }
                }
                script src=(fixed_files::address("entrance.js")) defer {}
            },
        };
        let mut response = self.dashboard.frame.render(&page, None, None);
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response
    }
}
