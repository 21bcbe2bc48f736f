//! Queries: counts, one job, pages of jobs.

use rusqlite::{Params, params};

use super::bucket::{self, Channel};
use super::error::SqliteError;
use super::job_bytes;
use super::pause::Pause;
use super::rank;
use super::record::{self, RawRecord};
use super::transaction::Tx;
use crate::job::{JobId, Priority, Timestamp};
use crate::store::driver_rules::clock_behind;
use crate::store::{Cursor, JobCounts, JobState, MAX_BATCH, MAX_BATCH_BYTES};

pub(super) fn status(tx: &Tx<'_>, channel: i64) -> Result<JobCounts, SqliteError> {
    let mut status = tx.prepare(
        "SELECT (SELECT jobs FROM lanes WHERE id = c.waiting), (SELECT jobs FROM lanes WHERE id = c.delayed),
             (SELECT jobs FROM lanes WHERE id = c.failed),
             (SELECT coalesce(sum(jobs), 0) FROM lanes WHERE channel = c.id AND state IN (3, 5, 6)),
             c.done, c.cleared, c.paused, (SELECT clock FROM store)
         FROM channels c WHERE c.id = ?1",
    )?;
    let status = status.query_row([channel], |row| {
        // Another program may have changed the rows.
        let count = |at| row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0));
        let pause = Pause::of(row.get(6)?, tx.now);
        Ok(JobCounts {
            waiting: count(0)?,
            delayed: count(1)?,
            failed: count(2)?,
            reserved: count(3)?,
            done: count(4)?,
            cleared: count(5)?,
            paused: pause.is_some(),
            paused_until: pause.and_then(|pause| pause.until),
            clock_behind: clock_behind(Timestamp(count(7)?), tx.now),
            now: tx.now,
            ..JobCounts::default()
        })
    })?;
    let lanes = Channel::read(tx, channel)?;
    let mut fronts = Vec::new();
    for priority in Priority::ALL {
        fronts.extend(front(tx, lanes.waiting, priority)?);
    }
    let due = tx.number("SELECT min(rank) FROM jobs WHERE lane = ?1", [lanes.delayed])?;
    Ok(JobCounts {
        front_ready_at: fronts.into_iter().min(),
        next_due: due.map(|due| Timestamp(due.cast_unsigned())),
        bytes: job_bytes::get(tx, channel)?.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
        ..status
    })
}

/// The time from which the first waiting job of a priority waits.
fn front(tx: &Tx<'_>, waiting: i64, priority: Priority) -> Result<Option<Timestamp>, SqliteError> {
    let (first, last) = rank::band(priority);
    let mut statement = tx.prepare(
        "SELECT j.id, r.meta FROM jobs j LEFT JOIN records r ON r.id = j.id
         WHERE j.lane = ?1 AND j.rank BETWEEN ?2 AND ?3 ORDER BY j.rank, j.id LIMIT 1",
    )?;
    let mut rows = statement.query([waiting, first, last])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id = JobId(row.get::<_, i64>(0)?.cast_unsigned());
    Ok(Some(record::ready_at(id, row, 1)?))
}

/// A found job, with the rank that contains its time in some states.
pub(super) type FoundJob = (JobState, i64, RawRecord);

pub(super) fn get(tx: &Tx<'_>, channel: i64, id: i64) -> Result<Option<FoundJob>, SqliteError> {
    let mut statement = tx.prepare(
        "SELECT l.state, j.rank, r.meta, r.payload
         FROM jobs j JOIN lanes l ON l.id = j.lane LEFT JOIN records r ON r.id = j.id
         WHERE j.id = ?1 AND l.channel = ?2",
    )?;
    let mut rows = statement.query([id, channel])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let Some(state) = bucket::state(row.get(0)?) else { return Ok(None) };
    Ok(Some((state, row.get(1)?, RawRecord::read(id, row, 2)?)))
}

/// A page of found jobs, and the position of the next page.
pub(super) type Listing = (Vec<FoundJob>, Option<Cursor>);

pub(super) fn list(
    tx: &Tx<'_>,
    channel: i64,
    state: JobState,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Listing, SqliteError> {
    let channel = Channel::read(tx, channel)?;
    let limit = limit.clamp(1, MAX_BATCH);
    // An extra row tells whether there is a next page.
    let rows = limit as i64 + 1;
    let after = after.map(|cursor| (cursor.rank.cast_signed(), cursor.id.cast_signed()));
    let (rank, id) =
        after.unwrap_or(if state == JobState::Failed { (i64::MAX, i64::MAX) } else { (i64::MIN, i64::MIN) });
    const UP: &str = "SELECT j.id, j.rank, r.meta, r.payload FROM jobs j LEFT JOIN records r ON r.id = j.id
        WHERE j.lane = ?1 AND (j.rank, j.id) > (?2, ?3) ORDER BY j.rank, j.id LIMIT ?4";
    match state {
        JobState::Waiting => page(tx, UP, params![channel.waiting, rank, id, rows], state, limit),
        JobState::Delayed => page(tx, UP, params![channel.delayed, rank, id, rows], state, limit),
        JobState::Failed => page(
            tx,
            "SELECT j.id, j.rank, r.meta, r.payload FROM jobs j LEFT JOIN records r ON r.id = j.id
             WHERE j.lane = ?1 AND (j.rank, j.id) < (?2, ?3) ORDER BY j.rank DESC, j.id DESC LIMIT ?4",
            params![channel.failed, rank, id, rows],
            state,
            limit,
        ),
        JobState::Reserved => page(
            tx,
            "SELECT j.id, 0, r.meta, r.payload FROM jobs j INDEXED BY jobs_by_lane LEFT JOIN records r ON r.id = j.id
             WHERE j.lane IN (SELECT id FROM lanes WHERE channel = ?1 AND state IN (3, 5, 6)) AND j.id > ?2
             ORDER BY j.id LIMIT ?3",
            params![channel.id, id, rows],
            state,
            limit,
        ),
    }
}

fn page(
    tx: &Tx<'_>,
    sql: &'static str,
    params: impl Params,
    state: JobState,
    limit: usize,
) -> Result<Listing, SqliteError> {
    let mut statement = tx.prepare(sql)?;
    let mut rows = statement.query(params)?;
    let (mut jobs, mut bytes) = (Vec::<FoundJob>::new(), 0);
    while let Some(row) = rows.next()? {
        // Large payloads shorten a page; at least one job is always on it.
        if jobs.len() == limit || bytes >= MAX_BATCH_BYTES {
            let (_, rank, raw) = jobs.last().expect("a page that is full has a last job");
            let next = Cursor { rank: rank.cast_unsigned(), id: raw.id.cast_unsigned() };
            return Ok((jobs, Some(next)));
        }
        let raw = RawRecord::read(row.get(0)?, row, 2)?;
        bytes += raw.payload_bytes();
        jobs.push((state, row.get(1)?, raw));
    }
    Ok((jobs, None))
}
