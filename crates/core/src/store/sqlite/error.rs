//! Errors inside the driver, before the failed call is known.

use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

use crate::store::StoreError;

/// The cause of a failed call; [`SqliteError::at`] turns it into the caller's error.
#[derive(Clone, Debug)]
pub(super) enum SqliteError {
    Lost,
    Replayed,
    Sql(Arc<rusqlite::Error>),
    /// Temporary.
    Unavailable(String),
    /// The disk is full.
    Full(String),
    /// The file contains foreign data.
    Corrupt(String),
    /// The configuration or the environment must change first.
    Refused(String),
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

impl SqliteError {
    /// Whether the system refused access to a file.
    pub(super) fn is_denied(&self) -> bool {
        let code = if let Self::Sql(error) = self { error.sqlite_error_code() } else { None };
        matches!(code, Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied))
    }

    /// Whether another process holds the lock.
    pub(super) fn is_busy(&self) -> bool {
        let code = if let Self::Sql(error) = self { error.sqlite_error_code() } else { None };
        matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// The caller's error; `doing` names the attempted operation.
    pub(super) fn at(self, place: &str, doing: &'static str) -> StoreError {
        let place = place.to_owned();
        match self {
            Self::Lost => StoreError::Lost,
            Self::Replayed => StoreError::Replayed,
            Self::Unavailable(why) => StoreError::Unavailable { place, doing, source: why.into() },
            Self::Full(detail) => StoreError::Full { place: format!("the store at {place}"), detail },
            Self::Corrupt(detail) => StoreError::Corrupt { place, detail },
            Self::Refused(detail) => StoreError::Refused { place, detail },
            Self::Sql(error) => sql(error, place, doing),
        }
    }
}

fn sql(error: Arc<rusqlite::Error>, place: String, doing: &'static str) -> StoreError {
    match error.sqlite_extended_error_code() {
        Some(ffi::SQLITE_IOERR_SHORT_READ) => {
            let detail = format!(
                "the file or its \"-wal\" file is shorter than at the last write ({error}): one of them was removed, replaced or cut \
                 while in use; stop every process that uses the file (a master with queue:stop), then start again, or restore it \
                 from a backup"
            );
            return StoreError::Refused { place, detail };
        }
        Some(ffi::SQLITE_READONLY_DBMOVED) => {
            let detail = "the file was moved, removed or replaced while in use: put it back; if it is gone, stop this process (a master with \
                 queue:stop), which saves its jobs in a copy";
            return StoreError::Refused { place, detail: detail.to_owned() };
        }
        _ => {}
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            let detail = "the disk has no room left: free some space".to_owned();
            StoreError::Full { place: format!("the store at {place}"), detail }
        }
        Some(ErrorCode::NotADatabase) => {
            let detail = "the file is not a SQLite database: name another file, or move this one".to_owned();
            StoreError::Corrupt { place, detail }
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            let detail = format!("the file is damaged ({error}): restore it from a backup, or move it");
            StoreError::Corrupt { place, detail }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            let detail = format!(
                "the file or its directory cannot be written ({error}): give this user write permission for both"
            );
            StoreError::Refused { place, detail }
        }
        // Busy, locked, I/O errors, out of memory: all may be temporary.
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted
            | ErrorCode::SchemaChanged
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::Unavailable { place, doing, source: Box::new(error) },
        // A missing table, a broken constraint, a wrong type: another program has changed the file.
        _ => StoreError::Corrupt { place, detail: format!("{error} while {doing}") },
    }
}
