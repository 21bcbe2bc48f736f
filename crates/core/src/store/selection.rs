//! Lists and commands on jobs that a filter selects, made of the store's bounded batches: resumable, with exact counts.

use std::time::{Duration, Instant, SystemTime};

use super::{Cursor, JobState, JobView, MAX_BATCH, Page, Store, StoreError};
use crate::job::{FailReason, JobId, JobMeta, Timestamp};

/// Selects jobs; the default selects all. Conditions that are set must all hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFilter {
    /// Only these ids; all when empty.
    pub ids: Vec<JobId>,
    /// Only jobs of this name.
    pub job: Option<String>,
    /// Only jobs that failed for this reason.
    pub reason: Option<FailReason>,
    /// Only jobs whose time ([`JobView::at`]) is this time or later.
    pub since: Option<Timestamp>,
    /// Only jobs whose time ([`JobView::at`]) is earlier.
    pub before: Option<Timestamp>,
    /// Only jobs with this text in their name, payload or recorded errors; upper and lower case count as equal.
    pub text: Option<String>,
    /// Only jobs with this text in their id, name, payload or recorded errors; upper and lower case count as equal.
    pub anywhere: Option<String>,
}

/// The bounds of one page of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchLimits {
    /// Most jobs of the page.
    pub matches: usize,
    /// Most jobs of the state that are read, in steps of [`MAX_BATCH`].
    pub records: u64,
    /// Time after which no further batch is read.
    pub time: Duration,
}

impl SearchLimits {
    /// The bounds for a viewer who waits for the page and can ask for the next one.
    pub const PAGE: Self = Self { matches: 50, records: 5_000, time: Duration::from_millis(50) };

    /// A page that ends with its last match.
    #[must_use]
    pub fn unbounded(matches: usize) -> Self {
        Self { matches, records: u64::MAX, time: Duration::MAX }
    }
}

/// A page of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The jobs, and the position at which the search continues.
    pub page: Page,
    /// Number of jobs that were read, up to that position.
    pub scanned: u64,
}

impl JobFilter {
    /// The filter with texts in lower case, for many calls of [`Self::admits`].
    fn prepared(&self) -> Self {
        let lower = |text: &Option<String>| text.as_deref().map(str::to_lowercase);
        Self { text: lower(&self.text), anywhere: lower(&self.anywhere), ..self.clone() }
    }

    /// Whether the filter, prepared, selects a job.
    fn admits(&self, job: &JobView) -> bool {
        (self.ids.is_empty() || self.ids.contains(&job.id))
            && self.job.as_deref().is_none_or(|name| name == job.meta.job)
            && self.reason.is_none_or(|reason| job.meta.failed == Some(reason))
            && self.since.is_none_or(|since| job.at >= since)
            && self.before.is_none_or(|before| job.at < before)
            && self.text.as_deref().is_none_or(|text| contains_text(job, text))
            && self
                .anywhere
                .as_deref()
                .is_none_or(|text| job.id.to_string().contains(text) || contains_text(job, text))
    }
}

fn contains_text(job: &JobView, lower_case: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(lower_case);
    has(&job.meta.job)
        || has(&job.payload)
        || unescaped(&job.payload).is_some_and(|payload| has(&payload))
        || job.meta.errors.iter().any(|error| has(&error.message))
}

/// A payload in which characters are themselves: many producers escape all but ASCII. `None` without an escape.
fn unescaped(payload: &str) -> Option<String> {
    if !payload.contains("\\u") {
        return None;
    }
    serde_json::from_str::<serde_json::Value>(payload).ok().map(|payload| payload.to_string())
}

/// A page of a state that holds only jobs of the filter: at most `limit`, behind `after`, in the order of [`Store::list`].
///
/// # Errors
/// The store's error.
pub async fn list(
    store: &dyn Store,
    state: JobState,
    filter: &JobFilter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page, StoreError> {
    if *filter == JobFilter::default() {
        return store.list(state, after, limit).await;
    }
    let found = search(store, state, filter, after, SearchLimits::unbounded(limit)).await?;
    Ok(found.page)
}

/// As [`list`], within bounds: a page may have few matches or none and still a next one.
///
/// # Errors
/// The store's error.
pub async fn search(
    store: &dyn Store,
    state: JobState,
    filter: &JobFilter,
    after: Option<Cursor>,
    limits: SearchLimits,
) -> Result<Found, StoreError> {
    let (filter, begun) = (filter.prepared(), Instant::now());
    let mut found = Found { page: Page { jobs: Vec::new(), next: after }, scanned: 0 };
    while found.page.jobs.len() < limits.matches
        && found.scanned < limits.records
        && begun.elapsed() < limits.time
    {
        let missing = limits.matches - found.page.jobs.len();
        let mut page = store.list(state, found.page.next, MAX_BATCH).await?;
        let mut selected = page.jobs.iter().enumerate().filter(|(_, job)| filter.admits(job));
        // Only the store can name the position behind a job: a page with more jobs than fit is read again, up to the last
        // one that fits.
        if let Some((last, _)) = selected.nth(missing - 1) {
            page = store.list(state, found.page.next, last + 1).await?;
        }
        found.scanned += page.jobs.len() as u64;
        found.page.jobs.extend(page.jobs.into_iter().filter(|job| filter.admits(job)).take(missing));
        found.page.next = page.next;
        if page.next.is_none() {
            break;
        }
    }
    Ok(found)
}

/// The number of failed jobs that the filter selects.
///
/// # Errors
/// The store's error.
pub async fn count_failed(store: &dyn Store, filter: &JobFilter) -> Result<u64, StoreError> {
    let mut count = 0;
    for_each_failed(store, filter, async |batch| {
        count += batch.len() as u64;
        Ok(())
    })
    .await?;
    Ok(count)
}

/// Gives failed jobs a new set of attempts and moves them to the back of waiting. Returns the number of moved jobs.
///
/// Jobs that fail again during the call are not moved twice, so the call ends even when every job fails at once.
///
/// # Errors
/// The store's error; jobs moved before it stay moved.
pub async fn reload_failed(store: &dyn Store, filter: &JobFilter) -> Result<u64, StoreError> {
    let mut moved = 0;
    for_each_failed(store, filter, async |batch| {
        let jobs: Vec<_> = batch.iter().map(|job| (job.id, ready_now(job.meta.clone().reloaded()))).collect();
        moved += store.requeue(&jobs).await?;
        Ok(())
    })
    .await?;
    Ok(moved)
}

/// Moves one failed job to waiting with a new set of attempts. Returns whether the job was in `failed`.
///
/// # Errors
/// The store's error.
pub async fn reload_failed_job(store: &dyn Store, id: JobId) -> Result<bool, StoreError> {
    let job = store.get(id).await?.filter(|job| job.state == JobState::Failed);
    let Some(job) = job else { return Ok(false) };
    Ok(store.requeue(&[(id, ready_now(job.meta.reloaded()))]).await? > 0)
}

/// Removes one failed job. Returns whether the job was in `failed`.
///
/// # Errors
/// The store's error.
pub async fn remove_failed_job(store: &dyn Store, id: JobId) -> Result<bool, StoreError> {
    let is_failed = store.get(id).await?.is_some_and(|job| job.state == JobState::Failed);
    Ok(is_failed && store.discard(&[id]).await? > 0)
}

/// Removes failed jobs permanently. Returns the number of removed jobs.
///
/// # Errors
/// The store's error; jobs removed before it stay removed.
pub async fn remove_failed(store: &dyn Store, filter: &JobFilter) -> Result<u64, StoreError> {
    let mut removed = 0;
    for_each_failed(store, filter, async |batch| {
        let ids: Vec<_> = batch.iter().map(|job| job.id).collect();
        removed += store.discard(&ids).await?;
        Ok(())
    })
    .await?;
    Ok(removed)
}

/// Passes all currently failed jobs that match the filter to `apply`, in batches.
async fn for_each_failed(
    store: &dyn Store,
    filter: &JobFilter,
    mut apply: impl AsyncFnMut(&[JobView]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let filter = filter.prepared();
    if !filter.ids.is_empty() {
        for ids in filter.ids.chunks(MAX_BATCH) {
            let mut batch = Vec::new();
            for id in ids {
                let found = store.get(*id).await?;
                batch.extend(found.filter(|job| job.state == JobState::Failed && filter.admits(job)));
            }
            apply(&batch).await?;
        }
        return Ok(());
    }
    // Pages run from newer to older failures, starting at the first page: a job that fails again during the walk lands
    // before that start and is not moved twice.
    let mut after = None;
    loop {
        let page = store.list(JobState::Failed, after, MAX_BATCH).await?;
        let batch: Vec<_> = page.jobs.into_iter().filter(|job| filter.admits(job)).collect();
        apply(&batch).await?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
/// The meta of a job that becomes ready now, by the clock of this machine.
fn ready_now(meta: JobMeta) -> JobMeta {
    JobMeta { ready_at: Some(SystemTime::now().into()), delay_ms: None, ..meta }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_whether_or_not_a_producer_escapes_it() {
        let job = |payload: &str| JobView {
            id: JobId(1_795_000_000_000_017),
            state: JobState::Failed,
            at: Timestamp(1),
            meta: JobMeta::named("send"),
            payload: payload.to_owned(),
        };
        let admits = |filter: JobFilter, payload: &str| filter.prepared().admits(&job(payload));
        for payload in [r#"{"to":"\u00dcber"}"#, r#"{"to":"Über"}"#] {
            let text = |text: &str| JobFilter { text: Some(text.to_owned()), ..JobFilter::default() };
            assert!(admits(text("über"), payload) && !admits(text("unter"), payload), "{payload}");
        }
        let anywhere = |text: &str| JobFilter { anywhere: Some(text.to_owned()), ..JobFilter::default() };
        assert!(admits(anywhere("0000017"), "{}") && admits(anywhere("SEND"), "{}"));
        assert!(!admits(anywhere("18"), "{}"));
    }
}
