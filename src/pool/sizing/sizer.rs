//! Facts and times of sizing: the demand, the last progress of jobs, the next periodic decision.

use std::time::Duration;

use tokio::time::Instant;

use super::autoscaler::Autoscaler;
use super::decision::SizingInput;
use crate::pool::spec::PoolSpec;
use crate::pool::workers::set::Workers;
use crate::pool::workers::state::Role;

/// The work to come, as the channel knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Jobs that wait for a slot.
    pub waiting: u64,
    /// Mean job duration; `None` before the first job has ended.
    pub job: Option<Duration>,
}

/// Decides how many workers a pool should have.
#[derive(Debug)]
pub(crate) struct Sizer {
    /// The decision in force and its history.
    pub(crate) autoscaler: Autoscaler,
    demand: Demand,
    /// When a run last began or ended.
    last_progress: Instant,
    /// The next decision that is made although nothing has happened.
    review_at: Option<Instant>,
}

impl Sizer {
    pub(crate) fn new(spec: &PoolSpec, now: Instant) -> Self {
        let autoscaler = Autoscaler::new(&spec.plan, spec.scaling);
        Self { autoscaler, demand: Demand::default(), last_progress: now, review_at: None }
    }

    pub(crate) fn set_demand(&mut self, demand: Demand) {
        self.demand = demand;
    }

    /// A run has begun: its job was counted among the waiting ones, and counts among the running ones from now on.
    pub(crate) fn run_began(&mut self, now: Instant) {
        self.demand.waiting = self.demand.waiting.saturating_sub(1);
        self.last_progress = now;
    }

    pub(crate) fn run_ended(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// The facts for a decision, apart from those the autoscaler knows. `largest` is the memory of the largest worker in
    /// the last sample.
    pub(crate) fn load(
        &self,
        workers: &Workers,
        spec: &PoolSpec,
        largest: Option<u64>,
        now: Instant,
    ) -> SizingInput {
        let life = spec.plan.jobs_per_life;
        let mut load = SizingInput {
            slots: spec.plan.slots,
            waiting: self.demand.waiting,
            job_us: self.demand.job.map(micros),
            memory_limit: spec.scaling.memory_limit,
            ..SizingInput::default()
        };
        // In a reload the sampled workers may end before the new ones have been sampled.
        let sampled = workers.iter().filter_map(|worker| worker.memory).max().or(largest);
        load.memory_each = sampled.or(spec.recycling.memory_limit).unwrap_or(0);
        for worker in workers.iter() {
            // A booting worker has not allocated yet what it is going to need.
            let least = if worker.state.is_booting() { load.memory_each } else { 0 };
            let memory = worker.memory.map_or(load.memory_each, |memory| memory.max(least));
            load.memory += memory;
            // Workers that are being replaced count as leaving: no other worker has to make room for their successors.
            let is_leaving = !worker.state.is_staying() || worker.state.is_draining();
            if is_leaving || worker.replacement.is_some() {
                load.memory_leaving += memory;
            }
            if worker.is_role(Role::Plan) {
                load.running += worker.runs().len();
            }
            if worker.is_permanent(life) {
                load.serving += 1;
                load.idle += usize::from(worker.is_idle());
            }
        }
        if load.waiting > 0 && load.idle == 0 {
            load.stalled_us = micros(now.duration_since(self.last_progress));
        }
        load
    }

    /// Plans the next periodic decision, as long as the number of workers may change without an event.
    pub(crate) fn plan_review(&mut self, now: Instant) {
        if self.review_at.is_none() && self.autoscaler.may_change() {
            self.review_at = Some(now + self.autoscaler.interval());
        }
    }

    /// Whether a periodic decision is due; it is due once.
    pub(crate) fn take_review(&mut self, now: Instant) -> bool {
        self.review_at.take_if(|at| *at <= now).is_some()
    }

    pub(crate) fn next_review(&self) -> Option<Instant> {
        self.review_at
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
