//! Locks and rates of running jobs.

use std::time::Duration;

use rusqlite::params;

use super::bucket;
use super::error::SqliteError;
use super::transaction::Tx;
use crate::job::Timestamp;
use crate::limits::rate::Rate;
use crate::store::{Claim, ClaimKind, LimitDecision, MAX_BATCH};

/// Decides claims whose keys are in their stored form.
pub(super) fn claim(
    tx: &Tx<'_>,
    channel: i64,
    name: &str,
    claims: &[Claim],
) -> Result<Vec<LimitDecision>, SqliteError> {
    let bucket = bucket::of_owner(tx, channel, name)?;
    if claims.iter().any(|claim| matches!(claim.kind, ClaimKind::Rate { .. })) {
        sweep(tx, claims.len().max(MAX_BATCH))?;
    }
    let mut answers = Vec::with_capacity(claims.len());
    for Claim { id, key, kind } in claims {
        let id = id.0.cast_signed();
        let held = tx.number("SELECT 1 FROM jobs WHERE id = ?1 AND lane = ?2", [id, bucket])?;
        answers.push(match *kind {
            _ if held.is_none() => LimitDecision::Wait(Duration::ZERO),
            ClaimKind::Lock { limit } => lock(tx, channel, name, id, key, i64::from(limit))?,
            ClaimKind::Rate { count, burst, per } => take(tx, key, Rate::of(count, burst, per))?,
        });
    }
    Ok(answers)
}

fn lock(
    tx: &Tx<'_>,
    channel: i64,
    owner: &str,
    id: i64,
    key: &str,
    limit: i64,
) -> Result<LimitDecision, SqliteError> {
    let own = "SELECT 1 FROM locks WHERE key = ?1 AND owner = ?2 AND job = ?3";
    if tx.number(own, params![key, owner, id])?.is_some() {
        return Ok(LimitDecision::Granted);
    }
    if is_full(tx, key, limit)? {
        // An ending owner releases its locks, except one that an older aint-queue ended.
        let left = "DELETE FROM locks WHERE key = ?1 AND NOT EXISTS
            (SELECT 1 FROM owners WHERE channel = ?2 AND name = locks.owner)";
        if tx.execute(left, params![key, channel])? == 0 || is_full(tx, key, limit)? {
            return Ok(LimitDecision::Wait(Duration::ZERO));
        }
    }
    tx.execute("INSERT INTO locks (key, owner, job) VALUES (?1, ?2, ?3)", params![key, owner, id])?;
    Ok(LimitDecision::Granted)
}

fn is_full(tx: &Tx<'_>, key: &str, limit: i64) -> Result<bool, SqliteError> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM locks WHERE key = ?1 LIMIT ?2)";
    Ok(tx.number(sql, params![key, limit])?.is_none_or(|holders| holders >= limit))
}

fn take(tx: &Tx<'_>, key: &str, rate: Rate) -> Result<LimitDecision, SqliteError> {
    let unused = tx.number("SELECT unused FROM rates WHERE key = ?1", [key])?.unwrap_or(0);
    match rate.admit(Timestamp(unused.cast_unsigned()), tx.now) {
        Ok(unused) => {
            let sql = "INSERT OR REPLACE INTO rates (key, unused) VALUES (?1, ?2)";
            tx.execute(sql, params![key, unused.0.cast_signed()])?;
            Ok(LimitDecision::Granted)
        }
        Err(wait) => Ok(LimitDecision::Wait(wait)),
    }
}

/// Deletes rates that are unused again.
fn sweep(tx: &Tx<'_>, limit: usize) -> Result<(), SqliteError> {
    tx.execute(
        "DELETE FROM rates WHERE key IN (SELECT key FROM rates WHERE unused <= ?1 ORDER BY unused LIMIT ?2)",
        [tx.now.0.cast_signed(), limit as i64],
    )?;
    Ok(())
}

/// Releases a lock of a job of this owner.
pub(super) fn free(tx: &Tx<'_>, owner: &str, id: i64, key: &str) -> Result<(), SqliteError> {
    tx.execute("DELETE FROM locks WHERE key = ?1 AND owner = ?2 AND job = ?3", params![key, owner, id])?;
    Ok(())
}

/// Releases the locks of an ending owner, found by its bucket.
pub(super) fn end(tx: &Tx<'_>, bucket: i64) -> Result<(), SqliteError> {
    tx.execute("DELETE FROM locks WHERE owner IN (SELECT name FROM owners WHERE lane = ?1)", [bucket])?;
    Ok(())
}
