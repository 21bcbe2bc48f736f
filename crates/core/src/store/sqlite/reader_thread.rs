//! The thread that reads: status, lists, records, beside the writer and never behind it.
//!
//! While somebody waits for work it also looks, every [`TICK`], whether another process has written, and
//! tells those who wait. It ends when the last handle on the file is gone.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::Connection;

use super::error::SqliteError;
use super::transaction::{BoxedOp, Op, Tx};
use super::wakeups::Wakeups;

/// Between two looks at what other processes wrote.
const TICK: Duration = Duration::from_millis(25);

pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) ops: Receiver<Request>,
    pub(super) wakes: Wakeups,
}

pub(super) enum Request {
    /// Run this in a read transaction.
    Run(BoxedOp),
    /// Somebody begins to wait: look at once, and then every tick.
    Look,
}

impl Reader {
    /// Works until all senders are gone.
    pub(super) fn run(self) {
        let mut version = None;
        let mut looked = Instant::now();
        loop {
            let request = if self.wakes.awaited() {
                self.ops.recv_deadline(looked + TICK)
            } else {
                self.ops.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match request {
                Ok(Request::Run(mut op)) => {
                    if !op.abandoned() {
                        let outcome = self.read(&mut *op);
                        op.answer(outcome);
                    }
                    if looked.elapsed() < TICK {
                        continue;
                    }
                }
                Ok(Request::Look) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.wakes.awaited() {
                // What cannot be read now is looked at again in a moment; those who wait have a time limit.
                let _ = self.look(&mut version);
            }
            looked = Instant::now();
        }
    }

    fn read(&self, op: &mut dyn Op) -> Result<(), SqliteError> {
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        let tx = Tx::new(&self.connection);
        let outcome = op.run(&tx);
        self.connection.prepare_cached("ROLLBACK")?.execute([])?;
        outcome
    }

    fn look(&self, seen: &mut Option<i64>) -> Result<(), SqliteError> {
        let tx = Tx::new(&self.connection);
        let version = tx.number("PRAGMA data_version", [])?;
        if version == *seen {
            return Ok(());
        }
        let mut statement = tx.prepare("SELECT id, wakes FROM channels")?;
        let wakes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.wakes.publish(wakes.collect::<Result<Vec<_>, _>>()?);
        *seen = version;
        Ok(())
    }
}
