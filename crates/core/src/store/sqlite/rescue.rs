//! Saves the commits that are only in files which have lost their names, and closes connections.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::error::SqliteError;
use super::file_watch::FileWatch;
use super::path_checks::beside;
use crate::job::Timestamp;
use crate::log_macros::{error, warn};

/// Writes all commits into the main file, or, if another process has used files of these names meanwhile, into a copy beside it:
/// the log of the other process belongs to the main file as it is. A main file without a name is copied too. Repeated until it
/// succeeds.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "only the log names them"))]
pub(super) fn rescue(connection: &Connection, watch: &FileWatch, now: Timestamp) {
    // The part that was cut off cannot be written anywhere.
    if watch.is_rescued() || watch.is_cut() || !watch.has_whole_content(connection) {
        return;
    }
    let saved = if watch.is_main_removed() {
        // The end of the process makes a directory that is gone again.
        if !directory(watch).is_some_and(Path::is_dir) {
            return;
        }
        copy(connection, watch, now)
    } else if watch.has_rival() {
        copy(connection, watch, now)
    } else {
        checkpoint(connection, watch)
    };
    // The next attempt follows soon, and the end of the process is another one.
    if let Err(error) = saved {
        let file = watch.place().path.display();
        error!(%file, error = %error.at("this path", "saving its jobs"), "files of the store changed while in use: saving its jobs failed: retrying");
    }
}

/// The last chance to save jobs that are only in files without a name. A directory that was removed stays removed.
pub(super) fn rescue_at_end(connection: &Connection, watch: &FileWatch, now: Timestamp) {
    let has_place = directory(watch).is_some_and(Path::exists);
    if has_place && watch.is_main_removed() && !watch.is_rescued() && !watch.is_cut() {
        rescue(connection, watch, now);
        if !watch.is_rescued() {
            error!(file = %watch.place().path.display(), "store file removed while in use, and no copy could be written: the jobs in it are lost");
        }
    }
    watch.set_log_aside(now);
}

fn directory(watch: &FileWatch) -> Option<&Path> {
    watch.place().path.parent()
}

/// Whether every commit is in the main file now. A reader of another process may hold some back for a moment.
fn checkpoint(connection: &Connection, watch: &FileWatch) -> Result<(), SqliteError> {
    let (busy, log, done): (i64, i64, i64) =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    if busy == 0 && log == done {
        watch.record_rescue(None);
        warn!(file = %watch.place().path.display(), "files of the store changed while in use: its jobs are saved in the main file");
    }
    Ok(())
}

fn copy(connection: &Connection, watch: &FileWatch, now: Timestamp) -> Result<(), SqliteError> {
    let path = beside(&watch.place().path, &format!("-rescued-{}", now.0 / 1_000_000));
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    created.map_err(|error| {
        SqliteError::Unavailable(format!("\"{}\" cannot be created ({error})", path.display()))
    })?;
    if let Err(error) = connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]) {
        // An unfinished copy has nothing that is worth keeping.
        let _ = std::fs::remove_file(&path);
        return Err(error.into());
    }
    warn!(copy = %path.display(), "files of the store changed while in use: its jobs are saved in a copy: stop every process that uses the store, then move the copy into its place, without the old -wal and -shm");
    watch.record_rescue(Some(path));
    Ok(())
}

/// Closes a connection, as `connect.rs` opened it: without the checkpoint and the clean-up by name of SQLite. The checkpoint and the clean-up follow only
/// for files that are the opened ones and whole, or to save what a rescue has not saved. Otherwise a checkpoint would write zeros
/// into the main file, or the clean-up would delete what other processes use now.
pub(super) fn close(connection: Connection, watch: &FileWatch) {
    let is_in_place = watch.check().is_ok();
    let is_whole = !watch.is_cut() && !watch.is_main_removed() && watch.has_whole_content(&connection);
    if is_whole && (is_in_place || !watch.is_rescued()) {
        // If this fails, the next process that opens the file finds all jobs in the log.
        let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
    }
    drop(connection);
}
