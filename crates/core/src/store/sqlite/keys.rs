//! Unique keys: held in the row of their job, so that a key cannot outlive it, or for a time in a row of their own.

use std::time::Duration;

use rusqlite::params;

use super::error::SqliteError;
use super::transaction::Tx;
use super::{bucket, record};
use crate::job::{JobId, JobMeta};
use crate::store::{JobState, MAX_BATCH, driver_rules};

/// A key as stored: prefixed by its channel.
pub(super) fn stored(channel: i64, key: &str) -> String {
    format!("{channel}:{key}")
}

/// The holder of a key: the job of a timed hold, or a live job.
pub(super) fn holder(tx: &Tx<'_>, key: &str) -> Result<Option<i64>, SqliteError> {
    let now = tx.now.0.cast_signed();
    let timed = tx.number("SELECT job FROM holds WHERE key = ?1 AND until > ?2", params![key, now])?;
    if timed.is_some() { Ok(timed) } else { live_holder(tx, key) }
}

/// The holder of a key, without changing the file.
pub(super) fn look_for_holder(tx: &Tx<'_>, key: &str) -> Result<Option<i64>, SqliteError> {
    let now = tx.now.0.cast_signed();
    if let Some(timed) =
        tx.number("SELECT job FROM holds WHERE key = ?1 AND until > ?2", params![key, now])?
    {
        return Ok(Some(timed));
    }
    match tx.number("SELECT id FROM jobs WHERE key = ?1", [key])? {
        Some(id) if may_run(tx, id)? => Ok(Some(id)),
        _ => Ok(None),
    }
}

/// The live job with this key in its row. A job that will not run loses the key here.
fn live_holder(tx: &Tx<'_>, key: &str) -> Result<Option<i64>, SqliteError> {
    let Some(id) = tx.number("SELECT id FROM jobs WHERE key = ?1", [key])? else { return Ok(None) };
    if may_run(tx, id)? {
        return Ok(Some(id));
    }
    tx.execute("UPDATE jobs SET key = NULL WHERE id = ?1", [id])?;
    Ok(None)
}

/// Whether a job may still run: it is neither cleared nor without a record, nor did it expire before an owner leased it.
fn may_run(tx: &Tx<'_>, id: i64) -> Result<bool, SqliteError> {
    let state =
        tx.number("SELECT l.state FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = ?1", [id])?;
    let Some(state) = state.and_then(bucket::state) else { return Ok(false) };
    if tx.number("SELECT 1 FROM records WHERE id = ?1", [id])?.is_none() {
        return Ok(false);
    }
    let meta = record::meta(tx, id)?;
    let has_expired = |meta: JobMeta| driver_rules::has_expired(&meta, JobId(id.cast_unsigned()), tx.now);
    Ok(state == JobState::Reserved || !meta.is_some_and(has_expired))
}

/// Gives a job its key again if the key is free.
pub(super) fn retake(tx: &Tx<'_>, channel: i64, id: i64, key: &str) -> Result<(), SqliteError> {
    let key = stored(channel, key);
    if holder(tx, &key)?.is_none() {
        tx.execute("UPDATE jobs SET key = ?2 WHERE id = ?1", params![id, key])?;
    }
    Ok(())
}

/// Holds a key for a new job for a time.
pub(super) fn hold(tx: &Tx<'_>, key: &str, job: i64, time: Duration) -> Result<(), SqliteError> {
    let until = tx.now.after(time).0.cast_signed();
    let sql = "INSERT OR REPLACE INTO holds (key, job, until) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![key, job, until])?;
    Ok(())
}

/// Deletes expired timed holds: at least as many as one push can add.
pub(super) fn sweep(tx: &Tx<'_>) -> Result<(), SqliteError> {
    tx.execute(
        "DELETE FROM holds WHERE key IN (SELECT key FROM holds WHERE until <= ?1 ORDER BY until LIMIT ?2)",
        [tx.now.0.cast_signed(), MAX_BATCH as i64],
    )?;
    Ok(())
}

/// Releases a key held in the row of its job.
pub(super) fn free(tx: &Tx<'_>, id: i64, key: &str) -> Result<(), SqliteError> {
    tx.execute("UPDATE jobs SET key = NULL WHERE id = ?1 AND key = ?2", params![id, key])?;
    Ok(())
}
