//! One call on its way to a thread that owns a connection, and what it sees there.

use std::cell::RefCell;

use rusqlite::{CachedStatement, Connection, Params};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::clock;
use super::error::SqliteError;
use crate::job::Timestamp;

/// A transaction, as an operation sees it.
pub(super) struct Tx<'c> {
    connection: &'c Connection,
    /// The store's clock.
    pub(super) now: Timestamp,
    /// The channels that may have got work, with their new wake counts. Told to those who wait after the commit.
    woken: RefCell<Vec<(i64, i64)>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, now: clock::now(), woken: RefCell::default() }
    }

    /// A statement that is compiled once per connection.
    pub(super) fn prepare(&self, sql: &'static str) -> Result<CachedStatement<'c>, SqliteError> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Runs a statement; answers how many rows it changed.
    pub(super) fn execute(&self, sql: &'static str, params: impl Params) -> Result<usize, SqliteError> {
        Ok(self.prepare(sql)?.execute(params)?)
    }

    /// The one number a query answers, `None` where it answers no row or null.
    pub(super) fn number(&self, sql: &'static str, params: impl Params) -> Result<Option<i64>, SqliteError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(params)?;
        Ok(match rows.next()? {
            Some(row) => row.get(0)?,
            None => None,
        })
    }

    /// Notes that a channel may have got work.
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

/// A call, without its types: the threads run calls of all kinds.
pub(super) trait Op: Send {
    /// Runs in a transaction. May run again when that transaction was undone.
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), SqliteError>;

    /// Hands over the answer: what the last run made, or the fault.
    fn answer(self: Box<Self>, outcome: Result<(), SqliteError>);

    /// Whether nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
}

pub(super) type BoxedOp = Box<dyn Op>;

struct Call<F, T> {
    act: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, SqliteError>>,
    /// Its place among what waits, given back when it is gone.
    _room: OwnedSemaphorePermit,
}

/// Makes an operation of a function, and the place where its answer will be.
pub(super) fn call<F, T>(
    act: F,
    room: OwnedSemaphorePermit,
) -> (BoxedOp, oneshot::Receiver<Result<T, SqliteError>>)
where
    F: FnMut(&Tx<'_>) -> Result<T, SqliteError> + Send + 'static,
    T: Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Call { act, result: None, reply, _room: room }), answer)
}

impl<F, T> Op for Call<F, T>
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
        // The caller may have given up; then the answer is for nobody.
        let _ = reply.send(answer);
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}
