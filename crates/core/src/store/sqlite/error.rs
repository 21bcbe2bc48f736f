//! What can go wrong inside the driver, before it is known which call it was.

use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// The cause of a failed call; [`SqliteError::at`] makes the caller's error of it.
#[derive(Clone, Debug)]
pub(super) enum SqliteError {
    Lost,
    Replayed,
    Sql(Arc<rusqlite::Error>),
    /// Passes by itself.
    Unavailable(String),
    /// The disk has no room.
    Full(String),
    /// What is in the file is not what we put there.
    Corrupt(String),
    /// Somebody has to change something first.
    Refused(String),
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

impl SqliteError {
    /// Whether another process has the lock.
    pub(super) fn is_busy(&self) -> bool {
        let code = if let Self::Sql(error) = self { error.sqlite_error_code() } else { None };
        matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// The error for a caller who was `doing` something with the store at `place`.
    pub(super) fn at(self, place: &str, doing: &'static str) -> StoreError {
        let place = place.to_owned();
        match self {
            Self::Lost => StoreError::Lost,
            Self::Replayed => StoreError::Replayed,
            Self::Unavailable(why) => StoreError::Unavailable { place, doing, source: why.into() },
            Self::Full(detail) => StoreError::Full { place, detail },
            Self::Corrupt(detail) => StoreError::Corrupt { place, detail },
            Self::Refused(detail) => StoreError::Refused { place, detail },
            Self::Sql(error) => sql(error, place, doing),
        }
    }
}

fn sql(error: Arc<rusqlite::Error>, place: String, doing: &'static str) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            let detail = "the disk has no room left: free some space".to_owned();
            StoreError::Full { place, detail }
        }
        Some(ErrorCode::NotADatabase) => {
            let detail = "it is not a SQLite database: name another file, or move this one away".to_owned();
            StoreError::Corrupt { place, detail }
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            let detail = format!("the file is damaged ({error}): restore it from a backup, or move it away");
            StoreError::Corrupt { place, detail }
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            let detail = format!(
                "the file or its directory cannot be written ({error}): give this user write permission for both"
            );
            StoreError::Refused { place, detail }
        }
        // Busy, locked, an I/O error, no memory: all of them may pass.
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
        // A missing table, a broken constraint, a wrong type: a foreign hand was here.
        _ => StoreError::Corrupt { place, detail: format!("{error} while {doing}") },
    }
}
