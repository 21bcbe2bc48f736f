//! The rows of outputs: the last lines that the last failed run of a job printed.

use rusqlite::params;

use super::error::SqliteError;
use super::transaction::Tx;

/// The stored output of a job of this channel; `None` without one.
pub(super) fn get(tx: &Tx<'_>, channel: i64, id: i64) -> Result<Option<String>, SqliteError> {
    let mut statement = tx.prepare(
        "SELECT o.text FROM outputs o JOIN jobs j ON j.id = o.id JOIN lanes l ON l.id = j.lane
         WHERE o.id = ?1 AND l.channel = ?2 AND l.state <> 0",
    )?;
    let mut rows = statement.query([id, channel])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

/// Stores the output of a job in place of an earlier one.
pub(super) fn set(tx: &Tx<'_>, id: i64, text: &str) -> Result<(), SqliteError> {
    tx.execute("INSERT OR REPLACE INTO outputs (id, text) VALUES (?1, ?2)", params![id, text])?;
    Ok(())
}

/// Removes the output of a job, if there is one.
pub(super) fn remove(tx: &Tx<'_>, id: i64) -> Result<(), SqliteError> {
    tx.execute("DELETE FROM outputs WHERE id = ?1", [id])?;
    Ok(())
}
