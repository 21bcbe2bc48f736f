//! One call of a script.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ToRedisArgs, Value};

use super::RedisStore;
use super::errors::{Trouble, Verdict};
use super::link::Line;
use super::scripts::{Loaded, Script};
use crate::store::StoreError;

/// A call being put together. Its connection is open, because the script's text depends on the server.
pub(super) struct Call<'a> {
    store: &'a RedisStore,
    line: Arc<Line>,
    script: &'static Loaded,
    cmd: Cmd,
    doing: &'static str,
}

impl RedisStore {
    /// Begins a call of `script`, which touches `keys` beside the channel's fixed ones.
    pub(super) async fn call(
        &self,
        script: Script,
        doing: &'static str,
        keys: &[String],
    ) -> Result<Call<'_>, StoreError> {
        let line = self.calls.line(doing).await?;
        let script = script.loaded(line.flags);
        let fixed = self.keys.fixed();
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.sha).arg(fixed.len() + keys.len()).arg(fixed).arg(keys);
        Ok(Call { store: self, line, script, cmd, doing })
    }

    /// Sends a plain command; for reading what needs no script.
    pub(super) async fn plain(&self, cmd: &Cmd, doing: &'static str) -> Result<Value, StoreError> {
        let line = self.calls.line(doing).await?;
        let answer = self.calls.send(&line, cmd, Duration::ZERO).await;
        answer.map_err(|trouble| self.failed(trouble, doing))
    }

    pub(super) fn failed(&self, trouble: Trouble, doing: &'static str) -> StoreError {
        trouble.into_store(self.place(), doing)
    }

    /// What was read of an answer, or the error that it has an unexpected form.
    pub(super) fn understood<T>(&self, read: Option<T>, doing: &'static str) -> Result<T, StoreError> {
        read.ok_or_else(|| StoreError::Corrupt {
            place: self.place().to_owned(),
            detail: format!("an answer of unexpected form while {doing}; is this a Redis server?"),
        })
    }
}

impl Call<'_> {
    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.cmd.arg(arg);
        self
    }

    /// Makes the call, once. Only when the server does not know the script, and so ran nothing, is it loaded and
    /// the call made again.
    pub(super) async fn send(self) -> Result<Value, StoreError> {
        let calls = &self.store.calls;
        let mut answer = calls.send(&self.line, &self.cmd, Duration::ZERO).await;
        if answer.as_ref().is_err_and(|trouble| trouble.verdict() == Verdict::Load) {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(&self.script.text);
            answer = match calls.send(&self.line, &load, Duration::ZERO).await {
                Ok(_) => calls.send(&self.line, &self.cmd, Duration::ZERO).await,
                Err(trouble) => Err(trouble),
            };
        }
        answer.map_err(|trouble| self.store.failed(trouble, self.doing))
    }
}
