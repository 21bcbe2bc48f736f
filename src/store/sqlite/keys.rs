//! Unique keys: held by a job in its own row, so that a key never outlives its job.

use rusqlite::params;

use super::fault::Fault;
use super::op::Tx;

/// A key as stored: channels do not see each other's.
pub(super) fn stored(channel: i64, key: &str) -> String {
    format!("{channel}:{key}")
}

/// The live job that holds a key. One that was cleared or whose record is gone gives it up now.
pub(super) fn holder(tx: &Tx<'_>, key: &str) -> Result<Option<i64>, Fault> {
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

/// Gives a job its key again, where it is free.
pub(super) fn retake(tx: &Tx<'_>, channel: i64, id: i64, key: &str) -> Result<(), Fault> {
    let key = stored(channel, key);
    if holder(tx, &key)?.is_none() {
        tx.execute("UPDATE jobs SET key = ?2 WHERE id = ?1", params![id, key])?;
    }
    Ok(())
}
