//! Queries on jobs; moves and removals of single jobs.

use std::collections::HashSet;

use redis::Value;

use super::foreign::names;
use super::reply::{Entries, bytes, count, entries, id, int, is_word, list, listed, score, text, texts};
use super::scripts::Script;
use super::{RedisStore, priority};
use crate::job::{JobId, JobMeta, JobOutput, Timestamp};
use crate::store::driver_rules::{clock_behind, lasting_key, meta_text, ready_at, stored_output};
use crate::store::{
    Cursor, JobCounts, JobState, JobView, MAX_BATCH, MAX_BATCH_BYTES, Owner, Page, StoreError,
};

const LISTING: &str = "looking at jobs";
/// Retries of a call that needs all owners while new owners join.
const MAX_OWNER_RETRIES: usize = 8;
/// Calls for one page while another program adds entries that are no jobs; each moves those on the page.
const MAX_FOREIGN_RETRIES: usize = 8;

/// The reply to a call for a page.
enum PageReply {
    Jobs(Page),
    /// Entries on the page that are no jobs.
    Foreign(Vec<Vec<u8>>),
}

impl RedisStore {
    pub(super) async fn counts(&self) -> Result<JobCounts, StoreError> {
        self.call(Script::Status, "counting jobs", &[]).await?.read(job_counts).await
    }

    /// The number of records that no list and no set leads to.
    pub(super) async fn unlisted_records(&self) -> Result<u64, StoreError> {
        const DOING: &str = "counting records";
        let reply = self.with_every_owner(Script::Unlisted, DOING, None, |_| {}).await?;
        self.parsed(count(reply), DOING)
    }

    /// The holder of a unique key.
    pub(super) async fn holder_of(&self, key: &str) -> Result<Option<JobId>, StoreError> {
        const DOING: &str = "looking for a key";
        let mut call = self.call(Script::Holder, DOING, &[self.keys.unique(key)]).await?;
        call.arg(key);
        let reply = text(call.send().await?);
        let holder = reply.and_then(|id| match id.as_str() {
            "" => Some(None),
            id => id.parse().ok().map(Some),
        });
        self.parsed(holder, DOING)
    }

    pub(super) async fn page(
        &self,
        state: JobState,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(MAX_BATCH);
        if limit == 0 {
            return Ok(Page::default());
        }
        if state == JobState::Reserved {
            return self.page_of_reserved(after, limit).await;
        }
        for _ in 0..MAX_FOREIGN_RETRIES {
            let mut call = self.call(Script::Page, LISTING, &[]).await?;
            call.arg(state.as_str()).arg(limit).arg(MAX_BATCH_BYTES);
            match after {
                Some(Cursor { rank, id }) => call.arg(rank).arg(id),
                None => call.arg("").arg(""),
            };
            match call.read(|reply| page(reply, state)).await? {
                PageReply::Jobs(page) => return Ok(page),
                PageReply::Foreign(entries) => self.move_foreign(state, &entries).await?,
            }
        }
        let detail =
            format!("another program keeps adding entries to \"{}\" that are no jobs", state.as_str());
        Err(StoreError::Corrupt { place: self.place().to_owned(), detail })
    }

    /// A page of the jobs held by all owners, ordered by id.
    async fn page_of_reserved(&self, after: Option<Cursor>, limit: usize) -> Result<Page, StoreError> {
        let mut ids = Vec::new();
        for owner in self.every_owner().await? {
            ids.extend(self.reserved_entries(&owner, LISTING).await?.ids);
        }
        ids.retain(|id| after.is_none_or(|after| id.0 > after.id));
        ids.sort_unstable();
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| more).map(|last| Cursor { rank: 0, id: last.0 });
        let mut jobs = self.find_many(&ids).await?;
        jobs.retain(|job| job.state == JobState::Reserved);
        Ok(Page { jobs, next })
    }

    /// Jobs by id, in the given order; missing jobs are left out.
    pub(super) async fn find_many(&self, ids: &[JobId]) -> Result<Vec<JobView>, StoreError> {
        let (mut found, mut rest) = (Vec::new(), ids);
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(MAX_BATCH)];
            let reply = self
                .with_every_owner(Script::Find, LISTING, None, |call| {
                    call.arg(MAX_BATCH_BYTES);
                    for id in batch {
                        call.arg(id.0);
                    }
                })
                .await?;
            let (seen, jobs) = self.parsed(found_jobs(reply), LISTING)?;
            found.extend(jobs);
            rest = rest.get(seen..).unwrap_or_default();
        }
        Ok(found)
    }

    pub(super) async fn requeue_failed(&self, jobs: &[(JobId, JobMeta)]) -> Result<u64, StoreError> {
        let mut moved = 0;
        for batch in jobs.chunks(MAX_BATCH) {
            let mut seen = HashSet::new();
            let batch: Vec<_> = batch.iter().filter(|(id, _)| seen.insert(*id)).collect();
            let mut names: Vec<_> = batch
                .iter()
                .filter_map(|(_, meta)| lasting_key(meta).filter(|key| !key.is_empty()))
                .map(|key| self.keys.unique(key))
                .collect();
            names.push(self.keys.outputs());
            let mut call = self.call(Script::Requeue, "moving failed jobs", &names).await?;
            for (id, meta) in batch {
                let key = lasting_key(meta).unwrap_or_default();
                call.arg(id.0).arg(key).arg(priority(meta)).arg(meta_text(meta));
            }
            moved += call.read(count).await?;
        }
        Ok(moved)
    }

    pub(super) async fn remove(&self, ids: &[JobId]) -> Result<u64, StoreError> {
        const DOING: &str = "removing jobs";
        let mut removed = 0;
        for batch in ids.chunks(MAX_BATCH) {
            let mut seen = HashSet::new();
            let batch: Vec<_> =
                batch.iter().filter(|id| seen.insert(**id)).map(|id| id.to_string().into_bytes()).collect();
            let keys = self.unique_keys(&batch, DOING).await?;
            let reply = self
                .with_every_owner(Script::Discard, DOING, Some(self.keys.outputs()), |call| {
                    for id in &batch {
                        let key = keys.iter().find(|(of, _)| of == id).map_or("", |(_, key)| key);
                        call.arg(id).arg(key);
                    }
                })
                .await?;
            removed += self.parsed(count(reply), DOING)?;
        }
        Ok(removed)
    }

    /// The stored output of a job.
    pub(super) async fn stored_output_of(&self, id: JobId) -> Result<Option<JobOutput>, StoreError> {
        let mut get = redis::cmd("HGET");
        let reply = self.plain(get.arg(self.keys.outputs()).arg(id.0), LISTING).await?;
        Ok(text(reply).and_then(|text| stored_output(&text)))
    }

    /// The entries of an owner's set.
    pub(super) async fn reserved_entries(
        &self,
        owner: &Owner,
        doing: &'static str,
    ) -> Result<Entries, StoreError> {
        let mut members = redis::cmd("SMEMBERS");
        let reply = self.plain(members.arg(self.keys.reserved(owner)), doing).await?;
        self.parsed(entries(reply), doing)
    }

    /// All owners: living ones, and ended ones that still have jobs.
    pub(super) async fn every_owner(&self) -> Result<Vec<Owner>, StoreError> {
        // A query for no job returns the owners that it would need.
        self.with_every_owner(Script::Find, LISTING, None, |call| {
            call.arg(0);
        })
        .await?;
        Ok(self.known_owners())
    }

    /// Makes a call that needs all owners, whose keys `own_key` follows; repeats it with the owners named in the reply until
    /// the list is complete.
    async fn with_every_owner(
        &self,
        script: Script,
        doing: &'static str,
        own_key: Option<String>,
        args: impl Fn(&mut super::call::Call<'_>),
    ) -> Result<Value, StoreError> {
        for _ in 0..MAX_OWNER_RETRIES {
            let owners = self.known_owners();
            let sets = owners.iter().map(|owner| self.keys.reserved(owner));
            let keys: Vec<_> = sets.chain(own_key.clone()).collect();
            let mut call = self.call(script, doing, &keys).await?;
            call.arg(owners.len());
            for owner in &owners {
                call.arg(owner.as_str());
            }
            args(&mut call);
            let reply = call.send().await?;
            match missing(&reply) {
                Some(names) => self.know_owners(names.into_iter().map(Owner::named).collect()),
                None => return Ok(reply),
            }
        }
        let source = "masters come and go faster than they can be asked".into();
        Err(StoreError::Unavailable { place: self.place().to_owned(), doing, source })
    }
}

/// The owners named by a reply that asks for a complete list.
fn missing(reply: &Value) -> Option<Vec<String>> {
    let Value::Array(values) = reply else { return None };
    match values.as_slice() {
        [word, names] if is_word(word, "OWNERS") => texts(names.clone()),
        _ => None,
    }
}

fn found_jobs(reply: Value) -> Option<(usize, Vec<JobView>)> {
    let mut values = list(reply)?.into_iter();
    is_word(&values.next()?, "JOBS").then_some(())?;
    let seen = usize::try_from(count(values.next()?)?).ok().filter(|seen| *seen > 0)?;
    let mut jobs = Vec::new();
    while let Some(entry) = values.next() {
        let word = values.next()?;
        let states = [JobState::Waiting, JobState::Delayed, JobState::Reserved, JobState::Failed];
        let state = states.into_iter().find(|state| is_word(&word, state.as_str()))?;
        let (at, record) = (score(values.next()?)?, bytes(values.next()?)?);
        jobs.extend(id(&entry).map(|id| listed(id, state, at, record)));
    }
    Some((seen, jobs))
}

fn page(reply: Value, state: JobState) -> Option<PageReply> {
    let mut values = list(reply)?.into_iter();
    let more = match values.next()? {
        word if is_word(&word, "FOREIGN") => return Some(PageReply::Foreign(names(values.next()?)?)),
        more => int(more)? == 1,
    };
    let (rank, last) = (values.next()?, values.next()?);
    let next = if more { Some(Cursor { rank: score(rank)?, id: id(&last)?.0 }) } else { None };
    let mut jobs = Vec::new();
    while let Some(entry) = values.next() {
        let (at, record) = (score(values.next()?)?, bytes(values.next()?)?);
        jobs.extend(id(&entry).map(|id| listed(id, state, at, record)));
    }
    Some(PageReply::Jobs(Page { jobs, next }))
}

/// The counts in a reply of `lib/counts.lua`.
pub(super) fn job_counts(reply: Value) -> Option<JobCounts> {
    let mut counts = list(reply)?;
    let fronts = list(counts.pop()?)?;
    let counts: Option<Vec<_>> = counts.into_iter().map(count).collect();
    let [waiting, reserved, delayed, done, failed, cleared, paused, until, highest, due, now, bytes] =
        counts?.try_into().ok()?;
    let front = |front: &[Value]| Some(ready_at(id(&front[0])?, &text(front[1].clone())?));
    Some(JobCounts {
        waiting,
        reserved,
        delayed,
        done,
        failed,
        cleared,
        bytes: bytes.checked_sub(1),
        paused: paused == 1,
        paused_until: (until > 0).then_some(Timestamp(until)),
        front_ready_at: fronts.chunks_exact(2).filter_map(front).min(),
        next_due: (due > 0).then_some(Timestamp(due)),
        now: Timestamp(now),
        clock_behind: clock_behind(Timestamp(highest), Timestamp(now)),
    })
}
