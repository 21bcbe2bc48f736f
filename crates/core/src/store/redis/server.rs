//! Checks of a server before it gets jobs.

use crate::log_macros::warn;
use redis::Value;

use super::RedisStore;
use super::connection::{info_field, is_forbidden};
use super::reply::{text, texts};
use crate::store::StoreError;

const CONNECTING: &str = "connecting";
const OLDEST_VERSION: (u32, u32) = (6, 2);

impl RedisStore {
    /// Checks reachability, permission, version, eviction policy and layout.
    pub(super) async fn check_server(&self, allow_eviction: bool) -> Result<(), StoreError> {
        let connection = self.calls.connection(CONNECTING).await?;
        match connection.version {
            Some(version) if version < OLDEST_VERSION => {
                return Err(self.refused(format!(
                    "it is version {}.{}: use Redis 6.2 or newer, or Valkey",
                    version.0, version.1
                )));
            }
            Some(_) => {}
            None => {
                warn!(
                    store = self.place(),
                    "server version unknown, the server hides it: use Redis 6.2 or newer, or Valkey"
                )
            }
        }
        match self.eviction_policy().await? {
            Some(policy) if policy == "noeviction" => {}
            #[cfg_attr(
                not(feature = "tracing"),
                expect(unused_variables, reason = "used in a log line only")
            )]
            Some(policy) if allow_eviction => {
                warn!(
                    store = self.place(),
                    policy, "jobs may be lost: the server evicts keys when its memory is full"
                );
            }
            Some(policy) => {
                return Err(self.refused(format!(
                    "its `maxmemory-policy` is \"{policy}\", so it may drop jobs when its memory is full: set it to \"noeviction\", or accept the loss with `allow_eviction = true`"
                )));
            }
            None => warn!(
                store = self.place(),
                "eviction policy unknown, the server hides it: set `maxmemory-policy` to \"noeviction\""
            ),
        }
        // A single script call proves that scripts are permitted, the keys are ours, and the layout is known.
        self.counts().await?;
        Ok(())
    }

    /// Durability of a write, if the server tells.
    pub(super) async fn durability_in_force(&self) -> Result<String, StoreError> {
        let mut known = [None, None, None];
        for (value, name) in known.iter_mut().zip(["appendonly", "appendfsync", "save"]) {
            *value = self.setting(name).await?;
        }
        let [appendonly, appendfsync, save] = known;
        Ok(durability(appendonly.as_deref(), appendfsync.as_deref(), save.as_deref()).to_owned())
    }

    async fn eviction_policy(&self) -> Result<Option<String>, StoreError> {
        let mut info = redis::cmd("INFO");
        let answer = self.allowed(info.arg("memory")).await?;
        match answer.and_then(text).and_then(|info| info_field(&info, "maxmemory_policy")) {
            Some(policy) => Ok(Some(policy)),
            None => self.setting("maxmemory-policy").await,
        }
    }

    /// A server setting; `None` when the ACL forbids reading it.
    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut get = redis::cmd("CONFIG");
        let answer = self.allowed(get.arg("GET").arg(name)).await?;
        Ok(answer.and_then(texts).and_then(|pair| pair.into_iter().nth(1)))
    }

    /// Sends a command that the ACL may forbid.
    async fn allowed(&self, cmd: &redis::Cmd) -> Result<Option<Value>, StoreError> {
        let connection = self.calls.connection(CONNECTING).await?;
        match self.calls.send(&connection, cmd, std::time::Duration::ZERO).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_forbidden(&error) => Ok(None),
            Err(error) => Err(self.failed(error, CONNECTING)),
        }
    }

    fn refused(&self, detail: String) -> StoreError {
        StoreError::Refused { place: self.place().to_owned(), detail }
    }
}

/// The durability that the settings imply; a setting is `None` when unknown.
fn durability(appendonly: Option<&str>, appendfsync: Option<&str>, save: Option<&str>) -> &'static str {
    match (appendonly, appendfsync, save) {
        (Some("yes"), Some("always"), _) => "fsync",
        (Some("yes"), Some("everysec"), _) => "everysec",
        // The operating system decides when to write, usually within 30 seconds.
        (Some("yes"), Some("no"), _) => "os",
        (Some("no"), _, Some("")) => "memory",
        (Some("no"), _, Some(_)) => "rdb",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_the_weakest_setting() {
        let rows = [
            (Some("yes"), Some("always"), Some(""), "fsync"),
            (Some("yes"), Some("everysec"), Some("3600 1"), "everysec"),
            (Some("yes"), Some("no"), Some(""), "os"),
            (Some("no"), Some("always"), Some("3600 1"), "rdb"),
            (Some("no"), Some("everysec"), Some(""), "memory"),
            (None, None, None, "unknown"),
            (Some("yes"), None, Some(""), "unknown"),
        ];
        for (appendonly, appendfsync, save, word) in rows {
            assert_eq!(durability(appendonly, appendfsync, save), word);
        }
    }
}
