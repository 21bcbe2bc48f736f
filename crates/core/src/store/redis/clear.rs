//! Clears: whole states are renamed in one step and removed in batches; the next clear finishes an interrupted one.

use std::collections::BTreeMap;

use super::RedisStore;
use super::foreign::{log_removed, names};
use super::reply::{Entries, count, fields, int, text, texts};
use super::scripts::Script;
use crate::mutex::lock;
use crate::store::{Clear, Cleared, MAX_BATCH, StoreError};

const DOING: &str = "clearing jobs";
/// The name of the hash of unique keys that jobs put aside have held.
const RELEASED_KEYS: &str = "unique";
/// The argument and the reply of `clear_keys.lua` at the start and at the end.
const NO_KEYS: &str = "0";

impl RedisStore {
    pub(super) async fn empty(&self, which: Clear) -> Result<Cleared, StoreError> {
        // Keys that an interrupted clear has left would make the first step of this one slow.
        self.remove_released_keys().await?;
        let mut cleared = Cleared::default();
        for name in self.put_aside(which).await? {
            let removed = self.remove_aside(&name).await?;
            match state_of(&name) {
                "waiting" => cleared.waiting += removed,
                "delayed" => cleared.delayed += removed,
                _ => cleared.failed += removed,
            }
        }
        if which.reserved {
            cleared.reserved = self.remove_reserved().await?;
        }
        Ok(cleared)
    }

    /// Finishes interrupted clears: those whose front has not changed since the last call, because a clear removes jobs from the front.
    /// A clear under way counts the jobs that it removes, so this leaves it alone.
    pub(super) async fn finish_clears(&self) -> Result<(), StoreError> {
        let mut fronts = BTreeMap::new();
        for name in self.put_aside(Clear::default()).await? {
            let mut peek = self.call(Script::ClearPeek, DOING, &[self.keys.clearing(&name)]).await?;
            peek.arg(state_of(&name)).arg(1);
            let front = peek.read(texts).await?;
            let is_left = lock(&self.clear_fronts).get(&name) == Some(&front);
            if is_left {
                self.remove_aside(&name).await?;
            } else {
                fronts.insert(name, front);
            }
        }
        *lock(&self.clear_fronts) = fronts;
        Ok(())
    }

    /// Renames the states to clear; returns the names of all pending ones, those of an interrupted clear included.
    async fn put_aside(&self, which: Clear) -> Result<Vec<String>, StoreError> {
        let fresh = format!("{:016x}", crate::store::random());
        let parts = [
            (format!("waiting:{fresh}"), which.waiting),
            (format!("waiting:{fresh}:high"), which.waiting),
            (format!("waiting:{fresh}:low"), which.waiting),
            (format!("delayed:{fresh}"), which.delayed),
            (format!("failed:{fresh}"), which.failed),
        ];
        let mut keys: Vec<_> = parts.iter().map(|(name, _)| self.keys.clearing(name)).collect();
        keys.push(self.keys.clearing(RELEASED_KEYS));
        let mut call = self.call(Script::ClearBegin, DOING, &keys).await?;
        for (_, wanted) in &parts {
            call.arg(if *wanted { "1" } else { "" });
        }
        for (name, _) in &parts {
            call.arg(name);
        }
        let names = call.read(texts).await?;
        self.remove_released_keys().await?;
        Ok(names)
    }

    /// Removes the unique keys of the jobs put aside, those of an interrupted clear included.
    async fn remove_released_keys(&self) -> Result<(), StoreError> {
        let keys = [self.keys.clearing(RELEASED_KEYS)];
        let mut next = NO_KEYS.to_owned();
        loop {
            let mut call = self.call(Script::ClearKeys, DOING, &keys).await?;
            call.arg(&next);
            next = call.read(text).await?;
            if next == NO_KEYS {
                return Ok(());
            }
        }
    }

    async fn remove_aside(&self, name: &str) -> Result<u64, StoreError> {
        let keys = [self.keys.clearing(name)];
        let mut removed = 0;
        loop {
            let mut peek = self.call(Script::ClearPeek, DOING, &keys).await?;
            peek.arg(state_of(name)).arg(MAX_BATCH);
            let ids = peek.read(names).await?;
            let freed = if ids.is_empty() { Vec::new() } else { self.unique_keys(&ids, DOING).await? };
            let apply_keys = [keys[0].clone(), self.keys.outputs()];
            let mut apply = self.call(Script::ClearApply, DOING, &apply_keys).await?;
            apply.arg(name).arg(state_of(name)).arg(ids.len()).arg(&ids);
            for (id, key) in &freed {
                apply.arg(id).arg(key);
            }
            // -1: a concurrent clear removed the same ids; both continue with the rest.
            removed += u64::try_from(apply.read(int).await?).unwrap_or(0);
            if ids.is_empty() {
                return Ok(removed);
            }
        }
    }

    async fn remove_reserved(&self) -> Result<u64, StoreError> {
        let mut removed = 0;
        for owner in self.every_owner().await? {
            let keys = [self.keys.reserved(&owner), self.keys.outputs()];
            let Entries { ids, foreign } = self.reserved_entries(&owner, DOING).await?;
            // In failed, where this clear does not remove them unless asked to.
            self.quarantine(&owner, &foreign).await?;
            for batch in ids.chunks(MAX_BATCH) {
                let batch: Vec<_> = batch.iter().map(|id| id.to_string().into_bytes()).collect();
                let freed = self.unique_keys(&batch, DOING).await?;
                let mut call = self.call(Script::ClearReserved, DOING, &keys).await?;
                call.arg(batch.len()).arg(&batch);
                for (id, key) in &freed {
                    call.arg(id).arg(key);
                }
                let (jobs, missing) = call
                    .read(|reply| {
                        let [jobs, missing] = fields(reply)?;
                        Some((count(jobs)?, names(missing)?))
                    })
                    .await?;
                log_removed(missing.len() as u64, &missing);
                removed += jobs;
            }
        }
        Ok(removed)
    }
}

/// The state of the jobs under `name`.
fn state_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(state, _)| state)
}
