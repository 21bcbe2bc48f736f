//! Authorization of a request by its head alone, before its body is read.
//!
//! A listener on loopback without a token is reachable by every program of the machine and, through a browser, by every web
//! page its user visits. Three rules refuse web pages, with or without a token: the `Host` must be an address, `localhost` or a
//! configured name, against DNS rebinding; a request that the browser marks as cross-site is refused; and the content type must be
//! JSON, which a page of another site may send only after a preflight request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::admission::Place;
use super::peer::Peer;
use super::response::ErrorResponse;
use super::token_guesses::TokenGuesses;
use crate::config::{Http, Secret};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The path that needs no token, because its response has no information.
const PUBLIC_PATH: &str = "/health";

/// The rules and the settings they use.
pub(super) struct Auth {
    token: Option<Secret>,
    hosts: Vec<String>,
    address: SocketAddr,
    guesses: TokenGuesses,
}

/// Middleware for every path: refuses requests that break a rule.
pub(super) async fn authorize(State(auth): State<Arc<Auth>>, request: Request, next: Next) -> Response {
    if let Err(refusal) = auth.check(request.uri(), request.headers()) {
        return refusal.into_response();
    }
    if request.uri().path() == PUBLIC_PATH {
        return next.run(request).await;
    }
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let peer = place.as_ref().map(|place| place.peer());
    if let Err(refusal) = auth.check_token(request.headers(), peer).await {
        return refusal.into_response();
    }
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
    pub(super) fn new(settings: &Http, address: SocketAddr) -> Self {
        Self {
            token: settings.token.clone(),
            hosts: settings.hosts.clone(),
            address,
            guesses: TokenGuesses::default(),
        }
    }

    /// Checks the head of a request, except for its token.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ErrorResponse> {
        let host = host(uri, headers)?;
        if !self.is_own_host(&host) {
            let error = format!(
                "the host \"{}\" is not one of this listener: use its address, {}, or add the name to hosts in [http]",
                host.host().escape_debug(),
                self.address
            );
            return Err(ErrorResponse::new(StatusCode::MISDIRECTED_REQUEST, error));
        }
        if is_cross_site(headers, &host) {
            let error = "cross-site request of a browser: push from a program instead";
            return Err(ErrorResponse::new(StatusCode::FORBIDDEN, error));
        }
        Ok(())
    }

    /// Checks the token of a request of `peer`.
    async fn check_token(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<(), ErrorResponse> {
        if self.token.is_none() {
            return Ok(());
        }
        if let Some(peer) = peer
            && !self.guesses.delay(peer).await
        {
            let error = "too many wrong tokens from this address: retry later with the right one";
            return Err(ErrorResponse::unavailable(error).closing());
        }
        if self.has_token(headers) {
            return Ok(());
        }
        if let Some(peer) = peer {
            self.guesses.wrong(peer);
        }
        Err(ErrorResponse::unauthorized())
    }

    fn is_own_host(&self, host: &Authority) -> bool {
        let name = host.host().to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_suffix('.').unwrap_or(&name);
        bare.parse::<IpAddr>().is_ok() || name == "localhost" || self.hosts.iter().any(|known| known == name)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let mut sent = headers.get_all(AUTHORIZATION).iter();
        let (Some(sent), None) = (sent.next(), sent.next()) else { return false };
        let Some((scheme, sent)) = sent.as_bytes().split_at_checked(7) else { return false };
        let sent = sent.trim_ascii();
        // The comparison takes constant time; its time reveals only the length of the token.
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(sent.ct_eq(token.reveal().as_bytes()))
    }
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

/// Whether a browser marks the request as sent by a page of another site.
fn is_cross_site(headers: &HeaderMap, host: &Authority) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter();
    let mut origins = headers.get_all(ORIGIN).iter();
    let foreign = |origin: &[u8]| {
        let own = |scheme: &[u8]| {
            let authority = origin.strip_prefix(scheme);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str().as_bytes()))
        };
        !own(b"http://") && !own(b"https://")
    };
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
        || origins.any(|origin| foreign(origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn auth(token: Option<&str>) -> Auth {
        let settings = Http {
            listen: ([127, 0, 0, 1], 9465).into(),
            token: token.map(Secret::new),
            hosts: vec!["queue.internal".to_owned()],
            max_body: 1,
            max_connections: 1,
            max_connections_per_peer: 1,
            timeout: Duration::ZERO,
        };
        Auth::new(&settings, settings.listen)
    }

    /// The status of the refusal of a request with these headers.
    fn refused(auth: &Auth, path: &str, headers: &[(&'static str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        auth.check(&path.parse().unwrap(), &map).err().map(|refusal| refusal.status().as_u16())
    }

    fn has_token(auth: &Auth, values: &[&str]) -> bool {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(AUTHORIZATION, value.parse().unwrap());
        }
        auth.has_token(&map)
    }

    #[test]
    fn host_is_an_address_or_a_known_name() {
        let auth = auth(None);
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
        let auth = auth(None);
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
        let auth = auth(Some("s3cret"));
        assert!(has_token(&auth, &["Bearer s3cret"]) && has_token(&auth, &["bearer  s3cret "]));
        for wrong in ["Bearer s3cre", "Bearer s3cretx", "Bearer ", "Bearer", "s3cret", "Basic s3cret", ""] {
            assert!(!has_token(&auth, &[wrong]), "{wrong}");
        }
        assert!(!has_token(&auth, &["Bearer s3cret", "Bearer s3cret"]));
        assert!(!has_token(&auth, &[]));
    }
}
