//! What runs ask while they run: passed on to the channel, and answered.

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::job::{JobId, LimitClaim, Response};
use crate::wire::{self, FromMaster, RequestId, RunId};

/// Something a run asked.
#[derive(Debug)]
pub struct RunRequest {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub id: JobId,
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// What it asked.
    pub question: RequestKind,
}

/// Where an answer goes: to be given to [`Pool::respond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    child: ChildId,
    ask: RequestId,
}

/// What a run asks.
#[derive(Clone, Debug)]
pub enum RequestKind {
    /// To push jobs, each in its JSON form, into this channel or the run's own.
    Push {
        /// The channel, if it is not the run's own.
        channel: Option<String>,
        /// The jobs.
        jobs: Vec<String>,
    },
    /// To go on.
    Claim(LimitClaim),
}

impl Pool {
    /// What was asked since the last call.
    pub fn take_requests(&mut self) -> Vec<RunRequest> {
        std::mem::take(&mut self.asked)
    }

    /// Answers a question. Whoever asked may be gone.
    pub fn respond(&mut self, to: ReplyTo, answer: Response) {
        let Some(worker) = self.workers.get_mut(&to.child) else { return };
        worker.open_requests = worker.open_requests.saturating_sub(1);
        wire::encode_to_worker(&FromMaster::Answer { ask: to.ask, answer }, &mut worker.out);
        self.unflushed.push(to.child);
    }

    pub(super) fn on_ask(&mut self, child: ChildId, run: RunId, ask: RequestId, question: RequestKind) {
        let id = match self.runs.get(&run) {
            Some(entry) if entry.child == child => entry.id,
            _ => return self.on_violation(child, &format!("it asked for run {run}, which is not aboard")),
        };
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if worker.is_backlogged() {
            return self.on_violation(child, "it asks and does not read the answers");
        }
        worker.open_requests += 1;
        let reply = ReplyTo { child, ask };
        if worker.open_requests > wire::MAX_OPEN_REQUESTS * worker.slots {
            let why = format!(
                "this worker has {} questions open; wait for their answers",
                worker.open_requests - 1
            );
            return self.respond(reply, Response::Error(why));
        }
        self.asked.push(RunRequest { run, id, reply, question });
    }
}
