//! Runs that are cancelled: the ladder is that of a time-out, the end is another.

use super::{ActiveRun, Pool};
use crate::job::Outcome;
use crate::wire::RunId;

impl Pool {
    /// Asks a run to end, and kills its worker where asking does not help: at once when it is alone there, else when its
    /// siblings have finished, for which they have the stop wait. It ends as done when it was faster.
    pub fn cancel(&mut self, run: RunId, _now: tokio::time::Instant) {
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let asked = entry.overdue;
        entry.cancelled = true;
        // One that was asked before, by its time limit or by another cancel, gets no second grace.
        if !asked {
            let child = entry.child;
            self.ask_to_end(run, child);
        }
    }
}

impl ActiveRun {
    /// How a run ended whose worker is gone, when the death of that alone would mean `outcome`.
    pub(super) fn after_death(&self, outcome: Outcome, killed: bool) -> Outcome {
        match outcome {
            Outcome::Done => Outcome::Done,
            _ if self.cancelled => Outcome::Cancelled { killed },
            other => other,
        }
    }
}
