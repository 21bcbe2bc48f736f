//! The end of a pool: quiet, interrupt, kill.

use super::worker::Doom;
use super::{Pool, Program};
use crate::guardian::handle::ChildId;
use crate::wire::{self, FromMaster};

impl Pool {
    /// No new workers and no new runs; what is idle leaves, what runs may finish.
    pub fn close(&mut self) {
        self.closing = true;
        self.give_up_reload();
        let idle: Vec<_> = self.workers.values().filter(|w| w.aboard.is_empty()).map(|w| w.child).collect();
        for child in idle {
            self.dismiss(child);
        }
    }

    /// Asks every worker to end now and kills it after the grace; its runs end as interrupted.
    pub fn interrupt(&mut self) {
        self.closing = true;
        self.give_up_reload();
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            self.interrupt_worker(child);
        }
    }

    /// Asks a worker to end now and kills it after the grace; its runs end as interrupted.
    pub(super) fn interrupt_worker(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        worker.doom.get_or_insert(Doom::Stopping);
        match self.spec.program {
            Program::Exec(_) => self.guardian.terminate(child),
            Program::Wire(_) => {
                for run in &worker.aboard {
                    let cancel = FromMaster::Cancel { run: *run, grace: self.spec.stop_grace };
                    wire::encode_to_worker(&cancel, &mut worker.out);
                }
                wire::encode_to_worker(&FromMaster::Stop, &mut worker.out);
                self.unflushed.push(child);
            }
        }
        self.set_worker_timer(child, self.spec.stop_grace);
    }

    /// Kills every worker at once. With `forget`, their runs end without an [`Ended`](super::Ended).
    pub fn kill_all(&mut self, forget: bool) {
        if forget {
            self.runs.clear();
            self.stuck_runs.clear();
            self.ended.clear();
            self.asked.clear();
            self.workers.values_mut().for_each(|w| w.aboard.clear());
        }
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            self.doom(child, Doom::Stopping);
        }
    }
}
