//! Preflight check of a re-exec: whether the next program could serve the same channels. A failed start after a re-exec
//! would end a working service.

use std::io::ErrorKind::AddrInUse;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::channel::Command;
use crate::config::command_check::Search;
use crate::config::{self, Config, Driver};
use crate::http;
use crate::job::error_chain;
use crate::master::channel_setup::job_program;
use crate::master::listen_error::ListenError;
use crate::master::own_program::own_program;
use crate::master::place::ChannelPlace;
use crate::master::run_dir::{LockError, RunDir};
use crate::store;

/// Time for an actor to answer with its status.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time to open a store that this program has not used.
const STORE_OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The base of the check.
#[derive(Clone, Debug)]
pub(in crate::engine::master) struct Preflight {
    /// The configuration of this program; the check reads its file again, as the next program does.
    pub(in crate::engine::master) config: Arc<Config>,
    /// Whether the master opens the HTTP listener.
    pub(in crate::engine::master) http: bool,
}

/// The name of a served channel and the command queue of its actor.
pub(in crate::engine::master) type ServedChannel = (Arc<str>, mpsc::Sender<Command>);

impl Preflight {
    /// Checks whether the next program could serve these channels; the error is the reason why not.
    pub(in crate::engine::master) async fn run(self, served: Vec<ServedChannel>) -> Result<(), String> {
        check_current_stores(&served).await?;
        let names: Vec<_> = served.into_iter().map(|(name, _)| name).collect();
        // The check reads files and looks up users, which blocks.
        let checked = tokio::task::spawn_blocking(move || self.check_start(&names)).await;
        // New stores last: opening one may create a file, which only a passed check may leave behind.
        check_new_stores(checked.unwrap_or_else(|error| Err(internal_error(&error)))?, STORE_OPEN_TIMEOUT)
            .await
    }

    /// Checks that the next program would serve the same stores: it opens them by their paths, which may mean other files by
    /// now, and jobs would be left behind in the present ones.
    pub(super) async fn check_places(&self, places: Vec<Arc<ChannelPlace>>) -> Result<(), String> {
        let config = Arc::clone(&self.config);
        let checked = tokio::task::spawn_blocking(move || {
            let next = match config.reload() {
                // An unreadable file is reported by the next step.
                Some(read) => &read.unwrap_or_else(|_| (*config).clone()),
                None => &*config,
            };
            let refusal = |place: &Arc<ChannelPlace>| place.refusal(next.channels.get(place.channel())?);
            places.iter().find_map(refusal).map_or(Ok(()), Err)
        });
        checked.await.unwrap_or_else(|error| Err(internal_error(&error)))
    }

    /// Repeats the checks of a start that come before its stores. Returns the channels whose store has changed in the
    /// configuration file.
    fn check_start(&self, names: &[Arc<str>]) -> Result<Vec<config::Channel>, String> {
        let mut new_stores = Vec::new();
        let next = match self.config.reload() {
            Some(read) => &read.map_err(|error| error.with_causes())?,
            None => &*self.config,
        };
        for name in names {
            let channel = next.channels.get(&**name);
            let channel = channel.ok_or_else(|| format!("channel \"{name}\" is no longer declared"))?;
            if channel.driver == Driver::Sync {
                return Err(format!(
                    "channel \"{name}\" now has the driver \"sync\", which a master cannot serve"
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
        if self.http {
            self.can_listen(next)?;
        }
        own_program_exists()?;
        Ok(new_stores)
    }

    /// Checks that the addresses of the configuration are free, or are those of this program's own listeners. A listener on all
    /// addresses of a port conflicts with one on a single address. The re-exec closes it.
    fn can_listen(&self, next: &Config) -> Result<(), String> {
        let own: Vec<_> = http::addresses(&self.config).collect();
        let is_served = |new: &SocketAddr| own.iter().any(|(_, old)| old == new);
        for (key, new) in http::addresses(next).filter(|(_, new)| !is_served(new)) {
            let is_own = own.iter().any(|(_, old)| {
                let every = old.ip().is_unspecified() || new.ip().is_unspecified();
                every && old.port() == new.port()
            });
            match TcpListener::bind(new) {
                Err(error) if !(is_own && error.kind() == AddrInUse) => {
                    return Err(format!("could not listen on {new} ({key}): {error}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Checks that the lock in a new run directory is free, or is this program's own lock under another path.
fn can_lock(channel: &config::Channel) -> Result<(), String> {
    let run_dir = RunDir::open(&channel.pid_path, &channel.name).map_err(|error| error_chain(&error))?;
    match run_dir.lock() {
        Err(LockError::Held { pid: Some(pid), .. }) if pid == Pid::this().as_raw() => Ok(()),
        locked => locked.map(drop).map_err(|error| error_chain(&error)),
    }
}

/// Checks that the program file exists.
fn own_program_exists() -> Result<(), String> {
    let own = own_program().map_err(|error| error.to_string())?;
    let found =
        config::command_check::locate(&own.to_string_lossy(), Search { base: Path::new("/"), path: None });
    found.map(drop).map_err(|why| format!("could not find the program of the master: {why}"))
}

/// Checks that the current store of every channel works. All actors are asked at once.
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
            // An actor that does not answer could not drain either.
            match timeout(REPORT_TIMEOUT, report).await {
                Ok(Some(report)) => report.store_error.map_or(Ok(()), Err),
                Ok(None) | Err(_) => Err(format!("the actor of channel \"{name}\" does not answer")),
            }
        });
    }
    first_error(asked).await
}

/// Checks that the new stores of these channels open. All are opened at once.
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

/// The first error, if any.
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
