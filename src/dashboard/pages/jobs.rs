//! `/channels/{name}/jobs`: the jobs of a state, a page at a time, all or those of a search.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use form_urlencoded::byte_serialize;
use maud::{Markup, html};

use super::Asked;
use super::notice::notice;
use crate::dashboard::hidden_keys::HiddenKeys;
use crate::dashboard::parts::{Words, age, channel_path, clock_time, count};
use crate::dashboard::picture::ChannelPicture;
use crate::dashboard::refusal::Refusal;
use crate::dashboard::rights::{Can, See, Visitor};
use crate::dashboard::{Dashboard, answered};
use crate::job::{JobId, Timestamp};
use crate::sanitize;
use crate::store::{self, Cursor, Found, JobFilter, JobState, JobView, SearchLimits};

/// Jobs of a page.
const PAGE_JOBS: usize = 50;
/// Most characters of an error in a row.
const MAX_ERROR: usize = 120;
/// Longest text to search for, in bytes.
const MAX_SEARCH: usize = 200;

/// The states that a list can show, in the order of the tabs.
const STATES: [JobState; 4] = [JobState::Waiting, JobState::Delayed, JobState::Reserved, JobState::Failed];

/// The part of the jobs that a page shows.
struct Selection {
    state: JobState,
    search: String,
    after: Option<Cursor>,
}

impl Selection {
    fn of(asked: &Asked) -> Result<Self, Refusal> {
        let wrong = |why: &str| Refusal::BadRequest(why.to_owned());
        let state = asked.field("state").unwrap_or_else(|| "failed".to_owned());
        let state = STATES.into_iter().find(|known| known.as_str() == state);
        let search = asked.field("q").unwrap_or_default();
        if search.len() > MAX_SEARCH {
            return Err(wrong("the text to search for has more than 200 bytes"));
        }
        let after = match asked.field("after") {
            None => None,
            Some(text) => Some(cursor(&text).ok_or_else(|| wrong("after is no position of a list"))?),
        };
        Ok(Self {
            state: state.ok_or_else(|| wrong("state is one of waiting, delayed, reserved, failed"))?,
            search: search.trim().to_owned(),
            after,
        })
    }

    /// The query of a page of this selection.
    fn query(&self, state: JobState, after: Option<Cursor>) -> String {
        let mut query = format!("?state={}", state.as_str());
        if !self.search.is_empty() {
            query.push_str("&q=");
            query.extend(byte_serialize(self.search.as_bytes()));
        }
        if let Some(Cursor { rank, id }) = after {
            query.push_str(&format!("&after={rank}-{id}"));
        }
        query
    }
}

fn cursor(text: &str) -> Option<Cursor> {
    let (rank, id) = text.split_once('-')?;
    Some(Cursor { rank: rank.parse().ok()?, id: id.parse().ok()? })
}

/// `GET /channels/{name}/jobs`.
pub(in crate::engine::dashboard) async fn jobs(
    State(dashboard): State<Arc<Dashboard>>,
    can: Can<See>,
    Path(name): Path<String>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let picture = dashboard.camera.picture().await;
    let channel = dashboard.found(&picture, &name)?;
    let selection = Selection::of(&asked)?;
    // A search reads payloads and errors.
    if !selection.search.is_empty() && !can.visitor.sees_payloads {
        return Err(Refusal::SignIn);
    }
    let mut found = answered(find(dashboard.store(&channel.name)?, &selection)).await?;
    if !selection.search.is_empty() {
        // A match in a hidden value would tell that value letter by letter.
        found.page.jobs.retain(|job| shows(job, &selection.search, &dashboard.hidden));
    }
    let words = asked.language.words();
    let path = format!("{}/jobs", channel_path(&channel.name));
    let content = html! {
        h1 {
            a href=(dashboard.frame.link(&channel_path(&channel.name))) { (channel.name) }
            ": " (words.job_state(selection.state))
        }
        (notice(asked.notice, words))
        (tabs(&dashboard, channel, &selection, &path, words))
        (search_form(&dashboard, &selection, &path, &can.visitor, words))
        (list(&dashboard, channel, &selection, &found, &can.visitor, picture.at, words))
        (pager(&dashboard, &selection, &found, &path, words))
    };
    let title = format!("{}: {}", channel.name, words.job_state(selection.state));
    let shown = format!("{path}{}", selection.query(selection.state, selection.after));
    Ok(dashboard.render(&asked.page(title, shown, Some(&channel.name), content), &can.visitor))
}

async fn find(store: &dyn store::Store, selection: &Selection) -> Result<Found, store::StoreError> {
    let Selection { state, search, after } = selection;
    if search.is_empty() {
        let page = store.list(*state, *after, PAGE_JOBS).await?;
        return Ok(Found { scanned: page.jobs.len() as u64, page });
    }
    let filter = JobFilter { anywhere: Some(search.clone()), ..JobFilter::default() };
    store::search(store, *state, &filter, *after, SearchLimits::PAGE).await
}

/// Whether the page of a job shows a text.
fn shows(job: &JobView, text: &str, hidden: &HiddenKeys) -> bool {
    let text = text.to_lowercase();
    let has = |shown: &str| shown.to_lowercase().contains(&text);
    has(&job.id.to_string())
        || has(&job.meta.job)
        || job.meta.errors.iter().any(|error| has(&error.message))
        || has(&hidden.payload(&job.payload))
        || has(&hidden.compact(&job.payload))
}

fn tabs(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    selection: &Selection,
    path: &str,
    words: &Words,
) -> Markup {
    let counts = channel.counts.as_ref().map(|(counts, _)| counts);
    html! {
        nav class="ranges" aria-label=(words.state) {
            @for state in STATES {
                a href={ (dashboard.frame.link(path)) (selection.query(state, None)) }
                    aria-current=[(state == selection.state).then_some("true")] {
                    (words.job_state(state)) " "
                    span data-k={ (channel.name) "." (state.as_str()) } { (count(counts.map(|counts| counts.of(state)))) }
                }
            }
        }
    }
}

fn search_form(
    dashboard: &Dashboard,
    selection: &Selection,
    path: &str,
    visitor: &Visitor,
    words: &Words,
) -> Markup {
    html! {
        @if visitor.sees_payloads {
            form class="search" method="get" action=(dashboard.frame.link(path)) role="search" {
                input type="hidden" name="state" value=(selection.state.as_str());
                label for="q" { (words.search) }
                input type="search" id="q" name="q" value=(selection.search) maxlength=(MAX_SEARCH);
                button type="submit" { (words.search_button) }
            }
        }
    }
}

fn list(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    selection: &Selection,
    found: &Found,
    visitor: &Visitor,
    now: Timestamp,
    words: &Words,
) -> Markup {
    let is_failed = selection.state == JobState::Failed;
    let when = match selection.state {
        JobState::Delayed => words.due,
        JobState::Failed => words.failed_at,
        JobState::Waiting | JobState::Reserved => words.pushed,
    };
    html! {
        @if found.page.jobs.is_empty() {
            p class="card" { (if selection.search.is_empty() { words.no_jobs_in_state } else { words.no_matches }) }
        } @else {
            div class="card" {
                table class="jobs" {
                    thead {
                        tr {
                            th scope="col" { "id" }
                            th scope="col" { (words.job) }
                            th scope="col" class="number" { (words.attempts) }
                            th scope="col" { (words.priority) }
                            th scope="col" { (when) }
                            @if is_failed {
                                th scope="col" { (words.reason) }
                                @if visitor.sees_payloads { th scope="col" { (words.last_error) } }
                            }
                        }
                    }
                    tbody {
                        @for job in &found.page.jobs {
                            tr id={ "job-" (job.id) } {
                                th scope="row" {
                                    a href=(dashboard.frame.link(&job_path(&channel.name, job.id))) { (job.id) }
                                }
                                td data-label=(words.job) { (sanitize::line(&job.meta.job)) }
                                td class="number" data-label=(words.attempts) { (job.meta.attempts) }
                                td data-label=(words.priority) { (job.meta.priority.as_str()) }
                                td data-label=(when) { (moment(job, now, words)) }
                                @if is_failed {
                                    td data-label=(words.reason) { (job.meta.failed.map_or("–", |reason| reason.as_str())) }
                                    @if visitor.sees_payloads {
                                        td class="error" data-label=(words.last_error) { (last_error(job)) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The time of a job in a list, with the exact one in the tooltip.
fn moment(job: &JobView, now: Timestamp, words: &Words) -> Markup {
    let text = if job.at > now {
        words.in_time.replace("{time}", &age(Some(job.at.since(now))))
    } else {
        words.ago.replace("{time}", &age(Some(now.since(job.at))))
    };
    html! { span title=(clock_time(job.at)) { (text) } }
}

/// The first line of the last error, cut.
fn last_error(job: &JobView) -> String {
    let Some(error) = job.meta.errors.last() else { return String::new() };
    let line = error.message.lines().next().unwrap_or_default();
    let mut cut: String = line.chars().take(MAX_ERROR).collect();
    if cut.len() < error.message.trim_end().len() {
        cut.push('…');
    }
    sanitize::line(&cut).into_owned()
}

fn pager(dashboard: &Dashboard, selection: &Selection, found: &Found, path: &str, words: &Words) -> Markup {
    let link = |after| format!("{}{}", dashboard.frame.link(path), selection.query(selection.state, after));
    html! {
        nav class="ranges" aria-label=(words.pages) {
            @if selection.after.is_some() { a href=(link(None)) { (words.first_page) } }
            @if let Some(next) = found.page.next {
                a rel="next" href=(link(Some(next))) {
                    (if selection.search.is_empty() { words.next_page } else { words.search_on })
                }
            }
            @if !selection.search.is_empty() {
                span class="note" { (words.searched.replace("{n}", &count(Some(found.scanned)))) }
            }
        }
    }
}

/// The path of the page of a job.
pub(super) fn job_path(channel: &str, id: JobId) -> String {
    format!("{}/jobs/{id}", channel_path(channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_of_a_list_is_read_back() {
        let selection = Selection { state: JobState::Failed, search: "a&b=c d".to_owned(), after: None };
        let query = selection.query(JobState::Failed, Some(Cursor { rank: 5, id: 17 }));
        assert_eq!(query, "?state=failed&q=a%26b%3Dc+d&after=5-17");
        assert_eq!(cursor("5-17"), Some(Cursor { rank: 5, id: 17 }));
        for wrong in ["", "5", "-", "5-", "-5", "5-17-3", "a-b", "5-99999999999999999999999"] {
            assert_eq!(cursor(wrong), None, "{wrong}");
        }
    }
}
