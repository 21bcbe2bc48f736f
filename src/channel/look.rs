//! A closer look at a channel and one of its jobs, for whoever asks why it waits.

use serde::{Deserialize, Serialize};

use super::{Channel, Report};
use crate::job::JobId;
use crate::pool::RunStatus;

/// What a channel knows that the store does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// How it stands.
    pub report: Report,
    /// How many jobs its workers that are ready can have aboard together.
    pub slots: usize,
    /// How many more could be handed out now.
    pub free: usize,
    /// Its workers that are ready have run all the jobs they may, and are being replaced.
    #[serde(default)]
    pub replacing: bool,
    /// The names of the jobs that its workers said they have handlers for; absent when they have not said.
    pub handlers: Option<Vec<String>>,
    /// What is done with the job that was asked about; absent when it is not held here.
    pub job: Option<HeldJob>,
}

/// What is done with a job that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldJob {
    /// It waits for a slot.
    Ready {
        /// It is a suspect, and waits for a worker of its own.
        alone: bool,
    },
    /// It is aboard a worker.
    Running(RunStatus),
    /// Its run has ended, and the store does not know yet.
    Settling,
}

impl Channel {
    /// How the channel stands, and one of its jobs.
    pub(super) fn look(&self, id: Option<JobId>) -> View {
        View {
            report: self.report(),
            slots: self.pool.usable_slots(),
            free: self.pool.capacity(),
            replacing: self.pool.is_replacing(),
            handlers: self.pool.handlers(),
            job: id.and_then(|id| self.held_job(id)),
        }
    }

    fn held_job(&self, id: JobId) -> Option<HeldJob> {
        if !self.table.holds(id) {
            return None;
        }
        Some(match (self.table.run(id), self.table.meta(id)) {
            (Some(run), _) => self.pool.run_status(run).map_or(HeldJob::Settling, HeldJob::Running),
            (None, Some(meta)) => HeldJob::Ready { alone: meta.suspect },
            (None, None) => HeldJob::Settling,
        })
    }
}
