//! What runs ask while they run: passed on to the channel, and answered.

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::job::{Answer, Claim, JobId};
use crate::wire::{self, AskId, FromMaster, RunId};

/// Something a run asked.
#[derive(Debug)]
pub struct Asked {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub id: JobId,
    /// Where the answer goes.
    pub reply: ReplyTo,
    /// What it asked.
    pub question: Question,
}

/// Where an answer goes: to be given to [`Pool::answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    child: ChildId,
    ask: AskId,
}

/// What a run asks.
#[derive(Clone, Debug)]
pub enum Question {
    /// To push jobs, each in its JSON form, into this channel or the run's own.
    Push {
        /// The channel, if it is not the run's own.
        channel: Option<String>,
        /// The jobs.
        jobs: Vec<String>,
    },
    /// To go on.
    Claim(Claim),
}

impl Pool {
    /// What was asked since the last call.
    pub fn take_asks(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// Answers a question. Whoever asked may be gone.
    pub fn answer(&mut self, to: ReplyTo, answer: Answer) {
        let Some(worker) = self.workers.get_mut(&to.child) else { return };
        worker.asking = worker.asking.saturating_sub(1);
        wire::encode_to_worker(&FromMaster::Answer { ask: to.ask, answer }, &mut worker.out);
        self.unflushed.push(to.child);
    }

    pub(super) fn on_ask(&mut self, child: ChildId, run: RunId, ask: AskId, question: Question) {
        let id = match self.runs.get(&run) {
            Some(entry) if entry.child == child => entry.id,
            _ => return self.on_violation(child, &format!("it asked for run {run}, which is not aboard")),
        };
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if worker.reads_too_little() {
            return self.on_violation(child, "it asks and does not read the answers");
        }
        worker.asking += 1;
        let reply = ReplyTo { child, ask };
        if worker.asking > wire::MAX_OPEN * worker.slots {
            let why = format!("this worker has {} questions open; wait for their answers", worker.asking - 1);
            return self.answer(reply, Answer::Error(why));
        }
        self.asked.push(Asked { run, id, reply, question });
    }
}
