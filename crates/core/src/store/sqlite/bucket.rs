//! Buckets: ordered sets of jobs, and the moves between them. The table is called `lanes`; see `schema.sql`.

use rusqlite::params;

use super::error::SqliteError;
use super::pause::Pause;
use super::rank;
use super::transaction::Tx;
use crate::job::Priority;
use crate::store::JobState;

/// States of a bucket, as in `schema.sql`; 0 marks a cleared one.
pub(super) const WAITING: i64 = 1;
pub(super) const DELAYED: i64 = 2;
pub(super) const RESERVED: i64 = 3;
pub(super) const FAILED: i64 = 4;
pub(super) const LOST: i64 = 5;
pub(super) const LEFT: i64 = 6;

/// The public state of a bucket's jobs; `None` for cleared ones.
pub(super) fn state(number: i64) -> Option<JobState> {
    match number {
        WAITING => Some(JobState::Waiting),
        DELAYED => Some(JobState::Delayed),
        RESERVED | LOST | LEFT => Some(JobState::Reserved),
        FAILED => Some(JobState::Failed),
        _ => None,
    }
}

/// A channel and its current buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) id: i64,
    pub(super) waiting: i64,
    pub(super) delayed: i64,
    pub(super) failed: i64,
    /// The current pause.
    pub(super) pause: Option<Pause>,
    /// An expired pause is still stored.
    pub(super) pause_is_over: bool,
}

impl Channel {
    pub(super) fn read(tx: &Tx<'_>, id: i64) -> Result<Self, SqliteError> {
        let mut statement =
            tx.prepare("SELECT waiting, delayed, failed, paused FROM channels WHERE id = ?1")?;
        let mut rows = statement.query([id])?;
        let row = rows
            .next()?
            .ok_or_else(|| SqliteError::Corrupt("the channel was removed by another program".into()))?;
        let (waiting, delayed, failed, paused) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let pause = Pause::of(paused, tx.now);
        Ok(Self { id, waiting, delayed, failed, pause, pause_is_over: paused != 0 && pause.is_none() })
    }

    /// The id of the channel of this name, created if missing.
    pub(super) fn find(tx: &Tx<'_>, name: &str) -> Result<i64, SqliteError> {
        if let Some(id) = tx.number("SELECT id FROM channels WHERE name = ?1", [name])? {
            return Ok(id);
        }
        let id = tx.number(
            "INSERT INTO channels (name, waiting, delayed, failed) VALUES (?1, 0, 0, 0) RETURNING id",
            [name],
        )?;
        let id = id.expect("an insert returns its row");
        let [waiting, delayed, failed] =
            [make(tx, id, WAITING)?, make(tx, id, DELAYED)?, make(tx, id, FAILED)?];
        tx.execute(
            "UPDATE channels SET waiting = ?2, delayed = ?3, failed = ?4 WHERE id = ?1",
            params![id, waiting, delayed, failed],
        )?;
        Ok(id)
    }

    /// Adds to the number of finished jobs.
    pub(super) fn count_done(&self, tx: &Tx<'_>, jobs: i64) -> Result<(), SqliteError> {
        if jobs > 0 {
            tx.execute("UPDATE channels SET done = done + ?2 WHERE id = ?1", [self.id, jobs])?;
        }
        Ok(())
    }

    /// Adds to the number of jobs removed by commands.
    pub(super) fn count_cleared(&self, tx: &Tx<'_>, jobs: i64) -> Result<(), SqliteError> {
        if jobs > 0 {
            tx.execute("UPDATE channels SET cleared = cleared + ?2 WHERE id = ?1", [self.id, jobs])?;
        }
        Ok(())
    }
}

/// The bucket of an owner.
pub(super) fn of_owner(tx: &Tx<'_>, channel: i64, name: &str) -> Result<i64, SqliteError> {
    let bucket =
        tx.number("SELECT lane FROM owners WHERE channel = ?1 AND name = ?2", params![channel, name])?;
    bucket.ok_or(SqliteError::Lost)
}

/// Creates an empty bucket.
pub(super) fn make(tx: &Tx<'_>, channel: i64, state: i64) -> Result<i64, SqliteError> {
    let made =
        tx.number("INSERT INTO lanes (channel, state) VALUES (?1, ?2) RETURNING id", [channel, state])?;
    Ok(made.expect("an insert returns its row"))
}

/// Adjusts the job count of a bucket.
pub(super) fn count(tx: &Tx<'_>, bucket: i64, change: i64) -> Result<(), SqliteError> {
    if change != 0 {
        tx.execute("UPDATE lanes SET jobs = jobs + ?2 WHERE id = ?1", [bucket, change])?;
    }
    Ok(())
}

/// The job count of a bucket.
pub(super) fn jobs(tx: &Tx<'_>, bucket: i64) -> Result<i64, SqliteError> {
    Ok(tx.number("SELECT jobs FROM lanes WHERE id = ?1", [bucket])?.unwrap_or(0))
}

/// Moves a job between buckets; returns whether it was in `from`. The caller adjusts the counts.
pub(super) fn shift(tx: &Tx<'_>, id: i64, from: i64, to: i64, rank: i64) -> Result<bool, SqliteError> {
    let sql = "UPDATE jobs SET lane = ?3, rank = ?4 WHERE id = ?1 AND lane = ?2";
    Ok(tx.execute(sql, [id, from, to, rank])? == 1)
}

/// Moves a job that gets a new meta; stores the priority of that meta.
pub(super) fn place(
    tx: &Tx<'_>,
    id: i64,
    from: i64,
    to: i64,
    rank: i64,
    priority: Priority,
) -> Result<bool, SqliteError> {
    let sql = "UPDATE jobs SET lane = ?3, rank = ?4, priority = ?5 WHERE id = ?1 AND lane = ?2";
    Ok(tx.execute(sql, [id, from, to, rank, rank::number(priority)])? == 1)
}

/// Moves a job to the failed bucket; the job gives up its unique key.
pub(super) fn fail(tx: &Tx<'_>, id: i64, from: i64, to: i64) -> Result<bool, SqliteError> {
    let sql = "UPDATE jobs SET lane = ?3, rank = ?4, key = NULL WHERE id = ?1 AND lane = ?2";
    Ok(tx.execute(sql, [id, from, to, tx.now.0.cast_signed()])? == 1)
}

/// Deletes a job if it is in this bucket; returns whether it was.
pub(super) fn delete(tx: &Tx<'_>, id: i64, bucket: i64) -> Result<bool, SqliteError> {
    if tx.execute("DELETE FROM jobs WHERE id = ?1 AND lane = ?2", [id, bucket])? == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM records WHERE id = ?1", [id])?;
    Ok(true)
}
