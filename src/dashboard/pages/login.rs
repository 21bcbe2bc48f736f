//! Signing in and out.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Asked;
use super::form::Form;
use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Words, is_own_path};
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::SignIn;
use crate::http::Place;

/// `GET /login`.
pub(in crate::engine::dashboard) async fn login_form(
    State(dashboard): State<Arc<Dashboard>>,
    asked: Asked,
) -> Response {
    let words = asked.language.words();
    let page = asked.page(words.sign_in, "/login", None, form(&dashboard, "/", words, None));
    dashboard.frame.render(&page, None, None)
}

/// The form, with why the last try failed; `next` is where the visitor goes then.
pub(super) fn form(dashboard: &Dashboard, next: &str, words: &Words, failure: Option<&str>) -> Markup {
    html! {
        section class="card narrow" {
            h1 { (words.sign_in) }
            @if let Some(failure) = failure {
                p class="failure" role="alert" { (failure) }
            }
            form method="post" action=(dashboard.frame.link("/login")) {
                input type="hidden" name="next" value=(next);
                // Password managers keep a token under a name.
                input type="text" name="username" value="aint-queue" autocomplete="username" readonly hidden;
                label for="token" { (words.token) }
                input type="password" id="token" name="token" required autocomplete="current-password" autofocus;
                p class="help" { (words.token_help) }
                button type="submit" class="main" { (words.sign_in) }
            }
        }
    }
}

/// `POST /login`.
pub(in crate::engine::dashboard) async fn log_in(
    State(dashboard): State<Arc<Dashboard>>,
    place: Option<Extension<Arc<Place>>>,
    form: Form,
) -> Result<Response, Refusal> {
    let peer = place.map(|Extension(place)| place.peer());
    let next = Some(form.field("next")).filter(|path| is_own_path(path)).unwrap_or("/");
    match dashboard.gate.sign_in(form.field("token"), peer).await {
        SignIn::Welcome(cookie) => {
            let headers = [(SET_COOKIE, cookie)];
            Ok((StatusCode::SEE_OTHER, headers, [(LOCATION, dashboard.frame.link(next))]).into_response())
        }
        SignIn::WrongToken => Err(Refusal::WrongToken),
        SignIn::TooMany => Err(Refusal::TooManyGuesses),
    }
}

/// `POST /logout`.
pub(in crate::engine::dashboard) async fn log_out(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let headers = [(SET_COOKIE, dashboard.gate.sign_out())];
    (StatusCode::SEE_OTHER, headers, [(LOCATION, dashboard.frame.link("/"))]).into_response()
}
