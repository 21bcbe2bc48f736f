//! Compares the store that a command means with the store that the master in its run directory serves.

use std::thread;

use super::{Exit, Failure};
use crate::config::{self, Channel, Driver, canonical};
use crate::control::{Answered, ControlRequest};
use crate::master::{self, Presence};
use crate::store::{self, StoreIdentity};

/// A master in the run directory of a command that serves another store than the command means.
#[derive(Clone, Debug)]
pub(super) struct OtherStore {
    channel: String,
    pub(super) pid: Option<i32>,
    served: StoreIdentity,
    meant: StoreIdentity,
    /// The configuration of the master, if its record names one.
    config: Option<String>,
    /// Whether the master was started from this configuration, which meant its store then: only the paths, their targets or
    /// the text of the configuration have changed since.
    pub(super) is_own: bool,
}

impl OtherStore {
    /// The difference between a channel and the master found in its run directory; `None` when they agree, when no master
    /// runs, or when the record of the master does not tell.
    pub(super) fn of(channel: &Channel, presence: &Presence) -> Option<Self> {
        // The record of a stranger says nothing.
        let believed = presence.running && presence.distrust.is_none();
        let mut served = presence.served.store.clone().filter(|_| believed)?;
        let mut meant = StoreIdentity::of(&channel.driver)?;
        if served.is_same(&meant) || served.is_pending(&meant) {
            return None;
        }
        let is_own = served.is_same_setting(&meant) || is_same_file(channel, presence);
        if let (StoreIdentity::Redis { .. }, Driver::Redis(redis)) = (&served, &channel.driver) {
            // Two addresses may lead to one server: the run id that the server reports to both sides decides.
            served = asked(channel).unwrap_or(served);
            meant = connected(redis, &channel.name).unwrap_or(meant);
            if served.is_same(&meant) {
                return None;
            }
        }
        let config = presence.served.config.clone();
        Some(Self { channel: channel.name.clone(), pid: presence.pid, served, meant, config, is_own })
    }

    /// The difference between the store of a reply and the store that a command has open.
    pub(super) fn of_reply(
        channel: &Channel,
        pid: Option<i32>,
        served: Option<StoreIdentity>,
        meant: Option<StoreIdentity>,
    ) -> Option<Self> {
        let (served, meant) = (served?, meant?);
        let differs = !served.is_same(&meant);
        let is_own = served.is_same_setting(&meant);
        differs.then(|| Self { channel: channel.name.clone(), pid, served, meant, config: None, is_own })
    }

    /// Whether a request to the master makes sense nevertheless: it shows the difference, or ends it.
    pub(super) fn allows(&self, request: ControlRequest) -> bool {
        use ControlRequest::{Done, History, Look, Metrics, Output, Reload, Runs, Status, Stop};
        self.is_own
            && matches!(
                request,
                Status
                    | Look { .. }
                    | Metrics
                    | History { .. }
                    | Runs
                    | Output { .. }
                    | Done { .. }
                    | Reload
                    | Stop { .. }
            )
    }

    /// Whether a change of the meant store is refused: no master will run its jobs. A server may have a master on another
    /// machine, so only this configuration's own master counts for it.
    pub(super) fn refuses_changes(&self) -> bool {
        self.is_own || matches!(self.meant, StoreIdentity::Sqlite { .. })
    }

    /// The difference as a clause.
    pub(super) fn clause(&self) -> String {
        let (served, meant) = self.served.distinct_texts(&self.meant);
        let pid = self.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
        format!(
            "the master of channel \"{}\" on this machine{pid} serves {served}, but this command means {meant}",
            self.channel
        )
    }

    /// The remedy, in the imperative.
    pub(super) fn remedy(&self) -> String {
        if self.is_own {
            return "stop that master with queue:stop, then start one with queue:listen; or make the path mean the former store again"
                .to_owned();
        }
        match (&self.config, self.pid) {
            (Some(config), Some(pid)) => format!(
                "to end that master, use queue:stop --config {} or send SIGTERM to {pid}, then start one with queue:listen; to keep it, \
                 give this configuration a pid_path of its own",
                crate::sanitize::line(config)
            ),
            _ => "use the configuration of that master, or give this configuration a pid_path of its own"
                .to_owned(),
        }
    }

    /// The failure of a command that does nothing therefore.
    pub(super) fn failure(&self, doing: impl Into<String>) -> Failure {
        Failure::new(Exit::Running, doing).because(self.clause()).hint(self.remedy())
    }
}

/// Whether the master was started from the configuration file of this channel.
fn is_same_file(channel: &Channel, presence: &Presence) -> bool {
    let (Some(source), Some(config)) = (&channel.source, &presence.served.config) else { return false };
    let config = std::path::Path::new(config);
    source == config || canonical(source) == canonical(config)
}

/// The store in the reply of the running master, which knows the present process of its server.
fn asked(channel: &Channel) -> Option<StoreIdentity> {
    let asked = crate::control::send_request(
        &master::control_socket(channel),
        ControlRequest::Status,
        |_| {},
        |_| Some(()),
    );
    asked.ok().and_then(|Answered { store, .. }| store)
}

/// The identity of a server with the name of its process. On a thread of its own, because a caller may be on a runtime.
fn connected(redis: &config::Redis, channel: &str) -> Option<StoreIdentity> {
    let (driver, channel) = (Driver::Redis(redis.clone()), channel.to_owned());
    let connect = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async { store::open(&driver, &channel).await.ok()?.identity() })
    };
    thread::spawn(connect).join().ok().flatten()
}
