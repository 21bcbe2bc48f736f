//! Adds jobs.

use std::borrow::Cow;
use std::time::Duration;

use rusqlite::params;

use super::bucket::{self, Channel};
use super::error::SqliteError;
use super::keys;
use super::rank::{self, WaitingEnds};
use super::transaction::Tx;
use crate::job::{JobId, NewJob, Priority, Start, Timestamp};
use crate::store::driver_rules;
use crate::store::{PushError, Pushed};

/// A new job as row values.
pub(super) struct PreparedJob {
    meta: String,
    payload: String,
    key: Option<String>,
    /// Length of a timed hold on the key; `None` holds it for the life of the job.
    hold: Option<Duration>,
    priority: Priority,
    start: Start,
}

impl PreparedJob {
    pub(super) fn of(channel: i64, job: &NewJob) -> Self {
        Self {
            meta: driver_rules::new_meta_text(&job.meta),
            payload: job.payload.as_str().to_owned(),
            key: job.meta.unique.as_deref().map(|key| keys::stored(channel, key)),
            hold: job.meta.unique_for_ms.map(Duration::from_millis),
            priority: job.meta.priority,
            start: job.start,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.meta.len() + self.payload.len()
    }

    /// The meta of the job under this id.
    fn meta_of(&self, id: JobId, now: Timestamp) -> Cow<'_, str> {
        match driver_rules::pushed_at(id, now) {
            None => Cow::Borrowed(&self.meta),
            Some(time) => Cow::Owned(driver_rules::with_push_time(&self.meta, time)),
        }
    }
}

/// Adds all jobs or none; the inner error names a job that breaks a rule of the store's clock.
pub(super) fn push(
    tx: &Tx<'_>,
    channel: i64,
    items: &[PreparedJob],
) -> Result<Result<Vec<Pushed>, PushError>, SqliteError> {
    let mut dues = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match driver_rules::due(item.start, tx.now) {
            Ok(due) => dues.push(due),
            Err(why) => return Ok(Err(PushError::Job { index, why })),
        }
    }
    let channel = Channel::read(tx, channel)?;
    let mut last = last_id(tx)?;
    if items.iter().any(|item| item.hold.is_some()) {
        // Expired holds are deleted by the pushes that add new ones.
        keys::sweep(tx)?;
    }
    let mut ends = WaitingEnds::of(channel.waiting);
    let mut answers = Vec::with_capacity(items.len());
    let (mut waiting, mut delayed) = (0, 0);
    let mut job =
        tx.prepare("INSERT INTO jobs (id, lane, rank, key, priority) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    // An orphaned record can only be the work of another program, so it is replaced.
    let mut record = tx.prepare("INSERT OR REPLACE INTO records (id, meta, payload) VALUES (?1, ?2, ?3)")?;
    for (item, due) in items.iter().zip(dues) {
        if let Some(key) = &item.key
            && let Some(holder) = keys::holder(tx, key)?
        {
            answers.push(Pushed::Existing(JobId(holder.cast_unsigned())));
            continue;
        }
        last += 1;
        let (bucket, rank, count) = match due {
            None => (channel.waiting, ends.back(tx, item.priority)?, &mut waiting),
            Some(due) => (channel.delayed, due.0.cast_signed(), &mut delayed),
        };
        *count += 1;
        let key = match (&item.key, item.hold) {
            (Some(key), Some(time)) => {
                keys::hold(tx, key, last, time)?;
                None
            }
            (key, _) => key.as_deref(),
        };
        job.execute(params![last, bucket, rank, key, rank::number(item.priority)])?;
        let id = JobId(last.cast_unsigned());
        record.execute(params![last, item.meta_of(id, tx.now), item.payload])?;
        answers.push(Pushed::Added(id));
    }
    bucket::count(tx, channel.waiting, waiting)?;
    bucket::count(tx, channel.delayed, delayed)?;
    if waiting + delayed > 0 {
        let sql = "UPDATE store SET last_id = ?1, clock = max(clock, ?2)";
        tx.execute(sql, [last, tx.now.0.cast_signed()])?;
        tx.wake(channel.id)?;
    }
    Ok(Ok(answers))
}

/// The id before the next one: the last one, even while the clock is behind it.
fn last_id(tx: &Tx<'_>) -> Result<i64, SqliteError> {
    let last = tx.number("SELECT last_id FROM store", [])?.unwrap_or(0);
    // If the last id is lost, the stored jobs still bound it from below.
    let newest = tx.number("SELECT max(id) FROM jobs", [])?.unwrap_or(0);
    Ok(last.max(newest).max(tx.now.0.cast_signed()))
}
