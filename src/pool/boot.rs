//! Starting the workers that are missing, as far as there is room for them.
//!
//! A worker of many slots that has taken all the runs of its life is held up by the longest of them, and so may its
//! replacement be, and the next. While that leaves nobody to take runs, a few more may be started than otherwise. When those
//! are held up as well, runs wait for the first of them to end: to interrupt it would help nobody, as it would be run again.

use std::time::Instant;

use tracing::warn;

use super::worker::{Role, Worker, WorkerState};
use super::{Pool, Program, recycling, surge};

/// Most workers beyond those there may be while all others are at their last runs.
const MAX_EXTRA_WORKERS: usize = 2;

impl Pool {
    /// Starts those that are missing.
    pub(super) fn boot_missing(&mut self) {
        let now = Instant::now();
        if self.respawn.is_waiting(now) {
            return;
        }
        let plan = self.spec.plan;
        let planned = || self.workers.values().filter(|w| w.role == Role::Plan);
        // One that has taken its last run is replaced while it still works on it.
        let mut alive = planned().filter(|w| w.is_permanent(plan.jobs_per_life)).count();
        let mut boots = if self.respawn.is_probing(now) {
            1usize.saturating_sub(planned().filter(|w| self.is_unproved_boot(w, now)).count())
        } else {
            usize::MAX
        };
        // One that is tried ends the crash loop, also while there is nothing to do.
        let target = self.scaler.target().max(usize::from(self.is_degraded(tokio::time::Instant::now())));
        while alive < target + plan.spare && self.has_room() && boots > 0 {
            let why = self.reason_for_boot(alive);
            self.launch_wire(Role::Plan, why);
            (alive, boots) = (alive + 1, boots - 1);
        }
        let is_stalled = self.no_worker_takes_runs();
        let was_stalled = std::mem::replace(&mut self.is_stalled, is_stalled);
        if is_stalled && !was_stalled {
            warn!(
                channel = %self.spec.channel,
                "no worker takes jobs: all have run max_handle_number, and the longest of their last jobs hold them up; raise it, or give long jobs a channel of their own"
            );
        }
    }

    /// Whether there may be one more worker.
    fn has_room(&self) -> bool {
        let plan = self.spec.plan;
        let planned = || self.workers.values().filter(|w| w.role == Role::Plan);
        // Those that wait for a stuck run serve nobody, and are few: each has a worker in its place.
        let trial = self.workers.values().filter(|w| w.role == Role::Canary).count();
        let total = planned().filter(|w| w.state != WorkerState::Retiring).count() + trial;
        // Where memory bounds them, those beside the ones that serve count for more: they are few of those there are now.
        let target = self.scaler.target();
        let most = if self.scaler.is_bounded() && target > 0 {
            target + recycling::at_once(target)
        } else {
            plan.max + surge(&plan)
        };
        total < most
            || (plan.slots > 1 && total < most + MAX_EXTRA_WORKERS && !self.is_served_soon() && self.fits())
    }

    /// Whether a worker takes runs or is about to: one that has taken all those of its life does not.
    fn is_served_soon(&self) -> bool {
        let life = self.spec.plan.jobs_per_life;
        let takes = |w: &Worker| match w.state {
            WorkerState::Booting => true,
            WorkerState::Serving => w.kill_reason.is_none() && !w.is_spent(life),
            _ => false,
        };
        self.workers.values().any(|w| w.role == Role::Plan && takes(w))
    }

    /// Whether the memory they may use together leaves room for one more.
    fn fits(&self) -> bool {
        let load = self.load();
        load.memory_limit.is_none_or(|limit| load.memory.saturating_add(load.memory_each) <= limit)
    }

    /// Whether nobody takes runs before one of those with many slots has finished its last, for there is no room for
    /// another one.
    fn no_worker_takes_runs(&self) -> bool {
        self.spec.plan.slots > 1
            && matches!(self.spec.program, Program::Wire(_))
            && !self.closing
            && self.workers.values().any(|w| w.state == WorkerState::Draining)
            && !self.is_served_soon()
            && !self.has_room()
    }

    /// Why a worker is booted when so many are alive.
    fn reason_for_boot(&mut self, alive: usize) -> String {
        let leaves = |w: &&mut Worker| w.outgoing.is_some() && !w.replaced && w.state.is_staying();
        if let Some(worker) = self.workers.values_mut().find(leaves)
            && let Some(why) = worker.outgoing
        {
            worker.replaced = true;
            return match worker.pid {
                Some(pid) => format!("replaces {pid}: {why}"),
                None => format!("replacement: {why}"),
            };
        }
        let target = self.scaler.target();
        match alive {
            // In a plan with spare workers, whoever comes takes over from one that has begun its last job.
            _ if self.spec.plan.spare > 0 => if alive == 0 { "min" } else { "spare" }.to_owned(),
            _ if alive >= target => "spare".to_owned(),
            _ if alive < self.scaler.floor() => self.scaler.floor_source().to_owned(),
            _ => self.scaler.decision().reason(),
        }
    }
}
