//! Records as rows, read as bytes because another program may have stored anything.

use rusqlite::types::ValueRef;
use rusqlite::{Row, params};

use super::error::SqliteError;
use super::transaction::Tx;
use crate::job::{JobId, JobMeta, Timestamp};
use crate::store::{JobState, JobView, Leased, driver_rules};

/// An unparsed record; parsed on the caller's thread.
#[derive(Debug)]
pub(super) struct RawRecord {
    pub(super) id: i64,
    /// `None` when the record is missing.
    meta: Option<Vec<u8>>,
    payload: Vec<u8>,
}

impl RawRecord {
    /// Reads the columns `meta` and `payload`, which start at `at`.
    pub(super) fn read(id: i64, row: &Row<'_>, at: usize) -> Result<Self, SqliteError> {
        Ok(Self {
            id,
            meta: bytes(row.get_ref(at)?).map(<[u8]>::to_vec),
            payload: bytes(row.get_ref(at + 1)?).unwrap_or_default().to_vec(),
        })
    }

    pub(super) fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    /// Parses the record for a run.
    pub(super) fn leased(self) -> Leased {
        let id = JobId(self.id.cast_unsigned());
        let malformed = |why: &str| Leased::Malformed { id, why: why.to_owned() };
        let Some(meta) = self.meta else { return malformed("the job's record is gone") };
        match (String::from_utf8(meta), String::from_utf8(self.payload)) {
            (Ok(meta), Ok(payload)) => driver_rules::leased(id, &meta, payload),
            _ => malformed("the job's record is not text"),
        }
    }

    /// Parses the record for display.
    pub(super) fn listed(self, state: JobState, rank: i64) -> JobView {
        let id = JobId(self.id.cast_unsigned());
        let meta = self.meta.unwrap_or_default();
        let payload = String::from_utf8_lossy(&self.payload).into_owned();
        driver_rules::listed(id, state, rank.cast_unsigned(), &String::from_utf8_lossy(&meta), payload)
    }
}

/// The bytes of a text or blob column.
fn bytes(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}

/// The time from which a waiting job waits, by the meta in column `at`.
pub(super) fn ready_at(id: JobId, row: &Row<'_>, at: usize) -> Result<Timestamp, SqliteError> {
    let meta = bytes(row.get_ref(at)?).unwrap_or_default();
    Ok(driver_rules::ready_at(id, &String::from_utf8_lossy(meta)))
}

/// The meta of a stored record, if it can be parsed.
pub(super) fn meta(tx: &Tx<'_>, id: i64) -> Result<Option<JobMeta>, SqliteError> {
    let mut statement = tx.prepare("SELECT meta FROM records WHERE id = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(bytes(row.get_ref(0)?).and_then(|meta| serde_json::from_slice(meta).ok()))
}

/// Stores a job's new meta.
pub(super) fn rewrite(tx: &Tx<'_>, id: i64, meta: &str) -> Result<(), SqliteError> {
    if tx.execute("UPDATE records SET meta = ?2 WHERE id = ?1", params![id, meta])? == 0 {
        // Another program deleted the record; the job still reaches its destination.
        tx.execute("INSERT INTO records (id, meta, payload) VALUES (?1, ?2, '')", params![id, meta])?;
    }
    Ok(())
}

/// Stores the meta of an unreadable record; the original text becomes its payload.
pub(super) fn set_aside(tx: &Tx<'_>, id: i64, new: &str) -> Result<(), SqliteError> {
    if meta(tx, id)?.is_none() {
        tx.execute("UPDATE records SET payload = meta || char(10) || payload WHERE id = ?1", [id])?;
    }
    rewrite(tx, id, new)
}
