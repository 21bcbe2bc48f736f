//! The pages.

mod channel;
mod charts;
mod form;
mod job;
mod jobs;
mod login;
mod notice;
mod overview;
mod refused;

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use std::convert::Infallible;

use super::Dashboard;
use super::parts::Language;

pub(super) use channel::{age_note, channel, channel_figures};
pub(super) use charts::Range;
pub(super) use form::Form;
pub(super) use job::job;
pub(super) use jobs::jobs;
pub(super) use login::{log_in, log_out, login_form};
pub(super) use notice::Notice;
pub(super) use overview::{overview, row_figures, total_figures};
pub(super) use refused::{RefusedRequest, method_not_allowed, not_found, refused};

/// The properties of a request that pages depend on.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) language: Language,
    /// The language that the query chose.
    pub(super) chosen: Option<Language>,
    /// The query.
    pub(super) query: String,
    /// The part of the page that its script asks for.
    pub(super) part: Option<String>,
}

impl Asked {
    /// The decoded value of a parameter; `None` for an absent or empty one.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        let found = pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        found.filter(|value| !value.is_empty())
    }

    /// The value of a parameter, if it is made of plain characters.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

impl FromRequestParts<Arc<Dashboard>> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Dashboard>) -> Result<Self, Infallible> {
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        Ok(Self {
            language: Language::of(uri.query(), &parts.headers),
            chosen: Language::asked(uri.query()),
            query: uri.query().unwrap_or_default().to_owned(),
            part: super::parts::wanted_part(&parts.headers).map(str::to_owned),
        })
    }
}
