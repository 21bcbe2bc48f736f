//! The first worker of the next generation: the room for it, its start, its hello.

use tokio::time::Instant;
use tracing::info;

use super::generation::GenerationSpec;
use super::generations::RolloutStep;
use crate::guardian::handle::ChildId;
use crate::pool::actor::Pool;
use crate::pool::workers::state::{Role, WorkerState};
use crate::pool::workers::worker::Worker;

impl Pool {
    /// Begins a reload, of which there is one at a time; [`take_rollout_result`](Self::take_rollout_result) has its end.
    pub fn reload(&mut self, spec: GenerationSpec, now: Instant) {
        if self.is_closing {
            self.generations.refuse();
            return;
        }
        let is_exec = self.generations.spec().is_exec();
        let generation = self.generations.begin(spec);
        info!(channel = %self.generations.spec().channel, generation, "reload: starting a new generation of workers");
        if is_exec {
            self.replace_generation(now);
        }
        self.reconcile(now);
    }

    /// Takes the reload a step further.
    pub(crate) fn advance_rollout(&mut self, now: Instant) {
        match self.generations.next_step() {
            None => {}
            Some(RolloutStep::StartCanary) => self.start_canary(now),
            // The canary ended with the guardian or with the lease, which proves nothing about its program.
            Some(RolloutStep::AwaitCanary(child)) if !self.workers.contains(child) => {
                self.generations.retry_canary();
                self.start_canary(now);
            }
            Some(RolloutStep::AwaitCanary(_)) => {}
            Some(RolloutStep::ReplaceOld) => self.finish_rollout(),
        }
    }

    /// Starts the canary as soon as there is room for one more worker.
    fn start_canary(&mut self, now: Instant) {
        let spec = self.generations.spec();
        let counts = |worker: &&Worker| !worker.is_role(Role::Isolated) && !worker.state.is_retiring();
        if self.workers.iter().filter(counts).count() >= spec.plan.max + spec.surge() {
            return self.make_room(now);
        }
        let Some(next) = self.generations.other() else { return };
        let reason = format!("first of generation {}", next.number);
        let worker = self.launcher.start_wire(next, Role::Canary, reason, now);
        self.generations.set_canary(worker.child);
        self.workers.add(worker);
    }

    /// Makes room for the canary: stops a worker whose slots may not be used, otherwise gives draining workers the
    /// deadline that the reload would give them later.
    fn make_room(&mut self, now: Instant) {
        if self.workers.iter().any(|worker| worker.state.is_leaving()) {
            return;
        }
        let spec = self.generations.spec();
        let (life, stop_wait) = (spec.plan.jobs_per_life, spec.stop_wait);
        let allowed = self.max_runs().saturating_sub(self.workers.planned_runs());
        let free: usize = self.workers.planned().map(|worker| worker.free_slots(life)).sum();
        let is_spare =
            |worker: &&Worker| worker.is_idle() && free.saturating_sub(worker.free_slots(life)) >= allowed;
        let spare = self.workers.planned().rev().find(is_spare).map(|worker| worker.child);
        if let Some(spare) = spare {
            return self.stop_worker(spare, now);
        }
        let untimed = self.workers.ids_where(|worker| {
            worker.is_role(Role::Plan) && matches!(worker.state, WorkerState::Draining { deadline: None })
        });
        for child in untimed {
            self.workers.set_drain_deadline(child, Some(now + stop_wait));
        }
    }

    /// A worker is ready. When it is the canary, its generation takes over.
    pub(crate) fn promote_canary(&mut self, child: ChildId, now: Instant) {
        if self.generations.next_step() != Some(RolloutStep::AwaitCanary(child)) {
            return;
        }
        if let Some(worker) = self.workers.get_mut(child) {
            worker.origin.role = Role::Plan;
        }
        self.replace_generation(now);
    }
}
