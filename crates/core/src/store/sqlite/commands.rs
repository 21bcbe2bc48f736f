//! Commands on many jobs: requeue, discard, clear, pause.

use std::time::Duration;

use super::bucket::{self, Channel};
use super::error::SqliteError;
use super::pause::Pause;
use super::rank::WaitingEnds;
use super::transaction::Tx;
use super::{keys, outputs, record};
use crate::job::{JobId, JobMeta, MAX_DELAY, Timestamp};
use crate::store::driver_rules::{lasting_key, meta_text};
use crate::store::{Clear, Cleared, MAX_BATCH, MAX_BATCH_BYTES};

pub(super) fn requeue(tx: &Tx<'_>, channel: i64, jobs: &[(JobId, JobMeta)]) -> Result<u64, SqliteError> {
    let channel = Channel::read(tx, channel)?;
    let mut ends = WaitingEnds::of(channel.waiting);
    let mut moved = 0;
    for (id, meta) in jobs {
        let id = id.0.cast_signed();
        let rank = ends.back(tx, meta.priority)?;
        if !bucket::place(tx, id, channel.failed, channel.waiting, rank, meta.priority)? {
            continue;
        }
        record::rewrite(tx, id, &meta_text(meta))?;
        outputs::remove(tx, id)?;
        if let Some(key) = lasting_key(meta) {
            keys::retake(tx, channel.id, id, key)?;
        }
        moved += 1;
    }
    bucket::count(tx, channel.failed, -moved)?;
    bucket::count(tx, channel.waiting, moved)?;
    if moved > 0 {
        tx.wake(channel.id)?;
    }
    Ok(moved.cast_unsigned())
}

pub(super) fn discard(tx: &Tx<'_>, channel: i64, ids: &[i64]) -> Result<u64, SqliteError> {
    let channel = Channel::read(tx, channel)?;
    let mut all = 0;
    for bucket in [channel.waiting, channel.delayed, channel.failed] {
        let mut removed = 0;
        for id in ids {
            if bucket::delete(tx, *id, bucket)? {
                outputs::remove(tx, *id)?;
                removed += 1;
            }
        }
        bucket::count(tx, bucket, -removed)?;
        all += removed;
    }
    channel.count_cleared(tx, all)?;
    Ok(all.cast_unsigned())
}

/// Replaces the buckets to be cleared by empty ones; the jobs of the old buckets are gone from then on.
pub(super) fn clear(tx: &Tx<'_>, channel: i64, which: Clear) -> Result<Cleared, SqliteError> {
    let channel = Channel::read(tx, channel)?;
    let replace = |wanted: bool, old, state, sql| {
        if !wanted {
            return Ok(0);
        }
        let jobs = drop_bucket(tx, old)?;
        tx.execute(sql, [channel.id, bucket::make(tx, channel.id, state)?])?;
        Ok::<_, SqliteError>(jobs)
    };
    let [waiting, delayed, failed] = [
        "UPDATE channels SET waiting = ?2 WHERE id = ?1",
        "UPDATE channels SET delayed = ?2 WHERE id = ?1",
        "UPDATE channels SET failed = ?2 WHERE id = ?1",
    ];
    let mut cleared = Cleared {
        waiting: replace(which.waiting, channel.waiting, bucket::WAITING, waiting)?,
        delayed: replace(which.delayed, channel.delayed, bucket::DELAYED, delayed)?,
        failed: replace(which.failed, channel.failed, bucket::FAILED, failed)?,
        reserved: 0,
    };
    if which.reserved {
        let mut held = tx.prepare("SELECT id FROM lanes WHERE channel = ?1 AND state IN (3, 5, 6)")?;
        let held = held.query_map([channel.id], |row| row.get(0))?;
        for bucket in held.collect::<Result<Vec<i64>, _>>()? {
            cleared.reserved += drop_bucket(tx, bucket)?;
            // A living owner gets an empty bucket; a dead one needs none any longer.
            let fresh = bucket::make(tx, channel.id, bucket::RESERVED)?;
            if tx.execute("UPDATE owners SET lane = ?2 WHERE lane = ?1", [bucket, fresh])? == 0 {
                tx.execute("DELETE FROM lanes WHERE id = ?1", [fresh])?;
            }
        }
    }
    let all = cleared.waiting + cleared.delayed + cleared.failed + cleared.reserved;
    channel.count_cleared(tx, all.cast_signed())?;
    Ok(cleared)
}

fn drop_bucket(tx: &Tx<'_>, bucket: i64) -> Result<u64, SqliteError> {
    let jobs = bucket::jobs(tx, bucket)?;
    tx.execute("UPDATE lanes SET state = 0 WHERE id = ?1", [bucket])?;
    Ok(jobs.cast_unsigned())
}

/// A cleared bucket whose rows are not deleted yet.
fn remnant(tx: &Tx<'_>, channel: i64) -> Result<Option<i64>, SqliteError> {
    tx.number("SELECT id FROM lanes WHERE channel = ?1 AND state = 0 LIMIT 1", [channel])
}

/// Whether a clear is under way or was interrupted.
pub(super) fn has_remnant(tx: &Tx<'_>, channel: i64) -> Result<bool, SqliteError> {
    Ok(remnant(tx, channel)?.is_some())
}

/// Deletes one batch of cleared rows; returns whether none is left.
pub(super) fn sweep(tx: &Tx<'_>, channel: i64) -> Result<bool, SqliteError> {
    let Some(bucket) = remnant(tx, channel)? else { return Ok(true) };
    let mut gone = tx.prepare(
        "SELECT j.id, octet_length(r.payload) FROM jobs j LEFT JOIN records r ON r.id = j.id
         WHERE j.lane = ?1 ORDER BY j.rank LIMIT ?2",
    )?;
    let mut rows = gone.query([bucket, MAX_BATCH as i64])?;
    let (mut ids, mut bytes) = (Vec::new(), 0);
    // Deleting large payloads is slow, so such a batch has fewer jobs.
    while bytes < MAX_BATCH_BYTES as i64
        && let Some(row) = rows.next()?
    {
        ids.push(row.get::<_, i64>(0)?);
        bytes += row.get::<_, Option<i64>>(1)?.unwrap_or(0);
    }
    drop(rows);
    for id in &ids {
        bucket::delete(tx, *id, bucket)?;
        outputs::remove(tx, *id)?;
    }
    if ids.is_empty() {
        tx.execute("DELETE FROM lanes WHERE id = ?1", [bucket])?;
    }
    Ok(false)
}

pub(super) fn pause(
    tx: &Tx<'_>,
    channel: i64,
    time: Option<Duration>,
) -> Result<Option<Timestamp>, SqliteError> {
    let pause = Pause { until: time.map(|time| tx.now.after(time.min(MAX_DELAY))) };
    tx.execute("UPDATE channels SET paused = ?2 WHERE id = ?1", [channel, pause.stored()])?;
    // Waiting masters must learn the end of the pause.
    tx.wake(channel)?;
    Ok(pause.until)
}

pub(super) fn resume(tx: &Tx<'_>, channel: i64) -> Result<bool, SqliteError> {
    let was = Channel::read(tx, channel)?.pause.is_some();
    tx.execute("UPDATE channels SET paused = 0 WHERE id = ?1", [channel])?;
    tx.wake(channel)?;
    Ok(was)
}
