//! Reasons for which a request is refused: a status, a word for programs and a sentence for people.

use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use super::parts::Words;

/// Why a request was refused. The layer around all routes turns it into a page or into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
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
    NoSuchJob,
    NoSuchWorker,
    /// There are more jobs than the operator has seen who wants to remove them.
    MoreJobs,
    /// The store of the channel has not answered; the error, empty for none in time.
    StoreDown(String),
    /// The master behind the page does not serve the channel.
    NotServedHere,
    /// Another master runs the job.
    HeldElsewhere,
    /// The master refused the action.
    Failed(String),
    WrongMethod,
    BadRequest(String),
    TooManyStreams,
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::SignIn | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Reopen => StatusCode::OK,
            Self::NeedsOperator | Self::ProxyWithoutToken | Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::TooManyGuesses => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSuchPage | Self::NoSuchChannel(_) | Self::NoSuchJob | Self::NoSuchWorker => {
                StatusCode::NOT_FOUND
            }
            Self::StoreDown(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotServedHere | Self::HeldElsewhere | Self::Failed(_) | Self::MoreJobs => {
                StatusCode::CONFLICT
            }
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A word for programs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::SignIn | Self::Reopen => "sign_in",
            Self::NeedsOperator => "needs_operator",
            Self::WrongToken => "wrong_token",
            Self::TooManyGuesses => "too_many_guesses",
            Self::ProxyWithoutToken => "proxy_without_token",
            Self::ForeignForm => "foreign_form",
            Self::NoSuchPage => "no_such_page",
            Self::NoSuchChannel(_) => "no_such_channel",
            Self::NoSuchJob => "no_such_job",
            Self::NoSuchWorker => "no_such_worker",
            Self::MoreJobs => "more_jobs",
            Self::StoreDown(_) => "store_down",
            Self::NotServedHere => "not_served_here",
            Self::HeldElsewhere => "held_elsewhere",
            Self::Failed(_) => "failed",
            Self::WrongMethod => "wrong_method",
            Self::BadRequest(_) => "bad_request",
            Self::TooManyStreams => "too_many_streams",
        }
    }

    /// The sentence in a language.
    pub(super) fn sentence<'a>(&'a self, words: &'a Words) -> &'a str {
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
            Self::NoSuchJob => words.no_such_job,
            Self::NoSuchWorker => words.worker.gone,
            Self::MoreJobs => words.more_jobs,
            Self::StoreDown(_) => words.store_does_not_answer,
            Self::NotServedHere => words.not_served,
            Self::HeldElsewhere => words.held_elsewhere,
            Self::Failed(why) => why,
            Self::WrongMethod => words.wrong_method,
            Self::BadRequest(why) => why,
            Self::TooManyStreams => words.too_many_streams,
        }
    }

    /// Whether the token of a client is missing or wrong.
    pub(super) fn is_about_token(&self) -> bool {
        matches!(self, Self::SignIn | Self::Reopen | Self::WrongToken)
    }
}

/// Whether a browser says that a link on another site led to the request.
pub(super) fn is_linked(headers: &HeaderMap) -> bool {
    let site = headers.get(HeaderName::from_static("sec-fetch-site"));
    site.is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// The refusal travels as an extension of the response to the layer around all routes, which knows the language.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
