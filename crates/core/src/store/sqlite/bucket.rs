//! Lanes: where jobs are, and the moves between them. See `schema.sql`.

use rusqlite::params;

use super::error::SqliteError;
use super::pause::Pause;
use super::rank;
use super::transaction::Tx;
use crate::job::Priority;
use crate::store::JobState;

/// The states of a lane, as in `schema.sql`, where 0 is that of a lane that was cleared.
pub(super) const WAITING: i64 = 1;
pub(super) const DELAYED: i64 = 2;
pub(super) const RESERVED: i64 = 3;
pub(super) const FAILED: i64 = 4;
pub(super) const LOST: i64 = 5;
pub(super) const LEFT: i64 = 6;

/// What a lane's state is called outside; `None` for jobs that are gone.
pub(super) fn state(number: i64) -> Option<JobState> {
    match number {
        WAITING => Some(JobState::Waiting),
        DELAYED => Some(JobState::Delayed),
        RESERVED | LOST | LEFT => Some(JobState::Reserved),
        FAILED => Some(JobState::Failed),
        _ => None,
    }
}

/// A channel and its lanes in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) id: i64,
    pub(super) waiting: i64,
    pub(super) delayed: i64,
    pub(super) failed: i64,
    /// The pause in force.
    pub(super) pause: Option<Pause>,
    /// A pause is stored that is over.
    pub(super) pause_is_over: bool,
}

impl Channel {
    pub(super) fn read(tx: &Tx<'_>, id: i64) -> Result<Self, SqliteError> {
        let mut statement =
            tx.prepare("SELECT waiting, delayed, failed, paused FROM channels WHERE id = ?1")?;
        let mut rows = statement.query([id])?;
        let row = rows
            .next()?
            .ok_or_else(|| SqliteError::Corrupt("the channel was removed by a foreign hand".into()))?;
        let (waiting, delayed, failed, paused) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let pause = Pause::of(paused, tx.now);
        Ok(Self { id, waiting, delayed, failed, pause, pause_is_over: paused != 0 && pause.is_none() })
    }

    /// The number of the channel of this name, made now where there is none.
    pub(super) fn find(tx: &Tx<'_>, name: &str) -> Result<i64, SqliteError> {
        if let Some(id) = tx.number("SELECT id FROM channels WHERE name = ?1", [name])? {
            return Ok(id);
        }
        let id = tx.number(
            "INSERT INTO channels (name, waiting, delayed, failed) VALUES (?1, 0, 0, 0) RETURNING id",
            [name],
        )?;
        let id = id.expect("an insert answers the row it made");
        let [waiting, delayed, failed] =
            [make(tx, id, WAITING)?, make(tx, id, DELAYED)?, make(tx, id, FAILED)?];
        tx.execute(
            "UPDATE channels SET waiting = ?2, delayed = ?3, failed = ?4 WHERE id = ?1",
            params![id, waiting, delayed, failed],
        )?;
        Ok(id)
    }

    /// Raises the number of jobs finished.
    pub(super) fn count_done(&self, tx: &Tx<'_>, jobs: i64) -> Result<(), SqliteError> {
        if jobs > 0 {
            tx.execute("UPDATE channels SET done = done + ?2 WHERE id = ?1", [self.id, jobs])?;
        }
        Ok(())
    }

    /// Raises the number of jobs removed by command.
    pub(super) fn count_cleared(&self, tx: &Tx<'_>, jobs: i64) -> Result<(), SqliteError> {
        if jobs > 0 {
            tx.execute("UPDATE channels SET cleared = cleared + ?2 WHERE id = ?1", [self.id, jobs])?;
        }
        Ok(())
    }
}

/// A new, empty lane.
pub(super) fn make(tx: &Tx<'_>, channel: i64, state: i64) -> Result<i64, SqliteError> {
    let made =
        tx.number("INSERT INTO lanes (channel, state) VALUES (?1, ?2) RETURNING id", [channel, state])?;
    Ok(made.expect("an insert answers the row it made"))
}

/// Corrects the count of a lane.
pub(super) fn count(tx: &Tx<'_>, bucket: i64, change: i64) -> Result<(), SqliteError> {
    if change != 0 {
        tx.execute("UPDATE lanes SET jobs = jobs + ?2 WHERE id = ?1", [bucket, change])?;
    }
    Ok(())
}

/// How many jobs a lane has, by its count.
pub(super) fn jobs(tx: &Tx<'_>, bucket: i64) -> Result<i64, SqliteError> {
    Ok(tx.number("SELECT jobs FROM lanes WHERE id = ?1", [bucket])?.unwrap_or(0))
}

/// Moves a job from one lane to another; whether it was there. The counts are the caller's to correct.
pub(super) fn shift(tx: &Tx<'_>, id: i64, from: i64, to: i64, rank: i64) -> Result<bool, SqliteError> {
    let moved =
        tx.execute("UPDATE jobs SET lane = ?3, rank = ?4 WHERE id = ?1 AND lane = ?2", [id, from, to, rank])?;
    Ok(moved == 1)
}

/// Like [`shift`], for a job that gets a new meta: its priority is the one that stands there.
pub(super) fn place(
    tx: &Tx<'_>,
    id: i64,
    from: i64,
    to: i64,
    rank: i64,
    priority: Priority,
) -> Result<bool, SqliteError> {
    let moved = tx.execute(
        "UPDATE jobs SET lane = ?3, rank = ?4, priority = ?5 WHERE id = ?1 AND lane = ?2",
        [id, from, to, rank, rank::number(priority)],
    )?;
    Ok(moved == 1)
}

/// Like [`shift`], to the failed lane: the job gives up its unique key.
pub(super) fn fail(tx: &Tx<'_>, id: i64, from: i64, to: i64) -> Result<bool, SqliteError> {
    let now = tx.now.0.cast_signed();
    let moved = tx.execute(
        "UPDATE jobs SET lane = ?3, rank = ?4, key = NULL WHERE id = ?1 AND lane = ?2",
        [id, from, to, now],
    )?;
    Ok(moved == 1)
}

/// Deletes a job if it is in this lane; whether it was.
pub(super) fn delete(tx: &Tx<'_>, id: i64, bucket: i64) -> Result<bool, SqliteError> {
    if tx.execute("DELETE FROM jobs WHERE id = ?1 AND lane = ?2", [id, bucket])? == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM records WHERE id = ?1", [id])?;
    Ok(true)
}
