//! Entries of lists and sets that are no jobs, because another program has added them or removed a record.
//!
//! A text that is no id may be the job that the other program meant, so the text is kept as a failed job. An id without a
//! record has nothing to keep: the id is removed, and the log says so. Entries of waiting and of owners are met by masters,
//! those of delayed and failed by the commands that list them.

use std::time::SystemTime;

use redis::Value;

use super::RedisStore;
use super::reply::{bytes, count, fields, id, list};
use super::scripts::Script;
use crate::job::{JobId, JobMeta, truncated};
use crate::log_macros::warn;
use crate::store::driver_rules::{MAX_ID_LEAD, meta_text};
use crate::store::{JobState, MAX_BATCH, Owner, StoreError};

const DOING: &str = "moving foreign entries";
/// Most bytes of a foreign entry in an error.
const MAX_SHOWN_NAME: usize = 160;
/// Most ids that a log line names.
const MAX_LOGGED: usize = 5;

/// An entry for an error. Log lines show no entry, because an entry may be a payload.
fn shown(name: &[u8]) -> String {
    // An entry may be as large as the server allows.
    let start = String::from_utf8_lossy(&name[..name.len().min(4 * MAX_SHOWN_NAME)]);
    truncated(&start, MAX_SHOWN_NAME).escape_debug().to_string()
}

/// The first ids for a log line.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "only the log names the ids"))]
fn first(ids: &[Vec<u8>]) -> String {
    let shown: Vec<_> = ids.iter().take(MAX_LOGGED).map(|id| String::from_utf8_lossy(id)).collect();
    shown.join(", ")
}

/// The meta of the failed job that keeps an entry.
fn kept_meta(name: &[u8]) -> String {
    let shown = shown(name);
    let why = if id(&Value::BulkString(name.to_vec())).is_some() {
        format!(
            "the record of the entry \"{shown}\" is gone: another program removed the record, or added the entry"
        )
    } else {
        format!(
            "another program added the entry \"{shown}\", which is no job id: push with queue:push or push.lua"
        )
    };
    meta_text(&JobMeta::malformed(SystemTime::now().into(), &why))
}

/// A list of names in a reply.
pub(super) fn names(value: Value) -> Option<Vec<Vec<u8>>> {
    list(value)?.into_iter().map(bytes).collect()
}

/// Says that ids without a record were removed.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "only the log names the ids"))]
pub(super) fn log_removed(entries: u64, names: &[Vec<u8>]) {
    if entries > 0 {
        warn!(entries, first = %first(names), "foreign entries among the jobs: removed ids without a record, which no job can be made from");
    }
}

impl RedisStore {
    /// Takes entries that are no jobs out of an owner's set: texts that are no ids move to failed, where commands can see and
    /// remove them. Returns the number of entries that have left the set.
    pub(super) async fn quarantine(&self, owner: &Owner, foreign: &[Vec<u8>]) -> Result<u64, StoreError> {
        let mut left = 0;
        for batch in foreign.chunks(MAX_BATCH) {
            let mut call = self.call(Script::Quarantine, DOING, &[self.keys.reserved(owner)]).await?;
            call.arg(owner.as_str()).arg(MAX_ID_LEAD);
            for name in batch {
                call.arg(name).arg(kept_meta(name));
            }
            let (moved, removed) = call
                .read(|reply| {
                    let [moved, removed] = fields(reply)?;
                    Some((count(moved)?, names(removed)?))
                })
                .await?;
            if moved > 0 {
                warn!(entries = moved, "foreign entries among the jobs: moved to failed");
            }
            log_removed(removed.len() as u64, &removed);
            left += moved + removed.len() as u64;
        }
        Ok(left)
    }

    /// [`RedisStore::quarantine`] beside a call that has succeeded: after an error the entries stay held, the counts differ,
    /// and the comparison of the held jobs tries again.
    #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "only the log names the error"))]
    pub(super) async fn try_quarantine(&self, owner: &Owner, foreign: &[Vec<u8>]) -> u64 {
        self.quarantine(owner, foreign).await.unwrap_or_else(|error| {
            warn!(%error, "foreign entries among the jobs: not moved, trying again");
            0
        })
    }

    /// Removes ids without a record from an owner's set, beside a call that has succeeded.
    pub(super) async fn try_remove_missing(&self, owner: &Owner, missing: &[JobId]) {
        let names: Vec<_> = missing.iter().map(|id| id.to_string().into_bytes()).collect();
        self.try_quarantine(owner, &names).await;
    }

    /// Moves entries of delayed or failed that are no jobs to failed under new ids.
    pub(super) async fn move_foreign(&self, state: JobState, foreign: &[Vec<u8>]) -> Result<(), StoreError> {
        for batch in foreign.chunks(MAX_BATCH) {
            let mut call = self.call(Script::MoveForeign, DOING, &[]).await?;
            call.arg(state.as_str()).arg(MAX_ID_LEAD);
            for name in batch {
                call.arg(name).arg(kept_meta(name));
            }
            let moved = call.read(count).await?;
            if moved > 0 {
                warn!(
                    entries = moved,
                    state = state.as_str(),
                    "foreign entries among the jobs: moved to failed"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_entry_is_bounded_and_sanitised() {
        assert_eq!(shown(b"\x1b[31m\n\"x\""), "\\u{1b}[31m\\n\\\"x\\\"");
        assert_eq!(shown(&b"x".repeat(1 << 20)), "x".repeat(160));
        assert_eq!(shown(format!("x{}", "é".repeat(500)).as_bytes()).len(), 159);
        assert_eq!(first(&vec![b"17".to_vec(); 100]), "17, 17, 17, 17, 17");
    }

    #[test]
    fn error_of_kept_entry_names_the_entry() {
        let why = |name: &[u8]| {
            let meta: JobMeta = serde_json::from_str(&kept_meta(name)).unwrap();
            meta.last_error().to_owned()
        };
        assert!(
            why(b"{\"job\":1}").contains("entry \"{\\\"job\\\":1}\", which is no job id"),
            "{}",
            why(b"x")
        );
        assert!(why(b"17").contains("record of the entry \"17\" is gone"));
    }
}
