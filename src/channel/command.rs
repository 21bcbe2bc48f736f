//! What a channel can be told, and what it does about it.

use tokio::sync::oneshot;

use super::Channel;
use super::cancel::CancelEnd;
use super::look::View;
use super::quiet::Quieted;
use super::reload::{OnReloaded, Renewal};
use super::report::{Pulse, Report};
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
    /// Let other workers take over, and go on by other rules.
    Reload(Box<Renewal>, OnReloaded),
    /// Tell what is going on.
    Report(oneshot::Sender<Report>),
    /// Set the fewest workers by hand; answers how many that are now, or why it cannot be done.
    Scale(ScaleOrder, oneshot::Sender<Result<MinWorkers, String>>),
    /// Take no more jobs, and let what runs go on.
    Quiet(oneshot::Sender<Quieted>),
    /// Take jobs again; answers whether it had been quiet.
    Resume(oneshot::Sender<bool>),
    /// End a job that is held, and answer what became of it once the store knows.
    Cancel(JobId, oneshot::Sender<CancelEnd>),
    /// Tell what is going on, and what is done with this job.
    Look(Option<JobId>, oneshot::Sender<View>),
    /// Show that it moves.
    Pulse(oneshot::Sender<Pulse>),
}

impl Channel {
    /// Does what it is told. Whoever asked may have gone.
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Stop { force } => self.stop(force),
            Command::Scale(order, reply) => drop(reply.send(self.pool.scale(order))),
            Command::Cancel(id, reply) => self.cancel(id, reply),
            Command::Quiet(reply) => drop(reply.send(self.quiet())),
            Command::Resume(reply) => drop(reply.send(self.resume())),
            Command::Reload(renewal, reply) => self.reload(*renewal, reply),
            Command::Report(reply) => drop(reply.send(self.report())),
            Command::Look(id, reply) => drop(reply.send(self.look(id))),
            Command::Pulse(reply) => drop(reply.send(self.pulse())),
        }
    }
}
