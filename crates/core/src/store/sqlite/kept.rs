//! The rows of kept done jobs, and their limits.

use rusqlite::params;

use super::error::SqliteError;
use super::transaction::Tx;
use crate::durations::micros;
use crate::job::{JobId, Timestamp};
use crate::store::driver_rules::kept_since;
use crate::store::{Cursor, KeptLimits, KeptPage, KeptTrim, KeptView, MAX_BATCH, MAX_BATCH_BYTES};

/// Adds a kept job. Returns the number of jobs for [`limit`]: none in place of an earlier job, because a store that has lost its
/// last id gives ids again.
pub(super) fn add(tx: &Tx<'_>, channel: i64, id: i64, text: &str) -> Result<i64, SqliteError> {
    let replaced = tx.execute("DELETE FROM kept WHERE id = ?1 AND channel = ?2", [id, channel])?;
    tx.execute(
        "INSERT OR REPLACE INTO kept (id, channel, at, text) VALUES (?1, ?2, ?3, ?4)",
        params![id, channel, tx.now.0.cast_signed(), text],
    )?;
    Ok(1 - replaced as i64)
}

/// Counts added jobs and records the limits in force.
pub(super) fn limit(tx: &Tx<'_>, channel: i64, added: i64, limits: KeptLimits) -> Result<(), SqliteError> {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO kept_limits (channel, jobs, count, age) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (channel) DO UPDATE SET jobs = jobs + ?2, count = ?3, age = ?4",
        [channel, added, whole(limits.count), whole(micros(limits.age))],
    )?;
    Ok(())
}

/// The kept jobs of a channel as counted, and the limits in force.
struct Kept {
    jobs: i64,
    count: i64,
    /// The time of the youngest job that is too old.
    since: i64,
}

fn read(tx: &Tx<'_>, channel: i64) -> Result<Option<Kept>, SqliteError> {
    let mut statement = tx.prepare("SELECT jobs, count, age FROM kept_limits WHERE channel = ?1")?;
    let mut rows = statement.query([channel])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let age = std::time::Duration::from_micros(row.get::<_, i64>(2)?.cast_unsigned());
    let since = kept_since(age, tx.now).0.cast_signed();
    Ok(Some(Kept { jobs: row.get(0)?, count: row.get(1)?, since }))
}

/// Whether a channel has kept jobs.
pub(super) fn has_any(tx: &Tx<'_>, channel: i64) -> Result<bool, SqliteError> {
    Ok(read(tx, channel)?.is_some())
}

/// Removes jobs above the limits, the oldest first, at most [`MAX_BATCH`].
pub(super) fn trim(tx: &Tx<'_>, channel: i64) -> Result<KeptTrim, SqliteError> {
    let Some(kept) = read(tx, channel)? else { return Ok(KeptTrim::default()) };
    let most = MAX_BATCH as i64;
    let surplus = (kept.jobs - kept.count).clamp(0, most);
    let removed = tx.execute(
        "DELETE FROM kept WHERE id IN (SELECT id FROM kept WHERE channel = ?1 ORDER BY at, id LIMIT ?2)",
        [channel, surplus],
    )?;
    let old = tx.execute(
        "DELETE FROM kept WHERE id IN
             (SELECT id FROM kept WHERE channel = ?1 AND at <= ?2 ORDER BY at, id LIMIT ?3)",
        [channel, kept.since, most - surplus],
    )?;
    let removed = removed + old;
    let left = kept.jobs - removed as i64;
    if left <= 0 {
        tx.execute("DELETE FROM kept_limits WHERE channel = ?1", [channel])?;
    } else if removed > 0 {
        tx.execute("UPDATE kept_limits SET jobs = ?2 WHERE channel = ?1", [channel, left])?;
    }
    Ok(KeptTrim { removed: removed as u64, left: u64::try_from(left).unwrap_or(0) })
}

/// A page of the kept jobs, newest first.
pub(super) fn page(
    tx: &Tx<'_>,
    channel: i64,
    after: Option<Cursor>,
    limit: usize,
) -> Result<KeptPage, SqliteError> {
    let Some(kept) = read(tx, channel)? else { return Ok(KeptPage::default()) };
    let limit = limit.clamp(1, MAX_BATCH);
    let (at, id) =
        after.map_or((i64::MAX, i64::MAX), |cursor| (cursor.rank.cast_signed(), cursor.id.cast_signed()));
    let mut statement = tx.prepare(
        "SELECT id, at, text FROM kept WHERE channel = ?1 AND at > ?2 AND (at, id) < (?3, ?4)
         ORDER BY at DESC, id DESC LIMIT ?5",
    )?;
    // An extra row tells whether there is a next page.
    let mut rows = statement.query(params![channel, kept.since, at, id, limit as i64 + 1])?;
    let mut page = KeptPage { total: u64::try_from(kept.jobs).unwrap_or(0), ..KeptPage::default() };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if page.jobs.len() == limit || bytes >= MAX_BATCH_BYTES {
            page.next = page.jobs.last().map(|last| Cursor { rank: last.at.0, id: last.id.0 });
            break;
        }
        let job = KeptView {
            id: JobId(row.get::<_, i64>(0)?.cast_unsigned()),
            at: Timestamp(row.get::<_, i64>(1)?.cast_unsigned()),
            text: row.get(2)?,
        };
        bytes += job.text.len();
        page.jobs.push(job);
    }
    Ok(page)
}

/// A kept job.
pub(super) fn get(tx: &Tx<'_>, channel: i64, id: i64) -> Result<Option<KeptView>, SqliteError> {
    let Some(kept) = read(tx, channel)? else { return Ok(None) };
    let mut statement = tx.prepare("SELECT at, text FROM kept WHERE id = ?1 AND channel = ?2 AND at > ?3")?;
    let mut rows = statement.query([id, channel, kept.since])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let at = Timestamp(row.get::<_, i64>(0)?.cast_unsigned());
    Ok(Some(KeptView { id: JobId(id.cast_unsigned()), at, text: row.get(1)? }))
}
