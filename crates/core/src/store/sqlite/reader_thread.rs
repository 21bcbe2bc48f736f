//! The reading thread: status, lists and records, independent of the writer.
//!
//! While a master waits for work, the thread checks whether another process has committed, and wakes the waiting ones: soon after
//! each write that the kernel announces, see `commit_watch.rs`, at short intervals where the kernel announces none. It ends when
//! the last handle on the file is dropped.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, never, select};
use rusqlite::Connection;

use super::clock::WallClock;
use super::commit_watch::CommitWatch;
use super::error::SqliteError;
use super::file_watch::FileWatch;
use super::poll_schedule::PollSchedule;
use super::rescue;
use super::transaction::{BoxedOperation, Operation, Tx};
use super::wakeups::Wakeups;
use crate::log_macros::warn;

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
    /// A wait begins: check now, then as scheduled.
    Poll,
}

/// The checks for commits, from the first wait on.
struct CommitChecks {
    announcements: Option<CommitWatch>,
    schedule: PollSchedule,
    /// The version of the data at the last check.
    version: Option<i64>,
}

enum Event {
    Request(Request),
    /// A process writes to the log.
    Write,
    /// The kernel announces writes no more.
    NoAnnouncements,
    /// A check may be due.
    Timeout,
    /// The last handle was dropped.
    End,
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
        let mut checks = None;
        loop {
            match self.next(checks.as_ref()) {
                Event::Request(Request::Run(mut op)) => {
                    if !op.abandoned() {
                        let outcome = self.read(&mut *op);
                        op.answer(outcome);
                    }
                }
                Event::Request(Request::Poll) => {
                    let checks = checks.get_or_insert_with(|| self.start_checks());
                    // A check that is due follows anyway.
                    if checks.schedule.due() > Instant::now() {
                        // A failed check is repeated when the next one is due; every wait has a time limit of its own.
                        let _ = self.poll(&mut checks.version);
                    }
                }
                Event::Write => checks.iter_mut().for_each(|checks| {
                    checks.schedule.announce(self.wakes.is_writing(), Instant::now());
                }),
                Event::NoAnnouncements => checks.iter_mut().for_each(|checks| {
                    checks.announcements = None;
                    checks.schedule.end_announcements(Instant::now());
                }),
                Event::Timeout => {}
                Event::End => return,
            }
            if let Some(checks) = &mut checks
                && self.wakes.awaited()
                && checks.schedule.due() <= Instant::now()
            {
                self.check(checks);
            }
        }
    }

    fn next(&self, checks: Option<&CommitChecks>) -> Event {
        let request = |received: Result<_, _>| received.map_or(Event::End, Event::Request);
        let Some(checks) = checks.filter(|_| self.wakes.awaited()) else { return request(self.ops.recv()) };
        let nothing = never();
        let announcements = checks.announcements.as_ref().filter(|_| checks.schedule.needs_announcement());
        let writes = announcements.map_or(&nothing, CommitWatch::writes);
        select! {
            recv(self.ops) -> received => request(received),
            recv(writes) -> write => write.map_or(Event::NoAnnouncements, |()| Event::Write),
            default(checks.schedule.due().saturating_duration_since(Instant::now())) => Event::Timeout,
        }
    }

    fn start_checks(&self) -> CommitChecks {
        let announcements = CommitWatch::start(&self.watch.log_handle());
        let failure = announcements.as_ref().err().map(ToString::to_string);
        if failure.is_some() {
            warn!(
                file = %self.watch.place().path.display(), error = failure.as_deref(),
                "kernel announces no writes to the store (inotify): checking for jobs 40 times a second: raise fs.inotify.max_user_instances"
            );
        }
        let schedule = PollSchedule::new(announcements.is_ok(), Instant::now());
        CommitChecks { announcements: announcements.ok(), schedule, version: None }
    }

    /// Makes a check that is due.
    fn check(&self, checks: &mut CommitChecks) {
        let polled = self.poll(&mut checks.version);
        // After a failed check nothing may touch the files: an index that was cut ends the process at the next access.
        let is_commit_ahead = polled.is_ok()
            && checks.schedule.expects_commit()
            && self.watch.has_uncommitted(&self.connection);
        checks.schedule.checked(polled.unwrap_or(false), is_commit_ahead, Instant::now());
        if checks.announcements.is_some() && !checks.schedule.is_announced() {
            checks.announcements = None;
            warn!(
                file = %self.watch.place().path.display(),
                "kernel does not announce the writes of other processes to the store: checking for jobs 40 times a second: keep the file on a \
                 local disk that all processes see as the same one"
            );
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

    /// Publishes the wake counts after a commit; whether there was one.
    fn poll(&self, seen: &mut Option<i64>) -> Result<bool, SqliteError> {
        self.watch.check_readable()?;
        let tx = Tx::new(&self.connection, &self.clock);
        let version = tx.number("PRAGMA data_version", [])?;
        if version == *seen {
            return Ok(false);
        }
        self.watch.check_content(&self.connection)?;
        let mut statement = tx.prepare("SELECT id, wakes FROM channels")?;
        let wakes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.wakes.publish(wakes.collect::<Result<Vec<_>, _>>()?);
        *seen = version;
        Ok(true)
    }
}
