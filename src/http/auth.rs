//! Authorization of a request by its head alone, before its body is read.
//!
//! A listener on loopback without a token is reachable by every program of the machine and, through a browser, by every web
//! page its user visits. Three rules refuse web pages, with or without a token: the `Host` must be an address, `localhost` or a
//! configured name, against DNS rebinding; a request that the browser marks as cross-site is refused; and the content type must be
//! JSON, which a page of another site may send only after a preflight request.
//!
//! A page of the dashboard may be opened by a link on another site: a navigation changes nothing, and the rights of its visitor
//! are checked by the page.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, VIA};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::admission::Place;
use super::peer::Peer;
use super::permits::{Permits, Used};
use super::response::ErrorResponse;
use super::token_guesses::TokenGuesses;
use crate::config::{Http, Secret};
use crate::metrics::{RequestKind, RequestMetrics};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// The route of pushes.
pub(super) const PUSH_ROUTE: &str = "/channels/{channel}/jobs";
/// Most pages and answers of the API at once.
const MAX_PAGES: usize = 64;
/// Most forms with a token at once.
const MAX_SIGN_INS: usize = 16;

/// The rules and the settings they use.
pub(super) struct Auth {
    token: Option<Secret>,
    readers: Readers,
    hosts: Vec<String>,
    address: SocketAddr,
    guesses: TokenGuesses,
    pushes: Permits,
    /// The address by which people reach the listener through a proxy.
    public: Option<PublicAddress>,
    /// The permits of pages; `None` while the dashboard is off.
    pages: Option<Permits>,
    sign_ins: Permits,
}

/// The rule for readers of metrics.
pub(super) struct Readers {
    pub(super) token: Option<Secret>,
    /// Whether the listener serves nothing but metrics and health.
    pub(super) is_own_listener: bool,
}

/// Whether the client of a request may read names and details.
#[derive(Clone, Copy, Debug)]
pub(super) struct MayRead(pub(super) bool);

/// The use of the permits of a listener when a page was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Pushes that are under way.
    pub pushes: Used,
    /// Pages and answers of the API that are under way.
    pub pages: Used,
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Health, in words without names: open to all clients.
    Health,
    Metrics,
    /// A push, or a path that does not exist.
    Push,
    /// A page of the dashboard, or an answer of its API.
    Page,
    /// The form with a token, before any right is known.
    SignIn,
    /// A stream of the dashboard, which lasts as long as its page.
    Stream,
}

impl Asked {
    fn by(request: &Request, has_pages: bool) -> Self {
        match request.uri().path() {
            "/health" | "/healthz" | "/readyz" => Self::Health,
            "/metrics" => Self::Metrics,
            _ if has_pages => {
                let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
                if request.method() == Method::POST && route == Some(PUSH_ROUTE) {
                    Self::Push
                } else if request.method() == Method::POST
                    && route.is_some_and(|route| route.ends_with("/login"))
                {
                    Self::SignIn
                } else if route.is_some_and(|route| route.ends_with("/events")) {
                    Self::Stream
                } else {
                    Self::Page
                }
            }
            _ => Self::Push,
        }
    }
}

/// Middleware for every path: refuses requests that break a rule.
pub(super) async fn authorize(State(auth): State<Arc<Auth>>, mut request: Request, next: Next) -> Response {
    let asked = Asked::by(&request, auth.pages.is_some());
    let may_be_linked = asked == Asked::Page && request.method().is_safe();
    if let Err(refusal) = auth.check(request.uri(), request.headers(), may_be_linked) {
        return refusal.into_response();
    }
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let peer = place.as_ref().map(|place| place.peer());
    let permits = match asked {
        Asked::Health => {
            let may_read = auth.may_read_details(request.headers());
            request.extensions_mut().insert(MayRead(may_read));
            return next.run(request).await;
        }
        // Read from memory: a scrape takes no place from producers.
        Asked::Metrics => {
            return match auth.check_scrape(request.headers(), peer).await {
                Ok(()) => next.run(request).await,
                Err(refusal) => refusal.into_response(),
            };
        }
        // A stream has a permit of its own, and its connection is never idle.
        Asked::Stream => {
            if let Some(place) = &place {
                place.mark_busy();
            }
            let response = next.run(request).await;
            if let Some(place) = place.filter(|_| response.status() != StatusCode::OK) {
                place.mark_idle(Instant::now());
            }
            return response;
        }
        // The dashboard checks the rights of its visitors.
        Asked::Page => {
            let pages = auth.pages.as_ref().unwrap_or(&auth.pushes);
            request.extensions_mut().insert(Usage { pushes: auth.pushes.used(), pages: pages.used() });
            pages
        }
        // Strangers may send forms slowly: they keep no page from others.
        Asked::SignIn => &auth.sign_ins,
        Asked::Push if auth.token.is_none() && auth.is_proxied(request.headers()) => {
            let error = "a push through a proxy needs a token: set token in [http]";
            return ErrorResponse::new(StatusCode::FORBIDDEN, error).into_response();
        }
        Asked::Push => match auth.check_token(auth.token.as_ref(), request.headers(), peer).await {
            Ok(()) => &auth.pushes,
            Err(refusal) => return refusal.into_response(),
        },
    };
    let _permit = match permits.take(Instant::now()) {
        Ok(permit) => permit,
        Err(at_limit) => return ErrorResponse::unavailable(at_limit.to_string()).into_response(),
    };
    if let Some(place) = &place {
        place.mark_busy();
    }
    let response = next.run(request).await;
    if let Some(place) = &place {
        place.mark_idle(Instant::now());
    }
    response
}

impl Auth {
    pub(super) fn new(
        settings: &Http,
        address: SocketAddr,
        readers: Readers,
        metrics: &RequestMetrics,
    ) -> Self {
        let limit = settings.max_connections;
        let public = PublicAddress::of(settings);
        Self {
            token: settings.token.clone(),
            readers,
            hosts: settings.hosts.clone(),
            public,
            address,
            guesses: TokenGuesses::new(metrics),
            pushes: Permits::new(
                RequestKind::Push,
                limit,
                "raise max_connections in [http] if this repeats",
                metrics,
            ),
            pages: settings.dashboard.is_some().then(|| {
                Permits::new(RequestKind::Page, MAX_PAGES, "close some pages of the dashboard", metrics)
            }),
            sign_ins: Permits::new(
                RequestKind::SignIn,
                MAX_SIGN_INS,
                "try to sign in again in a moment",
                metrics,
            ),
        }
    }

    /// Checks the head of a request, except for its token. `may_be_linked`: a link of another site may lead to it.
    fn check(&self, uri: &Uri, headers: &HeaderMap, may_be_linked: bool) -> Result<(), ErrorResponse> {
        let host = host(uri, headers)?;
        if self.checks_host() && !self.is_own_host(&host) {
            let error = format!(
                "the host \"{}\" is not one of this listener: use its address, {}, or add the name to hosts in [{}]",
                host.host().escape_debug(),
                self.address,
                if self.readers.is_own_listener { "metrics" } else { "http" }
            );
            return Err(ErrorResponse::new(StatusCode::MISDIRECTED_REQUEST, error));
        }
        if is_cross_site(headers, &host, self.public.as_ref()) && !(may_be_linked && is_navigation(headers)) {
            let error = "cross-site request of a browser: push from a program instead";
            return Err(ErrorResponse::new(StatusCode::FORBIDDEN, error));
        }
        Ok(())
    }

    /// Web pages could read a listener on loopback by a name of theirs that means this machine. A listener for scrapes on the
    /// network may have any name.
    fn checks_host(&self) -> bool {
        !self.readers.is_own_listener || self.address.ip().is_loopback()
    }

    /// Whether a request has come through a proxy.
    fn is_proxied(&self, headers: &HeaderMap) -> bool {
        is_proxied(headers) || self.public.as_ref().is_some_and(|public| public.is_named_by(headers))
    }

    /// Checks that the client of a request may read metrics.
    async fn check_scrape(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<(), ErrorResponse> {
        if self.readers.token.is_none() && !self.is_open_to_readers() {
            let error = "metrics need a token here: set token in [metrics], or give them a listener with listen in [metrics]";
            return Err(ErrorResponse::new(StatusCode::FORBIDDEN, error));
        }
        self.check_token(self.readers.token.as_ref(), headers, peer).await
    }

    fn is_open_to_readers(&self) -> bool {
        self.readers.is_own_listener || self.address.ip().is_loopback()
    }

    /// Whether the client of a request may read names of channels and errors.
    fn may_read_details(&self, headers: &HeaderMap) -> bool {
        match &self.readers.token {
            Some(token) => has_token(token, headers),
            None => self.is_open_to_readers() && self.token.is_none(),
        }
    }

    /// Checks the token of a request of `peer`; without a token every request passes.
    async fn check_token(
        &self,
        token: Option<&Secret>,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<(), ErrorResponse> {
        let Some(token) = token else { return Ok(()) };
        if let Some(peer) = peer
            && !self.guesses.delay(peer).await
        {
            let error = "too many wrong tokens from this address: retry later with the right one";
            return Err(ErrorResponse::unavailable(error).closing());
        }
        if has_token(token, headers) {
            return Ok(());
        }
        if let Some(peer) = peer {
            self.guesses.wrong(peer, self.address);
        }
        Err(ErrorResponse::unauthorized())
    }

    fn is_own_host(&self, host: &Authority) -> bool {
        let name = host.host().to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_suffix('.').unwrap_or(&name);
        bare.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || self.hosts.iter().any(|known| known == name)
            || self.public.as_ref().is_some_and(|public| public.host == name)
    }
}

fn has_token(token: &Secret, headers: &HeaderMap) -> bool {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (Some(sent), None) = (sent.next(), sent.next()) else { return false };
    let Some((scheme, sent)) = sent.as_bytes().split_at_checked(7) else { return false };
    let sent = sent.trim_ascii();
    // The comparison takes constant time; its time reveals only the length of the token.
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(sent.ct_eq(token.reveal().as_bytes()))
}

/// The host that the client addresses.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, ErrorResponse> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    let mut sent = headers.get_all(HOST).iter();
    let host = match (sent.next(), sent.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    };
    host.ok_or_else(|| ErrorResponse::bad_request("the request needs one valid Host header"))
}

/// The headers that proxies add, beside those that begin with `x-forwarded-`.
const OF_PROXIES: [HeaderName; 3] = [FORWARDED, VIA, HeaderName::from_static("x-real-ip")];

/// Whether the headers of a request show that a proxy has passed the request on: it may come from anywhere.
#[must_use]
pub fn is_proxied(headers: &HeaderMap) -> bool {
    OF_PROXIES.iter().any(|name| headers.contains_key(name))
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"))
}

/// The host and the origin of a base of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    host: String,
    origin: String,
}

impl PublicAddress {
    /// The address of `public_url`.
    #[must_use]
    pub fn of(settings: &Http) -> Option<Self> {
        let url: Uri = settings.public_url.as_deref()?.parse().ok()?;
        let origin = format!("{}://{}", url.scheme_str()?, url.authority()?).to_ascii_lowercase();
        Some(Self { host: url.host()?.to_ascii_lowercase(), origin })
    }

    /// Whether a request names this host: people reach it through a proxy.
    #[must_use]
    pub fn is_named_by(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        sent.is_some_and(|host| host.host().eq_ignore_ascii_case(&self.host))
    }
}

/// Whether a browser marks the request as the opening of a page in a window.
fn is_navigation(headers: &HeaderMap) -> bool {
    let is = |name: HeaderName, value: &str| {
        let mut sent = headers.get_all(name).iter();
        sent.next().is_some_and(|sent| sent == value) && sent.next().is_none()
    };
    is(FETCH_MODE, "navigate") && is(FETCH_DEST, "document")
}

/// Whether a browser marks the request as sent by a page of another site.
fn is_cross_site(headers: &HeaderMap, host: &Authority, public: Option<&PublicAddress>) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter();
    let mut origins = headers.get_all(ORIGIN).iter();
    let foreign = |origin: &[u8]| {
        let own = |scheme: &[u8]| {
            let authority = origin.strip_prefix(scheme);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str().as_bytes()))
        };
        let is_public = public.is_some_and(|public| origin.eq_ignore_ascii_case(public.origin.as_bytes()));
        !is_public && !own(b"http://") && !own(b"https://")
    };
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
        || origins.any(|origin| foreign(origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn auth() -> Auth {
        let settings = Http {
            listen: ([127, 0, 0, 1], 9465).into(),
            token: None,
            hosts: vec!["queue.internal".to_owned()],
            max_body: 1,
            max_connections: 1,
            max_connections_per_peer: 1,
            timeout: Duration::ZERO,
            public_url: None,
            dashboard: None,
        };
        let metrics = crate::metrics::Metrics::default().requests();
        Auth::new(&settings, settings.listen, Readers { token: None, is_own_listener: false }, &metrics)
    }

    /// The status of the refusal of a request with these headers.
    fn refused(auth: &Auth, path: &str, headers: &[(&'static str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        auth.check(&path.parse().unwrap(), &map, false).err().map(|refusal| refusal.status().as_u16())
    }

    fn has_token(values: &[&str]) -> bool {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(AUTHORIZATION, value.parse().unwrap());
        }
        super::has_token(&Secret::new("s3cret"), &map)
    }

    #[test]
    fn host_is_an_address_or_a_known_name() {
        let auth = auth();
        let host = |name: &str| refused(&auth, "/x", &[("host", name)]);
        for good in
            ["127.0.0.1:9465", "10.0.0.7", "[::1]:9465", "localhost:1", "LOCALHOST.", "Queue.internal:80"]
        {
            assert_eq!(host(good), None, "{good}");
        }
        for bad in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:9465", "x.localhost", "queue"]
        {
            assert_eq!(host(bad), Some(421), "{bad}");
        }
        assert_eq!(refused(&auth, "/x", &[]), Some(400));
        assert_eq!(refused(&auth, "/x", &[("host", "127.0.0.1"), ("host", "127.0.0.1")]), Some(400));
        assert_eq!(host("a b"), Some(400));
        assert_eq!(refused(&auth, "http://evil.example/x", &[("host", "127.0.0.1")]), Some(421));
    }

    #[test]
    fn cross_site_request_is_refused() {
        let auth = auth();
        let sent = |name: &'static str, value: &str| {
            refused(&auth, "/x", &[("host", "127.0.0.1:9465"), (name, value)])
        };
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1:8080"),
            ("origin", "null"),
        ] {
            assert_eq!(sent(name, value), Some(403), "{name}: {value}");
        }
        for (name, value) in [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("origin", "http://127.0.0.1:9465"),
        ] {
            assert_eq!(sent(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn token_matches_only_as_a_whole() {
        assert!(has_token(&["Bearer s3cret"]) && has_token(&["bearer  s3cret "]));
        for wrong in ["Bearer s3cre", "Bearer s3cretx", "Bearer ", "Bearer", "s3cret", "Basic s3cret", ""] {
            assert!(!has_token(&[wrong]), "{wrong}");
        }
        assert!(!has_token(&["Bearer s3cret", "Bearer s3cret"]));
        assert!(!has_token(&[]));
    }

    /// The status of the refusal of a scrape at this listener, with a bearer token.
    async fn scrape(listen: [u8; 4], token: Option<&str>, is_own_listener: bool, sent: &str) -> Option<u16> {
        let settings = Http {
            listen: (listen, 9465).into(),
            token: Some(Secret::new("push-token")),
            hosts: Vec::new(),
            max_body: 1,
            max_connections: 1,
            max_connections_per_peer: 1,
            timeout: Duration::ZERO,
            public_url: None,
            dashboard: None,
        };
        let readers = Readers { token: token.map(Secret::new), is_own_listener };
        let auth =
            Auth::new(&settings, settings.listen, readers, &crate::metrics::Metrics::default().requests());
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, format!("Bearer {sent}").parse().unwrap());
        auth.check_scrape(&headers, None).await.err().map(|refusal| refusal.status().as_u16())
    }

    #[tokio::test]
    async fn metrics_need_their_own_token_or_listener_or_loopback() {
        let (loopback, network) = ([127, 0, 0, 1], [10, 0, 0, 7]);
        assert_eq!(scrape(loopback, None, false, "").await, None);
        assert_eq!(scrape(network, None, true, "").await, None);
        assert_eq!(scrape(network, None, false, "push-token").await, Some(403));
        for is_own in [false, true] {
            assert_eq!(scrape(network, Some("scrape-token"), is_own, "scrape-token").await, None);
            assert_eq!(scrape(loopback, Some("scrape-token"), is_own, "push-token").await, Some(401));
        }
    }
}
