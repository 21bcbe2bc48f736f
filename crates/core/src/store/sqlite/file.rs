//! An open store file of this process: its two threads and its waiting masters.
//!
//! All handles on a path share one [`File`], found in a registry of the process; the threads end when the last handle
//! is dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::{Semaphore, watch};

use super::clock::WallClock;
use super::connect;
use super::error::SqliteError;
use super::file_holders;
use super::file_watch::FileWatch;
use super::path_checks::{self, StorePath};
use super::reader_thread::{Reader, Request};
use super::transaction::{self, BoxedOperation, Tx};
use super::wakeups::Wakeups;
use super::writer_thread::Writer;
use crate::mutex::lock;
use crate::store::{StoreError, StoreIdentity};

/// Longest time of a call; then the store counts as unavailable for its caller.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound on calls queued for the threads, in KiB of payloads plus [`CALL_OVERHEAD_KIB`] per call.
const MAX_QUEUED_KIB: usize = 64 * 1024;
/// Share of [`MAX_QUEUED_KIB`] of a call without payloads, in KiB.
const CALL_OVERHEAD_KIB: usize = 16;

/// The open files of this process, by path.
static OPEN_FILES: Mutex<BTreeMap<PathBuf, Weak<File>>> = Mutex::new(BTreeMap::new());

/// An open store file.
pub(super) struct File {
    watch: Arc<FileWatch>,
    /// The path, for messages.
    name: String,
    writes: Sender<BoxedOperation>,
    reads: Sender<Request>,
    room: Arc<Semaphore>,
    wakes: Wakeups,
    pub(super) clock: WallClock,
}

impl File {
    /// Returns the open file at `path`, opening it if necessary.
    pub(super) fn open(path: &Path, named: bool) -> Result<Arc<Self>, SqliteError> {
        let mut files = lock(&OPEN_FILES);
        path_checks::check_directory(path, named)?;
        let place = StorePath::prepare(path)?;
        place.check_files(named)?;
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = files.get(&place.path).and_then(Weak::upgrade)
            // Otherwise the path leads to a new file; handles on the old one report that themselves.
            && *file.watch.place() == place
        {
            // A second set of files beside the one in use would share nothing with it.
            file.watch.check_readable()?;
            return Ok(file);
        }
        file_holders::check(&place)?;
        let file = Arc::new(Self::start(place.clone())?);
        files.insert(place.path, Arc::downgrade(&file));
        Ok(file)
    }

    fn start(place: StorePath) -> Result<Self, SqliteError> {
        let write = connect::writer(&place.path)?;
        let read = connect::reader(&place.path)?;
        let watch = Arc::new(FileWatch::of(place.clone(), &write)?);
        let (writes, write_ops) = unbounded();
        let (reads, read_ops) = unbounded();
        let (wakes, clock) = (Wakeups::default(), WallClock::default());
        let writer = Writer {
            connection: write,
            watch: Arc::clone(&watch),
            ops: write_ops,
            wakes: wakes.clone(),
            clock: clock.clone(),
        };
        let reader = Reader {
            connection: read,
            watch: Arc::clone(&watch),
            ops: read_ops,
            wakes: wakes.clone(),
            clock: clock.clone(),
        };
        spawn("sqlite-write", move || writer.run())?;
        spawn("sqlite-read", move || reader.run())?;
        let name = place.path.display().to_string();
        Ok(Self { watch, name, writes, reads, room: Arc::new(Semaphore::new(MAX_QUEUED_KIB)), wakes, clock })
    }

    /// Runs `act` in a write transaction and replies after the commit. `bytes` is the size of the carried data.
    pub(super) async fn write<T, F>(&self, doing: &'static str, bytes: usize, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, SqliteError> + Send + 'static,
    {
        self.call(doing, bytes, act, |op| self.writes.send(op).is_ok()).await
    }

    /// The identity of the file, opened by the path `configured`.
    pub(super) fn identity(&self, configured: &Path) -> StoreIdentity {
        let place = self.watch.place();
        StoreIdentity::sqlite(configured, &place.path, Some(place.inode))
    }

    /// The file of this store that is not the opened one, and the remedy.
    pub(super) fn damage(&self) -> Option<String> {
        self.watch.damage()
    }

    /// Refuses a push when the disk is nearly full.
    pub(super) fn has_room(&self, doing: &'static str) -> Result<(), StoreError> {
        self.watch.place().has_room().map_err(|fault| fault.at(&self.name, doing))
    }

    /// Runs `act` like [`File::write`], for a caller that may block.
    pub(super) fn write_blocking<T, F>(&self, act: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, SqliteError> + Send + 'static,
    {
        // Opening is rare and needs no place in the queue of calls.
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().map_err(|_| thread_ended())?;
        let (op, answer) = transaction::call(act, room);
        self.writes.send(op).map_err(|_| thread_ended())?;
        // A separate thread, because tokio forbids blocking receives on its own threads.
        let waiting = thread::spawn(move || answer.blocking_recv());
        waiting.join().map_err(|_| thread_ended())?.map_err(|_| thread_ended())?
    }

    /// Runs `act` in a read transaction: one consistent state of the store.
    pub(super) async fn read<T, F>(&self, doing: &'static str, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, SqliteError> + Send + 'static,
    {
        self.call(doing, 0, act, |op| self.reads.send(Request::Run(op)).is_ok()).await
    }

    async fn call<T, F>(
        &self,
        doing: &'static str,
        bytes: usize,
        act: F,
        send: impl FnOnce(BoxedOperation) -> bool,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, SqliteError> + Send + 'static,
    {
        let answered = tokio::time::timeout(CALL_TIMEOUT, async {
            let room =
                u32::try_from((CALL_OVERHEAD_KIB + bytes / 1024).min(MAX_QUEUED_KIB)).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room).acquire_many_owned(room).await.map_err(|_| thread_ended())?;
            let (op, answer) = transaction::call(act, room);
            if !send(op) {
                return Err(thread_ended());
            }
            answer.await.map_err(|_| thread_ended())?
        });
        let outcome = answered.await.unwrap_or_else(|_| {
            Err(SqliteError::Unavailable(format!("there was no answer within {} s", CALL_TIMEOUT.as_secs())))
        });
        outcome.map_err(|fault| self.explained(fault).at(&self.name, doing))
    }

    /// A fault with the path, owner and mode that caused it, if a permission did: it may have changed since the file was opened.
    fn explained(&self, fault: SqliteError) -> SqliteError {
        let denied = if fault.is_denied() { self.watch.place().denied() } else { None };
        denied.map_or(fault, |denied| SqliteError::Refused(denied.to_string()))
    }

    /// Bytes of queued calls.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        (MAX_QUEUED_KIB - self.room.available_permits()) * 1024
    }

    /// The wake counts of a channel, starting at the known one.
    pub(super) fn watch(&self, channel: i64, known: i64) -> watch::Receiver<i64> {
        self.wakes.watch(channel, known)
    }

    /// Waits until the wake count of a channel differs from `seen`, and returns it.
    pub(super) async fn woken(&self, mut wakes: watch::Receiver<i64>, seen: i64) -> i64 {
        let _waiting = self.wakes.wait();
        // If the reader thread is gone, wake-ups of this process still arrive.
        let _ = self.reads.send(Request::Poll);
        let woken = wakes.wait_for(|wakes| *wakes != seen).await.map(|wakes| *wakes);
        // The sender lives as long as the file, so the wait cannot fail.
        woken.unwrap_or(seen)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.name).finish()
    }
}

/// Starts a thread of the file.
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), SqliteError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map(drop).map_err(|error| SqliteError::Unavailable(format!("no thread can be started: {error}")))
}

/// The error for a thread that ended although handles exist; only a panic can cause that.
fn thread_ended() -> SqliteError {
    SqliteError::Unavailable("its thread has ended".into())
}
