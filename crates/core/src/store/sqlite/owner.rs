//! Owners: joining, renewing, taking one job, leaving, recovery of their jobs.

use std::time::Duration;

use rusqlite::params;

use super::bucket::{self, Channel};
use super::error::SqliteError;
use super::rank::{self, Fronts, WaitingEnds};
use super::record::{self, RawRecord};
use super::transaction::Tx;
use super::{clock, keys, limits};
use crate::durations::micros;
use crate::job::Timestamp;
use crate::store::driver_rules::{TAKE_DEPTH, lasting_key, meta_text};
use crate::store::{MAX_BATCH, MAX_MASTERS, Owner, OwnerView, Published, Summary};

/// A call with a `seq`, and the lease that it renews.
#[derive(Clone, Debug)]
pub(super) struct OwnerCall {
    pub(super) channel: i64,
    pub(super) name: String,
    pub(super) seq: u64,
    pub(super) lease: Duration,
    /// The current boot of the machine.
    pub(super) boot: String,
}

impl OwnerCall {
    fn deadline(&self) -> i64 {
        clock::since_boot().saturating_add(i64::try_from(micros(self.lease)).unwrap_or(i64::MAX))
    }
}

pub(super) fn join(tx: &Tx<'_>, owner_call: &OwnerCall) -> Result<(), SqliteError> {
    let bucket = bucket::make(tx, owner_call.channel, bucket::RESERVED)?;
    tx.execute(
        "INSERT INTO owners (channel, name, lane, seq, boot, deadline) VALUES (?1, ?2, ?3, 0, ?4, ?5)",
        params![owner_call.channel, owner_call.name, bucket, owner_call.boot, owner_call.deadline()],
    )?;
    Ok(())
}

/// Checks the `seq` of a call, renews the lease, returns the owner's bucket.
pub(super) fn renew_lease(tx: &Tx<'_>, owner_call: &OwnerCall) -> Result<i64, SqliteError> {
    let mut statement = tx.prepare("SELECT id, lane, seq FROM owners WHERE channel = ?1 AND name = ?2")?;
    let mut rows = statement.query(params![owner_call.channel, owner_call.name])?;
    let row = rows.next()?.ok_or(SqliteError::Lost)?;
    let (id, bucket, last): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let seq = i64::try_from(owner_call.seq).unwrap_or(i64::MAX);
    if seq <= last {
        return Err(SqliteError::Replayed);
    }
    tx.execute(
        "UPDATE owners SET seq = ?2, boot = ?3, deadline = ?4 WHERE id = ?1",
        params![id, seq, owner_call.boot, owner_call.deadline()],
    )?;
    Ok(bucket)
}

/// Stores the summary of the owner of a bucket in place of the last one.
pub(super) fn publish(tx: &Tx<'_>, bucket: i64, summary: &Summary) -> Result<(), SqliteError> {
    tx.execute(
        "INSERT OR REPLACE INTO summaries (owner, at, text) SELECT id, ?2, ?3 FROM owners WHERE lane = ?1",
        params![bucket, tx.now.0.cast_signed(), summary.as_str()],
    )?;
    Ok(())
}

/// The owners of a channel with their summaries, the longest lease first.
pub(super) fn masters(tx: &Tx<'_>, channel: i64, boot: &str) -> Result<Vec<OwnerView>, SqliteError> {
    let mut statement = tx.prepare(
        "SELECT o.name, CASE o.boot WHEN ?2 THEN o.deadline - ?3 ELSE 0 END AS left, s.at, s.text
         FROM owners o LEFT JOIN summaries s ON s.owner = o.id
         WHERE o.channel = ?1 ORDER BY left DESC, o.id LIMIT ?4",
    )?;
    let views =
        statement.query_map(params![channel, boot, clock::since_boot(), MAX_MASTERS as i64], |row| {
            let at: Option<i64> = row.get(2)?;
            let text: Option<String> = row.get(3)?;
            let left = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            Ok(OwnerView {
                owner: Owner::named(row.get::<_, String>(0)?),
                lease_left: (left > 0).then(|| Duration::from_micros(left)),
                published: at.zip(text).map(|(at, text)| Published {
                    at: Timestamp(at.cast_unsigned()),
                    age: tx.now.since(Timestamp(at.cast_unsigned())),
                    summary: Summary::new(text),
                }),
            })
        })?;
    Ok(views.collect::<Result<_, _>>()?)
}

/// The ids in a bucket.
pub(super) fn held(tx: &Tx<'_>, bucket: i64) -> Result<Vec<i64>, SqliteError> {
    let mut statement = tx.prepare("SELECT id FROM jobs WHERE lane = ?1 ORDER BY rank, id")?;
    let ids = statement.query_map([bucket], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The records of those ids that are in a bucket.
pub(super) fn fetch(tx: &Tx<'_>, bucket: i64, ids: &[i64]) -> Result<Vec<RawRecord>, SqliteError> {
    let mut statement = tx.prepare(
        "SELECT r.meta, r.payload FROM jobs j LEFT JOIN records r ON r.id = j.id WHERE j.id = ?1 AND j.lane = ?2",
    )?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = statement.query([*id, bucket])?;
        if let Some(row) = rows.next()? {
            found.push(RawRecord::read(*id, row, 0)?);
        }
    }
    Ok(found)
}

pub(super) fn take(tx: &Tx<'_>, owner_call: &OwnerCall, id: i64) -> Result<Option<RawRecord>, SqliteError> {
    let own = renew_lease(tx, owner_call)?;
    let channel = Channel::read(tx, owner_call.channel)?;
    let Some(from) = tx.number("SELECT lane FROM jobs WHERE id = ?1", [id])? else { return Ok(None) };
    if from == channel.waiting {
        let before = tx.number(
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE lane = ?1
                 AND rank < (SELECT rank FROM jobs WHERE id = ?2) LIMIT ?3)",
            [from, id, TAKE_DEPTH as i64],
        )?;
        if before.is_some_and(|before| before >= TAKE_DEPTH as i64) {
            return Ok(None);
        }
    } else if from == channel.failed {
        let meta = record::meta(tx, id)?;
        if let Some(key) = meta.as_ref().and_then(lasting_key) {
            keys::retake(tx, channel.id, id, key)?;
        }
    } else if from != channel.delayed {
        return Ok(None);
    }
    bucket::shift(tx, id, from, own, 0)?;
    bucket::count(tx, from, -1)?;
    bucket::count(tx, own, 1)?;
    Ok(fetch(tx, own, &[id])?.pop())
}

/// Ends an owner at its own request; returns its bucket, to be emptied, and the number of jobs in it.
pub(super) fn leave(tx: &Tx<'_>, channel: i64, name: &str) -> Result<(i64, i64), SqliteError> {
    let bucket = bucket::of_owner(tx, channel, name)?;
    end(tx, bucket, bucket::LEFT)?;
    Ok((bucket, bucket::jobs(tx, bucket)?))
}

/// Ends an owner that is known to be dead; an unknown one has ended already.
pub(super) fn expire(tx: &Tx<'_>, channel: i64, name: &str) -> Result<(), SqliteError> {
    match bucket::of_owner(tx, channel, name) {
        Ok(bucket) => end(tx, bucket, bucket::LOST),
        Err(SqliteError::Lost) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Ends all owners whose lease has expired, or was renewed last in an earlier boot.
pub(super) fn expire_overdue(tx: &Tx<'_>, channel: i64, boot: &str) -> Result<(), SqliteError> {
    let mut statement =
        tx.prepare("SELECT lane FROM owners WHERE channel = ?1 AND (boot <> ?2 OR deadline <= ?3)")?;
    let buckets = statement.query_map(params![channel, boot, clock::since_boot()], |row| row.get(0))?;
    for bucket in buckets.collect::<Result<Vec<i64>, _>>()? {
        end(tx, bucket, bucket::LOST)?;
    }
    Ok(())
}

fn end(tx: &Tx<'_>, bucket: i64, state: i64) -> Result<(), SqliteError> {
    limits::end(tx, bucket)?;
    tx.execute("DELETE FROM owners WHERE lane = ?1", [bucket])?;
    tx.execute("UPDATE lanes SET state = ?2 WHERE id = ?1", [bucket, state])?;
    Ok(())
}

/// Recovers one batch of the jobs of ended owners, or of the bucket `only`. Returns the number of recovered jobs of lost
/// owners; `None` when nothing is left to recover.
pub(super) fn free(tx: &Tx<'_>, channel: i64, only: Option<i64>) -> Result<Option<u64>, SqliteError> {
    let channel = Channel::read(tx, channel)?;
    let mut statement = tx.prepare(
        "SELECT id, state FROM lanes WHERE channel = ?1 AND state IN (5, 6) AND (?2 IS NULL OR id = ?2) LIMIT 1",
    )?;
    let mut rows = statement.query(params![channel.id, only])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (bucket, state): (i64, i64) = (row.get(0)?, row.get(1)?);
    drop(rows);

    // From back to front, so that each batch lands before the previous one at the front of waiting.
    let mut last =
        tx.prepare("SELECT id, priority FROM jobs WHERE lane = ?1 ORDER BY rank DESC, id DESC LIMIT ?2")?;
    let jobs = last.query_map([bucket, MAX_BATCH as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let jobs = jobs.collect::<Result<Vec<(i64, i64)>, _>>()?;
    if jobs.is_empty() {
        tx.execute("DELETE FROM lanes WHERE id = ?1", [bucket])?;
        return Ok(Some(0));
    }
    let priorities = jobs.iter().map(|(_, priority)| rank::priority(*priority));
    let mut fronts = Fronts::of(tx, &mut WaitingEnds::of(channel.waiting), priorities)?;
    let (mut waiting, mut failed) = (0, 0);
    for (id, priority) in jobs.iter().rev() {
        if state == bucket::LOST && raise_lost(tx, *id)? {
            bucket::fail(tx, *id, bucket, channel.failed)?;
            failed += 1;
        } else {
            bucket::shift(tx, *id, bucket, channel.waiting, fronts.next(rank::priority(*priority)))?;
            waiting += 1;
        }
    }
    bucket::count(tx, bucket, -(waiting + failed))?;
    bucket::count(tx, channel.waiting, waiting)?;
    bucket::count(tx, channel.failed, failed)?;
    tx.wake(channel.id)?;
    Ok(Some(if state == bucket::LOST { jobs.len() as u64 } else { 0 }))
}

/// Raises `lost` of a record; returns whether the job fails by it. An unreadable record stays unchanged.
fn raise_lost(tx: &Tx<'_>, id: i64) -> Result<bool, SqliteError> {
    let Some(meta) = record::meta(tx, id)? else { return Ok(false) };
    let meta = meta.after_lost(tx.now);
    record::rewrite(tx, id, &meta_text(&meta))?;
    Ok(meta.failed.is_some())
}
