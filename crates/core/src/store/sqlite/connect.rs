//! Opening connections: settings, the identity of the file, its schema.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::SqliteError;

const SCHEMA: &str = include_str!("schema.sql");
/// What makes a file of schema 1 one of schema 2, and so on.
///
/// An upgrade only adds: a process of an older version that has the file open meanwhile goes on with what it knows.
const UPGRADES: [&str; 1] = [include_str!("upgrade_2.sql")];
/// The version of [`SCHEMA`]; a file with a higher one was written by a newer aint-queue.
const VERSION: i64 = 1 + UPGRADES.len() as i64;
/// Marks a SQLite file as ours: the letters "aint".
const APPLICATION: i64 = 0x6169_6e74;
/// The first SQLite without the bug that could corrupt a WAL file at its reset.
const OLDEST_SQLITE: i32 = 3_051_003;
/// How long a connection waits for the lock of another process before the call is answered as unavailable.
const BUSY: Duration = Duration::from_millis(2_500);

/// Opens the connection that writes; makes the schema in an empty file, upgrades that of an older one.
pub(super) fn writer(path: &Path) -> Result<Connection, SqliteError> {
    let begin = Instant::now();
    loop {
        match try_writer(path) {
            // To switch a file to WAL, SQLite does not wait for the lock of others who are at it: we do.
            Err(fault) if fault.is_busy() && begin.elapsed() < BUSY => nap(),
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
    // Before anything is written: a file of somebody else stays as it is. In one transaction, because
    // another process may be making the schema just now.
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

/// Opens a connection that only reads, on a file that [`writer`] has prepared.
pub(super) fn reader(path: &Path) -> Result<Connection, SqliteError> {
    let connection = open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open(path: &Path) -> Result<Connection, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    let mut begin = Instant::now();
    connection.busy_handler(Some(move |count| {
        if count == 0 {
            begin = Instant::now();
        }
        nap();
        begin.elapsed() < BUSY
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

/// A moment, of random length so that many processes do not ask in step.
fn nap() {
    thread::sleep(Duration::from_micros(200 + crate::store::random() % 2_800));
}

/// The schema version of a file that is ours; 0 for one that is still empty.
fn identify(connection: &Connection) -> Result<i64, SqliteError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION, 1..=VERSION, _) => Ok(version),
        (APPLICATION, _, _) => Err(SqliteError::Corrupt(format!(
            "it was written by a newer aint-queue (schema {version}, this one knows up to {VERSION}): upgrade aint-queue, or name another file"
        ))),
        _ => {
            Err(SqliteError::Corrupt("it is a SQLite database of another program: name another file".into()))
        }
    }
}
