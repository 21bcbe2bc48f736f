//! The kept done jobs: a sorted set of ids by time, and a hash of texts.

use redis::Value;

use super::RedisStore;
use super::call::Call;
use super::reply::{count, fields, id, int, list, score, text};
use super::scripts::Script;
use crate::durations::micros;
use crate::job::{JobId, Timestamp};
use crate::store::{
    Cursor, KeptLimits, KeptPage, KeptTrim, KeptView, MAX_BATCH, MAX_BATCH_BYTES, StoreError,
};

/// Largest limit that a script represents exactly; in effect no limit.
const MAX_LIMIT: u64 = 1 << 52;

const LISTING: &str = "looking at kept jobs";

/// Adds the limits to the call of a turn.
pub(super) fn fill(call: &mut Call<'_>, limits: KeptLimits) {
    call.arg("kept").arg(limits.count.min(MAX_LIMIT)).arg(micros(limits.age).min(MAX_LIMIT));
}

impl RedisStore {
    pub(super) async fn page_of_kept(
        &self,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<KeptPage, StoreError> {
        let mut call = self.call(Script::Kept, LISTING, &self.keys.kept()).await?;
        call.arg(limit.clamp(1, MAX_BATCH)).arg(MAX_BATCH_BYTES);
        match after {
            Some(Cursor { rank, id }) => call.arg(rank).arg(id),
            None => call.arg("").arg(""),
        };
        call.read(page).await
    }

    pub(super) async fn one_kept(&self, id: JobId) -> Result<Option<KeptView>, StoreError> {
        let mut call = self.call(Script::KeptJob, LISTING, &self.keys.kept()).await?;
        call.arg(id.0);
        call.read(|reply| match <[Value; 2]>::try_from(list(reply)?) {
            Ok([at, stored]) => Some(Some(KeptView { id, at: Timestamp(score(at)?), text: text(stored)? })),
            Err(_) => Some(None),
        })
        .await
    }

    pub(super) async fn remove_surplus_kept(&self) -> Result<KeptTrim, StoreError> {
        let call = self.call(Script::TrimKept, "removing kept jobs", &self.keys.kept()).await?;
        call.read(|reply| {
            let [removed, left] = fields(reply)?;
            Some(KeptTrim { removed: count(removed)?, left: count(left)? })
        })
        .await
    }
}

fn page(reply: Value) -> Option<KeptPage> {
    let mut values = list(reply)?.into_iter();
    let (total, more) = (count(values.next()?)?, int(values.next()?)? == 1);
    let (rank, last) = (values.next()?, values.next()?);
    // Behind an id of another program there is no position.
    let next = match id(&last).filter(|_| more) {
        Some(last) => Some(Cursor { rank: score(rank)?, id: last.0 }),
        None => None,
    };
    let mut jobs = Vec::new();
    while let Some(entry) = values.next() {
        let (at, text) = (Timestamp(score(values.next()?)?), text(values.next()?)?);
        jobs.extend(id(&entry).map(|id| KeptView { id, at, text }));
    }
    Some(KeptPage { jobs, next, total })
}
