//! A script call.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ToRedisArgs, Value};

use super::RedisStore;
use super::connection::Connection;
use super::errors::{CallError, ErrorClass};
use super::reply::is_word;
use super::scripts::{Loaded, Script};
use crate::store::StoreError;

/// A script call under construction. Holds an open connection, because the script's text depends on the server's version.
pub(super) struct Call<'a> {
    store: &'a RedisStore,
    connection: Arc<Connection>,
    script: &'static Loaded,
    cmd: Cmd,
    doing: &'static str,
}

impl RedisStore {
    /// Prepares a call of `script` with its own `keys` behind the channel's fixed ones.
    pub(super) async fn call(
        &self,
        script: Script,
        doing: &'static str,
        keys: &[String],
    ) -> Result<Call<'_>, StoreError> {
        let connection = self.calls.connection(doing).await?;
        let script = script.loaded(connection.flags);
        let fixed = self.keys.fixed();
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.sha).arg(fixed.len() + keys.len()).arg(fixed).arg(keys);
        Ok(Call { store: self, connection, script, cmd, doing })
    }

    /// Sends a plain command, for reads that need no script.
    pub(super) async fn plain(&self, cmd: &Cmd, doing: &'static str) -> Result<Value, StoreError> {
        let connection = self.calls.connection(doing).await?;
        let answer = self.calls.send(&connection, cmd, Duration::ZERO).await;
        answer.map_err(|error| self.failed(error, doing))
    }

    pub(super) fn failed(&self, error: CallError, doing: &'static str) -> StoreError {
        error.into_store(self.place(), doing)
    }

    /// The parsed reply, or the error for a reply of unexpected form.
    pub(super) fn parsed<T>(&self, read: Option<T>, doing: &'static str) -> Result<T, StoreError> {
        read.ok_or_else(|| StoreError::Corrupt {
            place: self.place().to_owned(),
            detail: format!("an answer of unexpected form while {doing}; is this a Redis server?"),
        })
    }
}

impl Call<'_> {
    /// Sends the call and parses its reply. The scripts' refusals of an owner's call are errors.
    pub(super) async fn read<T>(self, parse: impl FnOnce(Value) -> Option<T>) -> Result<T, StoreError> {
        let reply = self.attempt().await;
        self.parsed(reply, parse)
    }

    /// The parsed reply of an attempt.
    pub(super) fn parsed<T>(
        self,
        reply: Result<Value, CallError>,
        parse: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, StoreError> {
        let (store, doing) = (self.store, self.doing);
        let reply = reply.map_err(|error| store.failed(error, doing))?;
        if is_word(&reply, "LOST") {
            return Err(StoreError::Lost);
        }
        if is_word(&reply, "REPLAYED") {
            return Err(StoreError::Replayed);
        }
        store.parsed(parse(reply), doing)
    }

    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }

    /// Sends the call once.
    pub(super) async fn send(self) -> Result<Value, StoreError> {
        let reply = self.attempt().await;
        reply.map_err(|error| self.store.failed(error, self.doing))
    }

    /// Sends the call once. An unknown script has run nothing, so it is loaded and the call repeated.
    pub(super) async fn attempt(&self) -> Result<Value, CallError> {
        let calls = &self.store.calls;
        let mut answer = calls.send(&self.connection, &self.cmd, Duration::ZERO).await;
        if answer.as_ref().is_err_and(|error| error.class() == ErrorClass::LoadScript) {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(&self.script.text);
            answer = match calls.send(&self.connection, &load, Duration::ZERO).await {
                Ok(_) => calls.send(&self.connection, &self.cmd, Duration::ZERO).await,
                Err(error) => Err(error),
            };
        }
        answer
    }
}
