//! The reading thread: status, lists and records, independent of the writer.
//!
//! While a master waits for work, the thread checks every [`POLL_INTERVAL`] whether another process has committed, and wakes the
//! waiting ones. It ends when the last handle on the file is dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::Connection;

use super::clock::WallClock;
use super::error::SqliteError;
use super::file_watch::FileWatch;
use super::rescue;
use super::transaction::{BoxedOperation, Operation, Tx};
use super::wakeups::Wakeups;

/// Interval between checks for commits of other processes.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) watch: Arc<FileWatch>,
    pub(super) ops: Receiver<Request>,
    pub(super) wakes: Wakeups,
    pub(super) clock: WallClock,
}

pub(super) enum Request {
    /// Run a call in a read transaction.
    Run(BoxedOperation),
    /// A wait begins: check now, then every tick.
    Poll,
}

impl Reader {
    /// Runs until all senders are dropped, then closes the connection.
    pub(super) fn run(self) {
        self.serve();
        // A finding keeps the close from a checkpoint.
        let _ = self.watch.check_content(&self.connection);
        rescue::close(self.connection, &self.watch);
    }

    fn serve(&self) {
        let mut version = None;
        let mut looked = Instant::now();
        loop {
            let request = if self.wakes.awaited() {
                self.ops.recv_deadline(looked + POLL_INTERVAL)
            } else {
                self.ops.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match request {
                Ok(Request::Run(mut op)) => {
                    if !op.abandoned() {
                        let outcome = self.read(&mut *op);
                        op.answer(outcome);
                    }
                    if looked.elapsed() < POLL_INTERVAL {
                        continue;
                    }
                }
                Ok(Request::Poll) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.wakes.awaited() {
                // A failed check is repeated at the next tick; every wait has a time limit of its own.
                let _ = self.poll(&mut version);
            }
            looked = Instant::now();
        }
    }

    fn read(&self, op: &mut dyn Operation) -> Result<(), SqliteError> {
        self.watch.check_content(&self.connection)?;
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        let tx = Tx::new(&self.connection, &self.clock);
        let outcome = op.run(&tx);
        // An I/O error may have ended the transaction already; its own error says more than that of a second end.
        if !self.connection.is_autocommit() {
            self.connection.prepare_cached("ROLLBACK")?.execute([])?;
        }
        outcome
    }

    fn poll(&self, seen: &mut Option<i64>) -> Result<(), SqliteError> {
        self.watch.check_readable()?;
        let tx = Tx::new(&self.connection, &self.clock);
        let version = tx.number("PRAGMA data_version", [])?;
        if version == *seen {
            return Ok(());
        }
        self.watch.check_content(&self.connection)?;
        let mut statement = tx.prepare("SELECT id, wakes FROM channels")?;
        let wakes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.wakes.publish(wakes.collect::<Result<Vec<_>, _>>()?);
        *seen = version;
        Ok(())
    }
}
