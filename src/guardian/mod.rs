//! The guardian: a small process of our own that is the parent of every worker.
//!
//! - Starts programs on request and says how they ended, when nothing of their tree is left.
//! - Kills whole trees, detached grandchildren included, and reaps everything.
//! - Ends with its master, however that ends, and takes everything with it.
//! - Holds the master's locks until then: a free lock means that the work is dead.
//!
//! This half is the master's side: [`Guardian`] starts the process and replaces it when it dies, [`GuardianHandle`]
//! asks it for children. [`process`] is the other half. Beyond the reach of both is what was started through
//! another daemon, and what has become another user.

mod client;
mod guardian_socket;
pub mod handle;
mod orphans;
mod outbox;
pub mod privileges;
pub mod process;
mod process_trees;
pub(crate) mod procfs;
mod protocol;
#[cfg(test)]
pub(crate) mod scripted;
mod signals;
mod spawner;
pub(crate) mod stdio;
mod stray_policy;
pub mod sweep;

use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::sys::prctl;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use handle::{ChildEvent, ChildId, ChildSpec, Events, Exit, GuardianHandle};
pub use privileges::{Account, AccountError, Limit, Privileges, account};
pub use process::{ARGUMENT, process_main};
pub use sweep::sweep;

/// This very executable, even when its file has been replaced since.
const SELF_EXE: &str = "/proc/self/exe";

/// A running guardian process and the task that talks to it. Dropping it ends both without waiting; use
/// [`Guardian::shut_down`] to know that everything is gone.
#[derive(Debug)]
pub struct Guardian {
    handle: GuardianHandle,
    task: JoinHandle<()>,
}

impl Guardian {
    /// Starts a guardian: this executable again, whose main must begin with [`process_main`] when its first
    /// argument is [`ARGUMENT`]. When it dies, it is replaced.
    ///
    /// `cookie_base` names the run directory and the incarnation; every child carries it with its own number
    /// in `AINT_QUEUE_COOKIE`. This process becomes the reaper of what a dead guardian leaves behind, so it
    /// must not start programs by other means in sessions of their own.
    ///
    /// # Errors
    /// When the process cannot be started or does not become ready.
    pub async fn start(cookie_base: String) -> io::Result<Self> {
        Self::start_with(Path::new(SELF_EXE), cookie_base).await
    }

    /// Starts a guardian from another executable than this one.
    ///
    /// # Errors
    /// When the process cannot be started or does not become ready.
    pub async fn start_with(program: &Path, cookie_base: String) -> io::Result<Self> {
        prctl::set_child_subreaper(true)?;
        let child_ended = signal(SignalKind::child())?;
        let socket = guardian_socket::GuardianSocket::start(program, &cookie_base).await?;
        let (sender, commands) = mpsc::unbounded_channel();
        let shared = Arc::new(handle::Shared::default());
        let client = client::Client {
            program: program.to_owned(),
            cookie_base,
            commands,
            shared: Arc::clone(&shared),
            socket,
            child_ended,
            outbox: outbox::Outbox::default(),
        };
        Ok(Self { handle: GuardianHandle::new(sender, shared), task: tokio::spawn(client.run()) })
    }

    /// Asks the guardian for children; cheap to clone.
    #[must_use]
    pub fn handle(&self) -> GuardianHandle {
        self.handle.clone()
    }

    /// How often the guardian has died and been replaced.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.handle.deaths()
    }

    /// Ends the guardian and waits until it is gone, and with it every child and its tree. Children that still
    /// ran get their last words first.
    pub async fn shut_down(self) {
        let (done, is_done) = oneshot::channel();
        self.handle.send(handle::Command::ShutDown(done));
        // An error means that the task is gone already.
        let _ = is_done.await;
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // Its end of the socket closes with it, which ends the process.
        self.task.abort();
    }
}
