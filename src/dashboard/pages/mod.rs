//! The pages.

mod activity;
mod alerts;
mod channel;
mod channel_actions;
mod charts;
mod form;
mod job;
mod jobs;
mod login;
mod moments;
mod notice;
mod overview;
mod refused;
mod report;
mod report_figures;
mod system;
mod worker;

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use maud::Markup;
use std::convert::Infallible;

use super::Dashboard;
use super::parts::{Language, Page};

pub(super) use activity::{activity, entries as activity_entries};
pub(super) use alerts::alerts;
pub(super) use channel::{age_note, channel, channel_figures};
pub(super) use charts::Range;
pub(super) use form::Form;
pub(super) use job::job;
pub(super) use jobs::jobs;
pub(super) use login::{log_in, log_out, login_form};
pub(super) use notice::{Notice, NoticeKind};
pub(super) use overview::{overview, row_figures, total_figures};
pub(super) use refused::{RefusedRequest, method_not_allowed, not_found, refused};
pub(super) use report::report;
pub(super) use system::system;
pub(super) use worker::worker;

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
    /// The result of the action before.
    pub(super) notice: Option<Notice>,
    /// Whether the client is a browser, which shows pages.
    pub(super) wants_html: bool,
}

impl Asked {
    /// A page for the request; `live` is the channel of its live updates, `*` for all.
    pub(super) fn page(
        &self,
        title: impl Into<String>,
        path: impl Into<String>,
        live: Option<&str>,
        content: Markup,
    ) -> Page {
        Page {
            title: title.into(),
            language: self.language,
            chosen: self.chosen,
            path: path.into(),
            live: live.map(str::to_owned),
            shows_notice: self.notice.is_some(),
            reopens: false,
            content,
        }
    }

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
            notice: Notice::of_request(&parts.headers),
            wants_html: parts
                .headers
                .get_all(ACCEPT)
                .iter()
                .any(|accepts| accepts.to_str().is_ok_and(|accepts| accepts.contains("text/html"))),
        })
    }
}
