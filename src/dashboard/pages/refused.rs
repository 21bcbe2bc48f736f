//! Requests that are refused: a page for people, JSON for programs, with the same sentence.

use axum::http::header::{ACCEPT, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde_json::json;

use super::login;
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Language, Page, Words, channel_path};
use crate::dashboard::refusal::Refusal;

/// The answer to a refused request.
pub(in crate::engine::dashboard) fn refused(
    refusal: &Refusal,
    dashboard: &Dashboard,
    asked: &RefusedRequest,
) -> Response {
    let words = asked.language.words();
    let mut response = if asked.wants_json {
        let body = match refusal {
            Refusal::NoSuchChannel(declared) => {
                json!({ "error": refusal.sentence(words), "code": refusal.code(), "declared": declared })
            }
            // Only a browser opens a page a second time.
            Refusal::Reopen => json!({ "error": words.token_help, "code": refusal.code() }),
            _ => json!({ "error": refusal.sentence(words), "code": refusal.code() }),
        };
        axum::Json(body).into_response()
    } else {
        dashboard.frame.render(&page(refusal, dashboard, asked, words), None, None)
    };
    *response.status_mut() = match refusal {
        Refusal::Reopen if asked.wants_json => StatusCode::UNAUTHORIZED,
        _ => refusal.status(),
    };
    let headers = response.headers_mut();
    if refusal.is_about_token() && asked.wants_json {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let retry_after = match refusal {
        Refusal::TooManyStreams | Refusal::TooManyGuesses => Some("60"),
        Refusal::StoreDown(_) => Some("5"),
        _ => None,
    };
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    response
}

fn page(refusal: &Refusal, dashboard: &Dashboard, asked: &RefusedRequest, words: &Words) -> Page {
    let (title, content) = match refusal {
        Refusal::SignIn => (words.sign_in, login::form(dashboard, &asked.path, words, None)),
        Refusal::WrongToken | Refusal::TooManyGuesses => {
            (words.sign_in, login::form(dashboard, "/", words, Some(refusal.sentence(words))))
        }
        _ => {
            let title = match refusal {
                Refusal::NoSuchPage
                | Refusal::NoSuchChannel(_)
                | Refusal::NoSuchJob
                | Refusal::NoSuchWorker => words.not_found,
                Refusal::Reopen => words.opening,
                _ => words.not_done,
            };
            let declared =
                if let Refusal::NoSuchChannel(declared) = refusal { declared.as_slice() } else { &[] };
            let content = html! {
                section class="card narrow" {
                    h1 { (title) }
                    p { (refusal.sentence(words)) }
                    @if !declared.is_empty() {
                        p { (words.declared) }
                        ul {
                            @for name in declared {
                                li { a href=(dashboard.frame.link(&channel_path(name))) { (name) } }
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
        shows_notice: false,
        reopens: *refusal == Refusal::Reopen,
        content,
    }
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

/// The answer to a path that does not exist.
pub(in crate::engine::dashboard) async fn not_found() -> Refusal {
    Refusal::NoSuchPage
}

/// The answer to a method that a path does not have.
pub(in crate::engine::dashboard) async fn method_not_allowed() -> Refusal {
    Refusal::WrongMethod
}
