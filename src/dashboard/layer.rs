//! The layer around all routes: finds the visitor, and sets the headers by which browsers protect their user.

use std::sync::Arc;

use axum::extract::{OriginalUri, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Dashboard;
use super::pages::{RefusedRequest, refused};
use super::refusal::{Refusal, is_linked};
use super::rights::bearer;
use crate::http::Place;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The content that pages may have. No inline script or style is among it, so that text which slips into a page as markup runs
/// nothing.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types aq";

/// Whether the browser says that a page of this dashboard has sent the request. A request that changes something needs it: a form
/// of another site is refused, and so is a client that is no browser, which has a token.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter();
    match (sites.next(), sites.next()) {
        (Some(site), None) => site == "same-origin",
        (Some(_), Some(_)) => false,
        // The listener has compared the origin with the host already.
        (None, _) => headers.contains_key(ORIGIN),
    }
}

/// The address with the base path, which a router removes.
fn original_uri(request: &Request) -> &Uri {
    request.extensions().get::<OriginalUri>().map_or(request.uri(), |original| &original.0)
}

/// Middleware around every page: finds the visitor, refuses changes that another site asks for, and sets the headers by which
/// browsers protect their user.
pub(super) async fn identify(
    State(dashboard): State<Arc<Dashboard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Arc<Place>>().map(|place| place.peer());
    let has_bearer = bearer(request.headers()).is_some();
    let request_head =
        RefusedRequest::of(&dashboard, request.method(), original_uri(&request), request.headers());
    let mut response = if !request.method().is_safe() && !has_bearer && !is_same_origin(request.headers()) {
        Refusal::ForeignForm.into_response()
    } else {
        match dashboard.gate.visitor(request.headers(), peer).await {
            // A browser keeps the cookie back for a link of another site, and sends it when the page opens itself again.
            Ok(visitor)
                if !visitor.has_signed_in()
                    && dashboard.gate.has_tokens()
                    && request.method() == Method::GET
                    && is_linked(request.headers()) =>
            {
                Refusal::Reopen.into_response()
            }
            Ok(visitor) => {
                request.extensions_mut().insert(visitor);
                next.run(request).await
            }
            Err(refusal) => refusal.into_response(),
        }
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = refused(&refusal, &dashboard, &request_head);
    }
    protect(&mut response);
    response
}

/// Sets the headers by which browsers protect their user.
pub(super) fn protect(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        // Without any referrer, browsers send `Origin: null` with the forms of this dashboard.
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
