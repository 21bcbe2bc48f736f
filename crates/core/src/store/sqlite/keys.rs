//! Unique keys: held in the row of their job, so that a key cannot outlive it, or for a time in a row of their own.

use std::time::Duration;

use rusqlite::params;

use super::error::SqliteError;
use super::transaction::Tx;
use crate::store::MAX_BATCH;

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
    tx.number(
        "SELECT job FROM holds WHERE key = ?1 AND until > ?2
         UNION ALL
         SELECT j.id FROM jobs j JOIN lanes l ON l.id = j.lane JOIN records r ON r.id = j.id
         WHERE j.key = ?1 AND l.state <> 0
         LIMIT 1",
        params![key, tx.now.0.cast_signed()],
    )
}

/// The live job with this key in its row. A cleared job, or one without a record, loses the key here.
fn live_holder(tx: &Tx<'_>, key: &str) -> Result<Option<i64>, SqliteError> {
    let Some(id) = tx.number("SELECT id FROM jobs WHERE key = ?1", [key])? else { return Ok(None) };
    let live = tx.number(
        "SELECT 1 FROM jobs j JOIN lanes l ON l.id = j.lane JOIN records r ON r.id = j.id
         WHERE j.id = ?1 AND l.state <> 0",
        [id],
    )?;
    if live.is_some() {
        return Ok(Some(id));
    }
    tx.execute("UPDATE jobs SET key = NULL WHERE id = ?1", [id])?;
    Ok(None)
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
