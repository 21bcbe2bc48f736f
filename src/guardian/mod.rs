//! The guardian: a small single-threaded process that is the parent of every worker.
//!
//! - Starts programs on request and reports their exit once their whole process tree is gone.
//! - Kills whole process trees, detached grandchildren included, and reaps every child.
//! - Ends when its master ends, for whatever reason, after killing every process it started.
//! - Keeps the master's locks open until then, so a free lock means that no process of that master is left.
//!
//! This module is the master's side: [`Guardian`] starts the process and replaces it when it dies,
//! [`GuardianHandle`] requests children. [`process`] is the main loop of the guardian process itself. Neither side
//! can kill a process that a worker started through another daemon, or that runs as another user.

mod client;
mod guardian_socket;
pub mod handle;
mod orphans;
mod outbox;
pub mod privileges;
pub mod process;
pub(crate) mod process_list;
mod process_trees;
pub(crate) mod procfs;
pub(crate) mod program_run;
mod protocol;
#[cfg(test)]
pub(crate) mod scripted;
mod signals;
mod silence;
mod spawner;
pub(crate) mod stdio;
mod stray_policy;
pub mod sweep;
mod watch;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::prctl;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use handle::{ChildEvent, ChildId, ChildSpec, Events, Exit, GuardianHandle};
pub use privileges::{Account, AccountError, Limit, Privileges, account};
pub use process::{ARGUMENT, process_main};
pub use sweep::sweep;

/// The running executable, even when its file has been replaced since the start.
const SELF_EXE: &str = "/proc/self/exe";

/// A running guardian process, a second one for runs that may kill it, which lives only while there is such a run, and the
/// tasks connected to them. Dropping it ends all without waiting; call
/// [`Guardian::shut_down`] to wait until every child is gone.
#[derive(Debug)]
pub struct Guardian {
    handle: GuardianHandle,
    tasks: [JoinHandle<()>; 2],
}

impl Guardian {
    /// Starts the guardian process and keeps replacing it when it dies.
    ///
    /// The process is this executable with [`ARGUMENT`] as its first argument: `main` must call [`process_main`]
    /// first in that case. `cookie_base` names the run directory and the incarnation of the master; every child has
    /// it, with its own number, in the environment variable `AINT_QUEUE_COOKIE`.
    ///
    /// While runs are under the guardian it ends them when this process has sent nothing for `silence_limit`, the lease of
    /// the master: others may have taken over its jobs.
    ///
    /// This process becomes the reaper of the children of a dead guardian, so it must not start programs in sessions
    /// of their own by any other means.
    ///
    /// # Errors
    /// When the process cannot be started or does not report ready in time.
    pub async fn start(cookie_base: String, silence_limit: Duration) -> io::Result<Self> {
        Self::start_with(Path::new(SELF_EXE), cookie_base, silence_limit).await
    }

    /// Starts the guardian from `program` instead of the running executable.
    ///
    /// # Errors
    /// When the process cannot be started or does not report ready in time.
    pub async fn start_with(
        program: &Path,
        cookie_base: String,
        silence_limit: Duration,
    ) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        let (sender, commands) = mpsc::unbounded_channel();
        let (exclusive_sender, exclusive_commands) = mpsc::unbounded_channel();
        let shared = Arc::new(handle::Shared::default());
        let standby = |commands, is_on_demand| {
            io::Result::Ok(client::Standby {
                program: program.to_owned(),
                cookie_base: cookie_base.clone(),
                commands,
                shared: Arc::clone(&shared),
                child_ended: signal(SignalKind::child())?,
                outbox: outbox::Outbox::default(),
                silence_limit,
                is_on_demand,
            })
        };
        let (usual, exclusive) = (standby(commands, false)?, standby(exclusive_commands, true)?);
        let socket = guardian_socket::GuardianSocket::start(program, &cookie_base).await?;
        let tasks = [tokio::spawn(usual.run_with(socket)), tokio::spawn(exclusive.run_on_demand())];
        Ok(Self { handle: GuardianHandle::new(sender, Some(exclusive_sender), Arc::clone(&shared)), tasks })
    }

    /// A handle for starting, signalling and killing children; cheap to clone.
    #[must_use]
    pub fn handle(&self) -> GuardianHandle {
        self.handle.clone()
    }

    /// Number of times the guardian process has died.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.handle.deaths()
    }

    /// Ends the guardian process and waits until it and every child tree are gone. Children that still ran report
    /// their final events first.
    pub async fn shut_down(self) {
        for is_done in self.handle.shut_down() {
            // An error means that the client task has ended already.
            let _ = is_done.await;
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Aborting a task closes the master's end of its socket, on which the guardian process exits.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
