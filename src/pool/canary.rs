//! The first worker of another generation: room for it, its start, its hello.

use std::collections::HashMap;

use super::rollout::{Reload, RolloutStage};
use super::worker::{Role, Worker, WorkerState};
use super::{Pool, PoolSpec, surge};
use crate::guardian::handle::ChildId;
use crate::job::JobOptions;

impl Pool {
    /// Boots the first of the new generation, as soon as there is room for one more.
    pub(super) fn start_canary(&mut self) {
        let plan = self.spec.plan;
        let counted = |w: &&Worker| w.role != Role::Isolated && w.state != WorkerState::Retiring;
        if self.workers.values().filter(counted).count() >= plan.max + surge(&plan) {
            self.make_room();
            return;
        }
        self.exchange();
        let child = self.launch_wire(Role::Canary, format!("first of generation {}", self.generation));
        self.exchange();
        self.set_stage(RolloutStage::Canary(child));
    }

    /// Somebody goes for the trial: a worker whose slots may not be used anyway, or one that takes no more runs and so
    /// would not be waited for longer than others of its generation.
    fn make_room(&mut self) {
        let life = self.spec.plan.jobs_per_life;
        if self.workers.values().any(|w| matches!(w.state, WorkerState::Stopping | WorkerState::Dying)) {
            return;
        }
        let planned = || self.workers.values().filter(|w| w.role == Role::Plan);
        let runs: usize = planned().map(|w| w.runs.len()).sum();
        let allowed = self.most_runs().saturating_sub(runs);
        let free: usize = planned().map(|w| w.free_slots(life)).sum();
        let is_spare = |w: &&Worker| w.is_idle() && free.saturating_sub(w.free_slots(life)) >= allowed;
        if let Some(spare) = planned().rev().find(is_spare).map(|w| w.child) {
            return self.stop_worker(spare);
        }
        let untimed =
            |w: &&Worker| w.state == WorkerState::Draining && w.due.is_none() && w.kill_reason.is_none();
        for child in planned().filter(untimed).map(|w| w.child).collect::<Vec<_>>() {
            self.set_worker_timer(child, self.spec.stop_wait);
        }
    }

    /// A worker has said hello and knows these jobs. When it was the one on trial, its generation takes over.
    pub(super) fn introduced(&mut self, child: ChildId, jobs: HashMap<String, JobOptions>) {
        let generation = self.workers.get(&child).map(|worker| worker.generation);
        if generation == Some(self.generation) {
            // Workers of one program say the same.
            self.jobs = jobs;
        } else if let Some(reload) = &mut self.reload
            && reload.stage == RolloutStage::Canary(child)
        {
            reload.other.jobs = jobs;
            if let Some(worker) = self.workers.get_mut(&child) {
                worker.role = Role::Plan;
            }
            self.replace_generation();
        }
    }

    /// What a worker was made from, as far as that is still known.
    pub(super) fn spec_of(&self, child: ChildId) -> &PoolSpec {
        let generation = self.workers.get(&child).map(|worker| worker.generation);
        match &self.reload {
            Some(Reload { other, .. }) if Some(other.generation) == generation => &other.renewal.spec,
            _ => &self.spec,
        }
    }

    /// Most slots that a worker may offer.
    pub(super) fn slots_of(&self, child: ChildId) -> usize {
        let is_isolated = self.workers.get(&child).is_some_and(|w| w.role == Role::Isolated);
        if is_isolated { 1 } else { self.spec_of(child).plan.slots }
    }
}
