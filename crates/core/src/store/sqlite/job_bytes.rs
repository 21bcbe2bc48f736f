//! The bytes of the jobs of a channel, counted by triggers from the first limit of bytes on.

use super::error::SqliteError;
use super::transaction::Tx;

const TRIGGERS: &str = include_str!("job_bytes.sql");

/// Begins the count of a channel, unless it has begun: reads the sizes of all its records and outputs. The count of a channel
/// without jobs begins again, in case another program has put it wrong.
pub(super) fn begin(tx: &Tx<'_>, channel: i64) -> Result<(), SqliteError> {
    if get(tx, channel)?.is_some() {
        tx.execute(
            "UPDATE job_bytes SET bytes = 0 WHERE channel = ?1 AND NOT EXISTS
                 (SELECT 1 FROM lanes l JOIN jobs j ON j.lane = l.id WHERE l.channel = ?1)",
            [channel],
        )?;
        return Ok(());
    }
    tx.execute_batch(TRIGGERS)?;
    tx.execute(
        "INSERT INTO job_bytes (channel, bytes)
         SELECT ?1, coalesce(sum(
             coalesce((SELECT octet_length(meta) + 1 + octet_length(payload) FROM records WHERE id = j.id), 0)
             + coalesce((SELECT octet_length(text) FROM outputs WHERE id = j.id), 0)), 0)
         FROM lanes l JOIN jobs j ON j.lane = l.id WHERE l.channel = ?1",
        [channel],
    )?;
    Ok(())
}

/// The bytes of the jobs of a channel; `None` while they are not counted.
pub(super) fn get(tx: &Tx<'_>, channel: i64) -> Result<Option<i64>, SqliteError> {
    tx.number("SELECT bytes FROM job_bytes WHERE channel = ?1", [channel])
}
