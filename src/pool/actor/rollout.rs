//! The steps of a reload: the canary, the replacement of the old workers, the end, and the return to the old generation when
//! the new one fails.

use tokio::time::Instant;
use tracing::{info, warn};

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::pool::recycling::RecycleReason;
use crate::pool::rollout::{
    BootFailure, GenerationSpec, RolloutError, RolloutProgress, RolloutStage, RolloutSummary,
};
use crate::pool::workers::start_reason::StartReason;
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
        match self.generations.stage() {
            Some(RolloutStage::WaitingForRoom) => self.start_canary(now),
            // The canary ended with the guardian or with the lease, which proves nothing about its program.
            Some(RolloutStage::Canary(child)) if self.workers.get(*child).is_none() => self.start_canary(now),
            Some(RolloutStage::Replacing { .. }) => self.finish_rollout(),
            None | Some(RolloutStage::Canary(_)) => {}
        }
    }

    /// Starts the canary as soon as there is room for one more worker.
    fn start_canary(&mut self, now: Instant) {
        let spec = self.generations.spec();
        let counts = |worker: &&Worker| !worker.origin.role.is_beside_plan() && !worker.state.is_retiring();
        if self.workers.iter().filter(counts).count() >= spec.plan.max + spec.surge() {
            return self.make_room(now);
        }
        let Some(next) = self.generations.other() else { return };
        let reason = StartReason::Canary(next.number);
        let worker = self.launcher.start_wire(next, Role::Canary, reason, now);
        let child = self.workers.add(worker);
        self.generations.set_canary(child);
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
            self.workers.set_drain_deadline(child, now + stop_wait);
        }
    }

    /// A worker is ready. When it is the canary, its generation takes over.
    pub(crate) fn promote_canary(&mut self, child: ChildId, now: Instant) {
        if !matches!(self.generations.stage(), Some(RolloutStage::Canary(canary)) if *canary == child) {
            return;
        }
        if let Some(worker) = self.workers.get_mut(child) {
            worker.origin.role = Role::Plan;
        }
        self.replace_generation(now);
    }

    /// The next generation comes into force, and the workers of the one before are to be replaced.
    pub(super) fn replace_generation(&mut self, now: Instant) {
        let before = self.generations.number();
        let is_exec = self.generations.spec().is_exec();
        let serves = |worker: &&Worker| {
            worker.origin.generation == before && (worker.state.is_serving() || worker.state.is_draining())
        };
        let old = if is_exec {
            Vec::new()
        } else {
            self.workers.planned().filter(serves).filter_map(Worker::reference).collect()
        };
        self.generations.promote(old);
        // The failures of the old program say nothing about the new one.
        self.backoff.reset();
        self.replace_others(RecycleReason::Reload, now);
        self.finish_rollout();
    }

    /// Marks the workers of other generations for replacement, and takes that mark from those in force.
    fn replace_others(&mut self, why: RecycleReason, now: Instant) {
        let spec = self.generations.spec();
        let (plan, scaling, stop_wait) = (spec.plan, spec.scaling, spec.stop_wait);
        let is_exec = spec.is_exec();
        self.sizer.autoscaler.reconfigure(&plan, scaling);
        self.resize(now);
        if is_exec {
            return;
        }
        let number = self.generations.number();
        for child in self.workers.ids_where(|worker| worker.is_role(Role::Plan)) {
            let Some(worker) = self.workers.get_mut(child) else { continue };
            let is_in_force = worker.origin.generation == number;
            match worker.state {
                WorkerState::Booting { .. } if !is_in_force => self.stop_worker(child, now),
                WorkerState::Serving if is_in_force => {
                    worker.replacement = worker.replacement.filter(|mark| !mark.reason.is_reload());
                }
                WorkerState::Serving => worker.replace(why),
                WorkerState::Draining { .. } if is_in_force => {
                    // The worker serves again, or drains for another reason, which sets no deadline.
                    worker.state = if worker.is_replaced_by_reload() {
                        worker.replacement = None;
                        WorkerState::Serving
                    } else {
                        WorkerState::Draining { deadline: None }
                    };
                }
                // The worker has no longer for its last jobs than the workers that drain after it.
                WorkerState::Draining { .. } => {
                    self.workers.set_drain_deadline(child, now + stop_wait);
                }
                _ => {}
            }
        }
    }

    /// Ends the reload when the last old worker is gone.
    pub(super) fn finish_rollout(&mut self) {
        let number = self.generations.number();
        let is_exec = self.generations.spec().is_exec();
        let is_left = |worker: &Worker| worker.origin.generation != number && !worker.state.is_retiring();
        if is_exec {
            return self.generations.finish(&[]);
        }
        if self.workers.planned().any(is_left) {
            return;
        }
        let new = self.workers.serving().filter(|worker| worker.origin.generation == number);
        let new: Vec<_> = new.filter_map(Worker::reference).collect();
        self.generations.finish(&new);
    }

    /// The end of the last reload, once.
    pub fn take_rollout_result(&mut self) -> Option<Result<RolloutSummary, RolloutError>> {
        self.generations.take_result()
    }

    /// The progress of the reload, if one is under way.
    pub(crate) fn rollout_progress(&self) -> Option<RolloutProgress> {
        let proved = matches!(self.generations.stage()?, RolloutStage::Replacing { .. });
        let (current, other) = (self.generations.number(), self.generations.other()?.number);
        let (generation, old) = if proved { (current, other) } else { (other, current) };
        let is_left = |worker: &&Worker| worker.origin.generation == old && !worker.state.is_retiring();
        let old = self.workers.planned().filter(is_left).count();
        Some(RolloutProgress { generation, proved, old })
    }

    /// A boot has failed. In the next generation that ends the reload; in the generation in force it delays the next boot.
    pub(crate) fn on_boot_failed(&mut self, generation: u64, why: &str, now: Instant) {
        let meaning = self.generations.boot_failed(generation, why);
        let channel = &self.generations.spec().channel;
        match meaning {
            BootFailure::Ignore => return,
            BootFailure::Delay => {
                self.backoff.failed(now, why);
                info!(%channel, "boot failed: next boot in {:?}", self.backoff.delay());
                return;
            }
            BootFailure::AbandonCanary | BootFailure::RolledBack => {}
        }
        warn!(%channel, generation = self.generations.number(), why, "reload failed; keeping the previous workers");
        if meaning == BootFailure::RolledBack {
            self.replace_others(RecycleReason::RolledBack, now);
        }
        // The workers that stay and those of the failed generation are more than there may be.
        self.reconcile(now);
    }

    /// An old worker has outlasted the stop wait with its runs.
    pub(crate) fn interrupt_outlasting(&mut self, child: ChildId, now: Instant) {
        let Some(worker) = self.workers.get(child) else { return };
        let (pid, running) = (worker.pid(), worker.runs().len());
        warn!(
            channel = %self.generations.spec().channel, pid, running,
            "reload: jobs of an old worker outlast stop_wait_seconds: interrupting them"
        );
        self.generations.note_outlasted(child);
        self.interrupt_worker(child, now);
    }
}
