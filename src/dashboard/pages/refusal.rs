//! Requests that are refused: a page for people, JSON for programs, with the same sentence.

use axum::extract::OriginalUri;
use axum::http::header::{ACCEPT, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde_json::json;

use super::login;
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Language, Page, Words};
use crate::dashboard::rights::Visitor;

/// Why a request was refused. The layer around all routes turns it into a page or into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::dashboard) enum Refusal {
    /// The visitor must sign in first.
    SignIn,
    /// The page may open signed in when the dashboard itself leads to it: a browser sends no strict cookie with the link of another site.
    Reopen,
    /// The visitor has signed in, and has not the right.
    NeedsOperator,
    WrongToken,
    TooManyGuesses,
    ProxyWithoutToken,
    ForeignForm,
    NoSuchPage,
    NoSuchChannel(Vec<String>),
    WrongMethod,
    BadRequest(String),
    TooManyStreams,
}

impl Refusal {
    /// The refusal of a visitor without a right.
    pub(in crate::engine::dashboard) fn of_visitor(visitor: &Visitor, _: &Uri, headers: &HeaderMap) -> Self {
        let is_linked = headers
            .get(HeaderName::from_static("sec-fetch-site"))
            .is_some_and(|site| site == "cross-site" || site == "same-site");
        match visitor {
            visitor if visitor.has_signed_in() => Self::NeedsOperator,
            _ if is_linked => Self::Reopen,
            _ => Self::SignIn,
        }
    }

    pub(in crate::engine::dashboard) fn too_many_guesses() -> Self {
        Self::TooManyGuesses
    }

    pub(in crate::engine::dashboard) fn wrong_token() -> Self {
        Self::WrongToken
    }

    pub(in crate::engine::dashboard) fn proxy_without_token() -> Self {
        Self::ProxyWithoutToken
    }

    pub(in crate::engine::dashboard) fn foreign_form() -> Self {
        Self::ForeignForm
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SignIn | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Reopen => StatusCode::OK,
            Self::NeedsOperator | Self::ProxyWithoutToken | Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::TooManyGuesses => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSuchPage | Self::NoSuchChannel(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A word for programs.
    fn code(&self) -> &'static str {
        match self {
            Self::SignIn | Self::Reopen => "sign_in",
            Self::NeedsOperator => "needs_operator",
            Self::WrongToken => "wrong_token",
            Self::TooManyGuesses => "too_many_guesses",
            Self::ProxyWithoutToken => "proxy_without_token",
            Self::ForeignForm => "foreign_form",
            Self::NoSuchPage => "no_such_page",
            Self::NoSuchChannel(_) => "no_such_channel",
            Self::WrongMethod => "wrong_method",
            Self::BadRequest(_) => "bad_request",
            Self::TooManyStreams => "too_many_streams",
        }
    }

    fn sentence<'a>(&'a self, words: &'a Words) -> &'a str {
        match self {
            Self::SignIn => words.token_help,
            Self::Reopen => words.opening,
            Self::NeedsOperator => words.needs_operator,
            Self::WrongToken => words.wrong_token,
            Self::TooManyGuesses => words.too_many,
            Self::ProxyWithoutToken => words.proxy_without_token,
            Self::ForeignForm => words.foreign_form,
            Self::NoSuchPage => words.no_such_page,
            Self::NoSuchChannel(_) => words.no_such_channel,
            Self::WrongMethod => words.wrong_method,
            Self::BadRequest(why) => why,
            Self::TooManyStreams => words.too_many_streams,
        }
    }

    /// The answer to a request with this head.
    pub(in crate::engine::dashboard) fn render(
        &self,
        dashboard: &Dashboard,
        asked: &RefusedRequest,
    ) -> Response {
        let words = asked.language.words();
        let mut response = if asked.wants_json {
            let body = match self {
                Self::NoSuchChannel(declared) => {
                    json!({ "error": self.sentence(words), "code": self.code(), "declared": declared })
                }
                // Only a browser opens a page a second time.
                Self::Reopen => json!({ "error": words.token_help, "code": self.code() }),
                _ => json!({ "error": self.sentence(words), "code": self.code() }),
            };
            axum::Json(body).into_response()
        } else {
            dashboard.frame.render(&self.page(dashboard, asked, words), None)
        };
        *response.status_mut() = match self {
            Self::Reopen if asked.wants_json => StatusCode::UNAUTHORIZED,
            _ => self.status(),
        };
        let headers = response.headers_mut();
        if response_needs_scheme(self) && asked.wants_json {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self, Self::TooManyStreams | Self::TooManyGuesses) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }

    fn page(&self, dashboard: &Dashboard, asked: &RefusedRequest, words: &Words) -> Page {
        let (title, content) = match self {
            Self::SignIn => (words.sign_in, login::form(dashboard, &asked.path, words, None)),
            Self::WrongToken | Self::TooManyGuesses => {
                (words.sign_in, login::form(dashboard, "/", words, Some(self.sentence(words))))
            }
            _ => {
                let title = match self {
                    Self::NoSuchPage | Self::NoSuchChannel(_) => words.not_found,
                    Self::Reopen => words.opening,
                    _ => words.sign_in,
                };
                let declared =
                    if let Self::NoSuchChannel(declared) = self { declared.as_slice() } else { &[] };
                let content = html! {
                    section class="card narrow" {
                        h1 { (title) }
                        p { (self.sentence(words)) }
                        @if !declared.is_empty() {
                            p { (words.declared) }
                            ul {
                                @for name in declared {
                                    li { a href=(dashboard.frame.link(&format!("/channels/{name}"))) { (name) } }
                                }
                            }
                        }
                        p { a href=(dashboard.frame.link("/")) { (words.back) } }
                    }
                };
                (title, content)
            }
        };
        Page {
            title: title.to_owned(),
            language: asked.language,
            chosen: None,
            path: "/".to_owned(),
            live: None,
            reopens: *self == Self::Reopen,
            content,
        }
    }
}

fn response_needs_scheme(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::SignIn | Refusal::Reopen | Refusal::WrongToken)
}

/// The properties of a refused request that its answer depends on.
pub(in crate::engine::dashboard) struct RefusedRequest {
    language: Language,
    wants_json: bool,
    /// Where the visitor wanted to go, below the base.
    path: String,
}

impl RefusedRequest {
    pub(in crate::engine::dashboard) fn of(
        dashboard: &Dashboard,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Self {
        let base = dashboard.frame.base_path();
        let path = uri.path().strip_prefix(base).unwrap_or(uri.path());
        let accepts_html = headers
            .get_all(ACCEPT)
            .iter()
            .any(|accepts| accepts.to_str().is_ok_and(|accepts| accepts.contains("text/html")));
        let path_and_query = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        Self {
            language: Language::of(uri.query(), headers),
            wants_json: path.starts_with("/api/") || !accepts_html,
            path: if *method == Method::GET { path_and_query } else { "/".to_owned() },
        }
    }
}

/// The refusal travels as an extension of the response to the layer around all routes, which knows the language.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer to a path that does not exist.
pub(in crate::engine::dashboard) async fn not_found(_: OriginalUri) -> Refusal {
    Refusal::NoSuchPage
}

/// The answer to a method that a path does not have.
pub(in crate::engine::dashboard) async fn method_not_allowed() -> Refusal {
    Refusal::WrongMethod
}
