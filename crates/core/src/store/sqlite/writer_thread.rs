//! The writing thread of a file, the only one in this process.
//!
//! Combines all queued calls into one transaction, so that many callers share one fsync, and replies after the commit.
//! Each call has its own savepoint: a failing call rolls back nothing but itself. The thread ends when the last handle on
//! the file is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use rusqlite::Connection;

use super::clock::WallClock;
use super::error::SqliteError;
use super::file_watch::FileWatch;
use super::rescue;
use super::transaction::{BoxedOperation, Operation, Tx};
use super::wakeups::Wakeups;

/// Longest uninterrupted work; then other processes get a chance to write.
const MAX_WRITE_BURST: Duration = Duration::from_millis(20);
/// Length of that chance.
const WRITE_GAP: Duration = Duration::from_millis(1);
/// Time between two looks at the files without a call: commits of files that have lost their names are saved soon.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Most calls in memory ahead of their transaction.
const MAX_GROUPED_CALLS: usize = 256;

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) watch: Arc<FileWatch>,
    pub(super) ops: Receiver<BoxedOperation>,
    pub(super) wakes: Wakeups,
    pub(super) clock: WallClock,
}

/// A call that has run but is not committed, with its outcome.
type CompletedCall = (BoxedOperation, Result<(), SqliteError>);

impl Writer {
    /// Runs until all senders are dropped, then closes the connection.
    pub(super) fn run(self) {
        self.serve();
        let _ = self.check_files();
        rescue::rescue_at_end(&self.connection, &self.watch, self.clock.now());
        rescue::close(self.connection, &self.watch);
    }

    fn serve(&self) {
        let mut backlog = VecDeque::new();
        let mut working_since = Instant::now();
        loop {
            if backlog.is_empty() {
                match self.ops.try_recv() {
                    Ok(op) => backlog.push_back(op),
                    Err(TryRecvError::Empty) => {
                        let idle_since = Instant::now();
                        match self.next_call() {
                            Some(op) => backlog.push_back(op),
                            None => return,
                        }
                        // A caller that returns immediately leaves other processes no gap.
                        if idle_since.elapsed() >= WRITE_GAP {
                            working_since = Instant::now();
                        }
                    }
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let room = MAX_GROUPED_CALLS.saturating_sub(backlog.len());
            backlog.extend(self.ops.try_iter().take(room));
            backlog.retain(|op| !op.abandoned());
            if !backlog.is_empty() {
                self.group(&mut backlog);
            }
            if working_since.elapsed() >= MAX_WRITE_BURST {
                thread::sleep(WRITE_GAP);
                working_since = Instant::now();
            }
        }
    }

    /// Waits for a call and looks at the files meanwhile; `None` when all senders are dropped.
    fn next_call(&self) -> Option<BoxedOperation> {
        loop {
            match self.ops.recv_timeout(FILE_CHECK_INTERVAL) {
                Ok(op) => return Some(op),
                // Calls get the error.
                Err(RecvTimeoutError::Timeout) => drop(self.check_files()),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Refuses writes while a file of the store is not the opened one or was cut, and saves what was written before.
    fn check_files(&self) -> Result<(), SqliteError> {
        let names = self.watch.look();
        let content = self.watch.check_content_for_writing(&names, &self.connection);
        if self.watch.check_names(&names).is_ok() {
            self.watch.forget_rescue();
            return content;
        }
        rescue::rescue(&self.connection, &self.watch, self.clock.now());
        // The rescue may have changed the remedy.
        self.watch.check()
    }

    /// Runs as many queued calls as fit into one time slice, in one transaction.
    fn group(&self, backlog: &mut VecDeque<BoxedOperation>) {
        if let Err(error) = self.check_files() {
            for op in backlog.drain(..) {
                op.answer(Err(error.clone()));
            }
            return;
        }
        if backlog.len() == 1 {
            return self.alone(backlog.pop_front().expect("it has one"));
        }
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            // The error applies to every queued call, because each would need the same transaction.
            for op in backlog.drain(..) {
                op.answer(Err(error.clone()));
            }
            return;
        }
        let _writing = self.wakes.write();
        let begin = Instant::now();
        let (mut ran, mut woken) = (Vec::<CompletedCall>::new(), Vec::new());
        while let Some(mut op) = backlog.pop_front() {
            let outcome = self.within_savepoint(&mut *op, &mut woken);
            ran.push((op, outcome));
            // A full disk or an I/O error may roll back the whole transaction, successful calls included.
            if self.connection.is_autocommit() {
                return self.one_by_one(ran);
            }
            if begin.elapsed() >= MAX_WRITE_BURST {
                break;
            }
        }
        match self.execute("COMMIT") {
            Ok(()) => {
                self.wakes.publish(woken);
                let committed = self.watch.check_committed(&self.connection);
                for (op, outcome) in ran {
                    op.answer(outcome.and_then(|()| committed.clone()));
                }
            }
            Err(_) => {
                self.roll_back();
                self.one_by_one(ran);
            }
        }
    }

    /// Repeats each call of a rolled-back transaction in one of its own, so that each gets its own outcome.
    fn one_by_one(&self, ran: Vec<CompletedCall>) {
        for (op, _) in ran {
            self.alone(op);
        }
    }

    fn alone(&self, mut op: BoxedOperation) {
        let outcome = self.in_transaction(&mut *op);
        if outcome.is_err() {
            self.roll_back();
        }
        op.answer(outcome);
    }

    fn in_transaction(&self, op: &mut dyn Operation) -> Result<(), SqliteError> {
        self.execute("BEGIN IMMEDIATE")?;
        let _writing = self.wakes.write();
        let tx = Tx::new(&self.connection, &self.clock);
        op.run(&tx)?;
        let woken = tx.woken();
        self.execute("COMMIT")?;
        self.wakes.publish(woken);
        self.watch.check_committed(&self.connection)
    }

    fn within_savepoint(
        &self,
        op: &mut dyn Operation,
        woken: &mut Vec<(i64, i64)>,
    ) -> Result<(), SqliteError> {
        self.execute("SAVEPOINT op")?;
        let tx = Tx::new(&self.connection, &self.clock);
        let outcome = op.run(&tx);
        if outcome.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK TO op")?;
        }
        if !self.connection.is_autocommit() {
            self.execute("RELEASE op")?;
        }
        woken.extend(tx.woken());
        outcome
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            // If the rollback fails too, the next BEGIN reports an error, and no call is acknowledged.
            let _ = self.execute("ROLLBACK");
        }
    }

    fn execute(&self, sql: &'static str) -> Result<(), SqliteError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}
