//! Whether the next program could serve what this one does: asked before a master begins anew, for one that cannot would be
//! the end of a service that works.

use std::io::ErrorKind::AddrInUse;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::channel::Command;
use crate::config::{self, Config, Driver};
use crate::http;
use crate::job::error_chain;
use crate::master::channel_setup::job_program;
use crate::master::own_program;
use crate::master::run_dir::{LockError, RunDir};
use crate::master::start::ListenError;
use crate::store;

/// How long an actor may take to say how it stands.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a store that the next program would be the first to use may take to open.
const STORE_OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the next program begins from.
#[derive(Clone, Debug)]
pub(in crate::engine::master) struct Preflight {
    /// The configuration of this program; the next one reads its file again.
    pub(in crate::engine::master) config: Arc<Config>,
    /// Whether the HTTP listener is wanted.
    pub(in crate::engine::master) http: bool,
}

/// A channel that is served, and its actor.
pub(in crate::engine::master) type ServedChannel = (Arc<str>, mpsc::Sender<Command>);

impl Preflight {
    /// Whether the next program could serve these channels; if not, why.
    pub(in crate::engine::master) async fn run(self, served: Vec<ServedChannel>) -> Result<(), String> {
        check_current_stores(&served).await?;
        let names: Vec<_> = served.into_iter().map(|(name, _)| name).collect();
        // Files and the names of users are looked up, which may take a while.
        let checked = tokio::task::spawn_blocking(move || self.check_start(&names)).await;
        // These last: what opening one makes is left only by a program that begins anew.
        check_new_stores(checked.unwrap_or_else(|error| Err(internal_error(&error)))?, STORE_OPEN_TIMEOUT)
            .await
    }

    /// What a start refuses before it looks for stores. Answers the channels whose store is another one then, which
    /// nobody has looked at yet.
    fn check_start(&self, names: &[Arc<str>]) -> Result<Vec<config::Channel>, String> {
        let mut new_stores = Vec::new();
        let next = match &self.config.file {
            Some(file) => &Config::load(file).map_err(|error| error.to_string())?,
            None => &*self.config,
        };
        for name in names {
            let channel = next.channels.get(&**name);
            let channel = channel.ok_or_else(|| format!("channel \"{name}\" is not declared any more"))?;
            if channel.driver == Driver::Sync {
                return Err(format!(
                    "channel \"{name}\" has the driver \"sync\" now, which has nothing to serve"
                ));
            }
            job_program(channel, &next.directory()).map_err(|error| error_chain(&error))?;
            let old = self.config.channels.get(&**name);
            if old.is_none_or(|old| old.pid_path != channel.pid_path) {
                can_lock(channel)?;
            }
            if old.is_none_or(|old| old.driver != channel.driver) {
                new_stores.push(channel.clone());
            }
        }
        match &next.http {
            Some(settings) if self.http && self.is_address_changed(settings) => match http::bind(settings) {
                Err(error) if error.kind() == AddrInUse && self.is_own_listener(settings) => {}
                bound => {
                    let why = |error| format!("could not listen on {} for HTTP: {error}", settings.listen);
                    bound.map(drop).map_err(why)?;
                }
            },
            _ => {}
        }
        own_program_exists()?;
        Ok(new_stores)
    }

    /// Whether this is not the address that this program has already.
    fn is_address_changed(&self, settings: &config::Http) -> bool {
        self.config.http.as_ref().is_none_or(|old| old.listen != settings.listen)
    }

    /// Whether it is this program's own listener, which is gone by then, that takes the address: every address of a
    /// machine has it in common with a single one.
    fn is_own_listener(&self, settings: &config::Http) -> bool {
        let new = settings.listen;
        self.config.http.as_ref().is_some_and(|old| {
            let every = old.listen.ip().is_unspecified() || new.ip().is_unspecified();
            every && old.listen.port() == new.port()
        })
    }
}

/// Whether nobody else is master in a run directory that is not ours yet, or is so under another name.
fn can_lock(channel: &config::Channel) -> Result<(), String> {
    let run_dir = RunDir::open(&channel.pid_path, &channel.name).map_err(|error| error_chain(&error))?;
    match run_dir.lock() {
        Err(LockError::Held { pid: Some(pid), .. }) if pid == Pid::this().as_raw() => Ok(()),
        locked => locked.map(drop).map_err(|error| error_chain(&error)),
    }
}

/// Whether this program can be run again.
fn own_program_exists() -> Result<(), String> {
    let own = own_program().map_err(|error| error.to_string())?;
    let found = config::command_check::locate(&own.to_string_lossy(), Path::new("/"));
    found.map(drop).map_err(|why| format!("this program cannot be run again: {why}"))
}

/// Whether every channel can tell its store how its jobs end. All are asked at once.
async fn check_current_stores(served: &[ServedChannel]) -> Result<(), String> {
    let mut asked = JoinSet::new();
    for (name, commands) in served {
        let (name, commands) = (Arc::clone(name), commands.clone());
        asked.spawn(async move {
            let report = async {
                let (reply, report) = oneshot::channel();
                commands.send(Command::Status(reply)).await.ok()?;
                report.await.ok()
            };
            // An actor that does not answer is trouble enough.
            match timeout(REPORT_TIMEOUT, report).await {
                Ok(Some(report)) => report.store_error.map_or(Ok(()), Err),
                Ok(None) | Err(_) => Err(format!("channel \"{name}\" does not answer")),
            }
        });
    }
    first_error(asked).await
}

/// Whether the stores of these channels can be used. All are opened at once.
async fn check_new_stores(channels: Vec<config::Channel>, within: Duration) -> Result<(), String> {
    let mut opened = JoinSet::new();
    for channel in channels {
        opened.spawn(async move {
            match timeout(within, store::open(&channel.driver, &channel.name)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(source)) => Err(error_chain(&ListenError::Store { channel: channel.name, source })),
                Err(_) => Err(format!(
                    "the new store of channel \"{}\" ({}) does not answer within {within:?}",
                    channel.name, channel.driver
                )),
            }
        });
    }
    first_error(opened).await
}

/// The first thing that is wrong, if anything is.
async fn first_error(mut answers: JoinSet<Result<(), String>>) -> Result<(), String> {
    while let Some(answer) = answers.join_next().await {
        answer.unwrap_or_else(|error| Err(internal_error(&error)))?;
    }
    Ok(())
}

fn internal_error(error: &JoinError) -> String {
    format!("a bug of aint-queue: {error}")
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
