//! Opens connections: settings, identity of the file, schema.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::SqliteError;

const SCHEMA: &str = include_str!("schema.sql");
/// Upgrades from schema 1 to 2, and so on.
///
/// An upgrade only adds, so that processes of an older version with the file open keep working.
const UPGRADES: [&str; 7] = [
    include_str!("upgrade_2.sql"),
    include_str!("upgrade_3.sql"),
    include_str!("upgrade_4.sql"),
    include_str!("upgrade_5.sql"),
    include_str!("upgrade_6.sql"),
    include_str!("upgrade_7.sql"),
    include_str!("upgrade_8.sql"),
];
/// The version of [`SCHEMA`]; a higher one was written by a newer aint-queue.
const VERSION: i64 = 1 + UPGRADES.len() as i64;
/// Application id of a store file: the letters "aint".
const APPLICATION: i64 = 0x6169_6e74;
/// The first SQLite version without the bug that could corrupt a WAL file at its reset.
const OLDEST_SQLITE: i32 = 3_051_003;
/// Longest wait for the file lock of another process; then the call fails as unavailable.
const BUSY_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Opens the writing connection; creates the schema of an empty file, upgrades that of an older one.
pub(super) fn writer(path: &Path) -> Result<Connection, SqliteError> {
    let begin = Instant::now();
    loop {
        match try_writer(path) {
            // SQLite itself does not wait for the lock when it switches a file to WAL.
            Err(error) if error.is_busy() && begin.elapsed() < BUSY_TIMEOUT => sleep_randomly(),
            opened => return opened,
        }
    }
}

fn try_writer(path: &Path) -> Result<Connection, SqliteError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(SqliteError::Refused(format!(
            "SQLite {} can damage a file; at least 3.51.3 is needed: build with the bundled one",
            rusqlite::version()
        )));
    }
    let mut connection = open(path)?;
    // Checked before anything is written, so that a foreign file stays untouched; in a transaction, because another
    // process may be creating the schema right now.
    identify(&*connection.transaction()?)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteError::Refused(format!(
            "the file system does not allow the WAL mode of SQLite (it stays in \"{mode}\"): name a file on a local disk"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = identify(&transaction)?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
    }
    for upgrade in UPGRADES.iter().skip(usize::try_from(version - 1).unwrap_or(UPGRADES.len())) {
        transaction.execute_batch(upgrade)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Opens the reading connection to a file prepared by [`writer`].
pub(super) fn reader(path: &Path) -> Result<Connection, SqliteError> {
    let connection = open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    // SQLite opens the files beside the main one at the first read: they are the ones of the writing connection now.
    identify(&connection)?;
    Ok(connection)
}

fn open(path: &Path) -> Result<Connection, SqliteError> {
    // The path is canonical: a link in it would be one that was planted since.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    // Until the files are found whole, see `rescue.rs`.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let mut begin = Instant::now();
    connection.busy_handler(Some(move |count| {
        if count == 0 {
            begin = Instant::now();
        }
        sleep_randomly();
        begin.elapsed() < BUSY_TIMEOUT
    }))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    if connection.is_readonly("main")? {
        return Err(SqliteError::Refused(
            "the file cannot be written: give this user write permission".into(),
        ));
    }
    Ok(connection)
}

/// Sleeps for a random moment, so that waiting processes do not retry in step.
fn sleep_randomly() {
    thread::sleep(Duration::from_micros(200 + crate::store::random() % 2_800));
}

/// The schema version of a store file; 0 for an empty file.
fn identify(connection: &Connection) -> Result<i64, SqliteError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION, 1..=VERSION, _) => Ok(version),
        (APPLICATION, _, _) => Err(SqliteError::Corrupt(format!(
            "the file was written by a newer aint-queue (schema {version}, this version knows up to {VERSION}): upgrade aint-queue, or name another file"
        ))),
        _ => Err(SqliteError::Corrupt(
            "the file is a SQLite database of another program: name another file".into(),
        )),
    }
}
