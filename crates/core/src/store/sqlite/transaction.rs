//! A call on its way to a thread that owns a connection, and the transaction it runs in.

use std::cell::RefCell;

use rusqlite::{CachedStatement, Connection, Params};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::clock::WallClock;
use super::error::SqliteError;
use crate::job::Timestamp;

/// A transaction, as calls see it.
pub(super) struct Tx<'c> {
    connection: &'c Connection,
    /// The store's time at the beginning of the transaction.
    pub(super) now: Timestamp,
    /// Channels that may have new work, with their new wake counts; published after the commit.
    woken: RefCell<Vec<(i64, i64)>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(connection: &'c Connection, clock: &WallClock) -> Self {
        Self { connection, now: clock.now(), woken: RefCell::default() }
    }

    /// Prepares a statement, compiled once per connection.
    pub(super) fn prepare(&self, sql: &'static str) -> Result<CachedStatement<'c>, SqliteError> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Executes a statement; returns the number of changed rows.
    pub(super) fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize, SqliteError> {
        Ok(self.prepare(sql)?.execute(params)?)
    }

    /// Executes statements that return nothing and take no parameters.
    pub(super) fn execute_batch(&self, sql: &'static str) -> Result<(), SqliteError> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// The single number returned by a query; `None` for no row or null.
    pub(super) fn number(&self, sql: &'static str, params: impl Params) -> Result<Option<i64>, SqliteError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(params)?;
        Ok(match rows.next()? {
            Some(row) => row.get(0)?,
            None => None,
        })
    }

    /// Marks that a channel may have new work.
    pub(super) fn wake(&self, channel: i64) -> Result<(), SqliteError> {
        let wakes =
            self.number("UPDATE channels SET wakes = wakes + 1 WHERE id = ?1 RETURNING wakes", [channel])?;
        self.woken.borrow_mut().extend(wakes.map(|wakes| (channel, wakes)));
        Ok(())
    }

    pub(super) fn woken(self) -> Vec<(i64, i64)> {
        self.woken.into_inner()
    }
}

/// A type-erased call.
pub(super) trait Operation: Send {
    /// Runs in a transaction. Runs again if that transaction was rolled back.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), SqliteError>;

    /// Sends the reply: the result of the last run, or the error.
    fn answer(self: Box<Self>, outcome: Result<(), SqliteError>);

    /// Whether the caller has stopped waiting.
    fn abandoned(&self) -> bool;
}

pub(super) type BoxedOperation = Box<dyn Operation>;

struct Call<F, T> {
    act: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, SqliteError>>,
    /// Share of the queue bound, returned on drop.
    _room: OwnedSemaphorePermit,
}

/// Makes a call of a function, and the receiver of its reply.
pub(super) fn call<F, T>(
    act: F,
    room: OwnedSemaphorePermit,
) -> (BoxedOperation, oneshot::Receiver<Result<T, SqliteError>>)
where
    F: FnMut(&Tx<'_>) -> Result<T, SqliteError> + Send + 'static,
    T: Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Call { act, result: None, reply, _room: room }), answer)
}

impl<F, T> Operation for Call<F, T>
where
    F: FnMut(&Tx<'_>) -> Result<T, SqliteError> + Send,
    T: Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), SqliteError> {
        self.result = Some((self.act)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), SqliteError>) {
        let Self { result, reply, .. } = *self;
        let answer = outcome.map(|()| result.expect("a run without a fault made a result"));
        // The caller may have stopped waiting.
        let _ = reply.send(answer);
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}
