//! What a channel can be told, and what it does about it.

use tokio::sync::oneshot;

use super::Channel;
use super::cancel::HeldCancel;
use super::quiet::QuietReply;
use super::reload::{ReloadReply, ReloadSpec};
use super::status::{ChannelDetails, ChannelStatus, Heartbeat};
use crate::job::JobId;
use crate::pool::{MinWorkers, ScaleOrder};

/// What a channel can be told.
#[derive(Debug)]
pub enum Command {
    /// Finish and end. One with `force` skips the waiting, also when one without came before.
    Stop {
        /// Kill what runs instead of waiting for it.
        force: bool,
    },
    /// Let other workers take over, and go on by other settings.
    Reload(Box<ReloadSpec>, ReloadReply),
    /// Tell what is going on.
    Status(oneshot::Sender<ChannelStatus>),
    /// Set the fewest workers by hand; answers how many that are now, or why it cannot be done.
    Scale(ScaleOrder, oneshot::Sender<Result<MinWorkers, String>>),
    /// Take no more jobs, and let what runs go on.
    Quiet(oneshot::Sender<QuietReply>),
    /// Take jobs again; answers whether it had been quiet.
    Resume(oneshot::Sender<bool>),
    /// End a job that is held, and answer what became of it once the store knows.
    Cancel(JobId, oneshot::Sender<HeldCancel>),
    /// Tell what is going on, and what is done with this job.
    Details(Option<JobId>, oneshot::Sender<ChannelDetails>),
    /// Show that it moves.
    Heartbeat(oneshot::Sender<Heartbeat>),
}

impl Channel {
    /// Does what it is told. Whoever asked may have gone.
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Stop { force } => self.stop(force),
            Command::Scale(order, reply) => {
                drop(reply.send(self.pool.scale(order, tokio::time::Instant::now())))
            }
            Command::Cancel(id, reply) => self.cancel(id, reply),
            Command::Quiet(reply) => drop(reply.send(self.quiet())),
            Command::Resume(reply) => drop(reply.send(self.resume())),
            Command::Reload(renewal, reply) => self.reload(*renewal, reply),
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Details(id, reply) => drop(reply.send(self.details(id))),
            Command::Heartbeat(reply) => drop(reply.send(self.heartbeat())),
        }
    }
}
