//! Owners: their start, their jobs, their end, and the recovery of their jobs.

use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use crate::log_macros::warn;

use super::call::Call;
use super::connection::info_field;
use super::foreign::{log_removed, names};
use super::reply::{
    Entries, count, entries, fields, id, int, is_word, jobs, leased, list, metas, text, texts,
};
use super::scripts::Script;
use super::{RedisStore, micros, priority};
use crate::job::{JobId, JobMeta, Timestamp};
use crate::store::driver_rules::{TAKE_DEPTH, lasting_key, meta_text};
use crate::store::{Leased, MAX_BATCH, MAX_BATCH_BYTES, Owner, StoreError};

const ENDING: &str = "giving jobs back";

/// An ended owner with the jobs it still holds.
struct Ended {
    /// The owner left at its own request, so its jobs return uncounted.
    left: bool,
    now: Timestamp,
    entries: Entries,
}

/// The reply to `TIME`: seconds and microseconds.
fn server_time(reply: Value) -> Option<Timestamp> {
    let [seconds, micros] = fields(reply)?.map(|part| text(part)?.parse::<u64>().ok());
    Some(Timestamp(seconds?.checked_mul(1_000_000)?.checked_add(micros?)?))
}

impl RedisStore {
    pub(super) async fn records(&self, owner: &Owner, ids: &[JobId]) -> Result<Vec<Leased>, StoreError> {
        let (mut found, mut rest) = (Vec::new(), ids);
        while !rest.is_empty() {
            let mut call =
                self.call(Script::Fetch, "fetching held jobs", &[self.keys.reserved(owner)]).await?;
            call.arg(owner.as_str()).arg(MAX_BATCH_BYTES);
            for id in &rest[..rest.len().min(MAX_BATCH)] {
                call.arg(id.0);
            }
            let read = |reply| {
                let [seen, ids, records] = fields(reply)?;
                let seen = usize::try_from(count(seen)?).ok().filter(|seen| *seen > 0)?;
                let (ids, records) = (list(ids)?, list(records)?);
                let (gone, stored): (Vec<_>, Vec<_>) =
                    ids.into_iter().zip(records).partition(|(_, record)| *record == Value::Nil);
                let (ids, records) = stored.into_iter().unzip();
                let gone: Option<Vec<_>> = gone.iter().map(|(entry, _)| id(entry)).collect();
                Some((seen, jobs(Value::Array(ids), Value::Array(records))?.0, gone?))
            };
            let (seen, batch, gone) = call.read(read).await?;
            found.extend(batch);
            self.try_remove_missing(owner, &gone).await;
            rest = rest.get(seen..).unwrap_or_default();
        }
        Ok(found)
    }

    pub(super) async fn lease_one(
        &self,
        owner: &Owner,
        seq: u64,
        id: JobId,
    ) -> Result<Option<Leased>, StoreError> {
        // The unique key of a failed job is in its meta, which no settlement changes.
        let found = self.find_many(&[id]).await?.pop();
        let meta = found.map(|job| job.meta).unwrap_or_default();
        let unique = lasting_key(&meta).unwrap_or_default();
        let mut keys = vec![self.keys.reserved(owner)];
        keys.extend((!unique.is_empty()).then(|| self.keys.unique(unique)));
        let mut call = self.call(Script::Take, "taking a job", &keys).await?;
        call.arg(owner.as_str()).arg(seq).arg(micros(self.lease)).arg(id.0).arg(unique).arg(TAKE_DEPTH);
        let records = call.read(list).await?;
        Ok(records.into_iter().next().and_then(super::reply::bytes).map(|record| leased(id, record)))
    }

    /// Ends an owner and returns its jobs; an owner that does not exist has none.
    pub(super) async fn end_and_give_back(&self, owner: &Owner, how: &str) -> Result<u64, StoreError> {
        match self.end(owner, how).await? {
            Some(ended) => self.give_back(owner, ended).await,
            None => Ok(0),
        }
    }

    /// Whether expired leases are trustworthy: after an outage of server or network, and after a step forward of the
    /// server's clock, masters need time to renew, and reaping earlier would run their jobs twice.
    pub(super) async fn can_trust_leases(&self) -> Result<bool, StoreError> {
        const DOING: &str = "looking for dead masters";
        if self.reap_delay.is_zero() {
            return Ok(true);
        }
        let connection = self.calls.connection(DOING).await?;
        if connection.opened.elapsed() < self.reap_delay {
            return Ok(false);
        }
        let began = Instant::now();
        let time = self.plain(&redis::cmd("TIME"), DOING).await?;
        self.observe_clock(self.parsed(server_time(time), DOING)?, began);
        if self.went_forward_within(self.reap_delay) {
            return Ok(false);
        }
        let mut info = redis::cmd("INFO");
        match self.calls.send(&connection, info.arg("server"), Duration::ZERO).await {
            Ok(reply) => {
                let uptime =
                    text(reply).and_then(|info| info_field(&info, "uptime_in_seconds")?.parse().ok());
                Ok(uptime.is_none_or(|seconds| Duration::from_secs(seconds) >= self.reap_delay))
            }
            // The server hides its uptime; the unbroken connection is as old as required.
            Err(error) if super::connection::is_forbidden(&error) => Ok(true),
            Err(error) => Err(self.failed(error, DOING)),
        }
    }

    pub(super) async fn expired(&self) -> Result<Vec<Owner>, StoreError> {
        let call = self.call(Script::Expired, "looking for dead masters", &[]).await?;
        Ok(call.read(texts).await?.into_iter().map(Owner::named).collect())
    }

    /// Ends an owner; `None` when the owner does not exist.
    async fn end(&self, owner: &Owner, how: &str) -> Result<Option<Ended>, StoreError> {
        let fill = |call: &mut Call<'_>, _| {
            call.arg(owner.as_str()).arg(how);
        };
        let read = |reply| {
            if is_word(&reply, "NONE") {
                return Some(None);
            }
            let [left, now, ids] = fields(reply)?;
            Some(Some(Ended { left: int(left)? == 1, now: Timestamp(count(now)?), entries: entries(ids)? }))
        };
        self.call_with_summaries(Script::EndOwner, ENDING, vec![self.keys.reserved(owner)], fill, read).await
    }

    /// Returns the jobs of an ended owner in batches that any master can continue.
    ///
    /// Batches go from back to front, so that all jobs end up in their order at the front of waiting.
    async fn give_back(&self, owner: &Owner, ended: Ended) -> Result<u64, StoreError> {
        self.quarantine(owner, &ended.entries.foreign).await?;
        let mut freed = 0;
        for batch in ended.entries.ids.rchunks(MAX_BATCH) {
            let metas = if ended.left { vec![None; batch.len()] } else { self.metas(batch).await? };
            let mut call = self.call(Script::Free, ENDING, &[self.keys.reserved(owner)]).await?;
            call.arg(owner.as_str());
            for (id, meta) in batch.iter().zip(metas) {
                // An unreadable record returns unchanged; the next lease reports it as malformed.
                let Some(meta) = meta.map(|meta| meta.after_lost(ended.now)) else {
                    call.arg("keep").arg(id.0).arg("").arg("").arg("");
                    continue;
                };
                let kind = if meta.failed.is_some() { "failed" } else { "front" };
                let unique = meta.unique.as_deref().unwrap_or("");
                call.arg(kind).arg(id.0).arg(unique).arg(priority(&meta)).arg(meta_text(&meta));
            }
            let (moved, removed) = call
                .read(|reply| {
                    let [moved, removed] = fields(reply)?;
                    Some((count(moved)?, names(removed)?))
                })
                .await?;
            log_removed(removed.len() as u64, &removed);
            freed += moved;
        }
        if !ended.left && freed > 0 {
            warn!(owner = owner.as_str(), jobs = freed, "master lost: its jobs are waiting again");
        }
        Ok(freed)
    }

    /// The metas of jobs; `None` for unreadable ones.
    async fn metas(&self, ids: &[JobId]) -> Result<Vec<Option<JobMeta>>, StoreError> {
        let mut call = self.call(Script::Metas, ENDING, &[]).await?;
        call.arg("all");
        for id in ids {
            call.arg(id.0);
        }
        call.read(|reply| metas(reply).filter(|metas| metas.len() == ids.len())).await
    }

    /// The unique keys of jobs about to be removed.
    pub(super) async fn unique_keys(
        &self,
        ids: &[Vec<u8>],
        doing: &'static str,
    ) -> Result<Vec<(Vec<u8>, String)>, StoreError> {
        let mut call = self.call(Script::Metas, doing, &[]).await?;
        call.arg("unique").arg(ids);
        let metas = call.read(metas).await?;
        let key = |(id, meta): (&Vec<u8>, Option<JobMeta>)| Some((id.clone(), meta?.unique?));
        Ok(ids.iter().zip(metas).filter_map(key).collect())
    }
}
