//! As many workers as there should be: replaces what has served its time, sends away what is not needed. How many there
//! should be is decided in `scale`, who is replaced in `recycle`; those that are missing are started in `boot`.
//!
//! A replacement is ready before the one it is for takes no more runs, and nobody with a run aboard is told to go, unless
//! a reload gives it a time.

use std::time::Instant;

use tracing::{debug, error, info, warn};

use super::recycling;
use super::sizing::decision::SizingInput;
use super::timers::Timer;
use super::worker::{Role, Worker, WorkerState};
use super::{Pool, Program};
use crate::guardian::handle::ChildId;

/// What the channel knows of the work to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Jobs that wait for a slot.
    pub waiting: u64,
    /// How long a job takes; `None` before the first has ended.
    pub job: Option<std::time::Duration>,
}

impl Pool {
    /// Tells the pool what work is to come. It grows at once when that takes more workers.
    pub fn set_demand(&mut self, demand: Demand, _now: tokio::time::Instant) {
        self.demand = demand;
        if self.scaler.is_elastic() && matches!(self.spec.program, Program::Wire(_)) {
            self.rescale();
        }
    }

    /// Whether the pool would like to be told what work is to come: it is not as large as it may be, or larger than
    /// it must.
    #[must_use]
    pub fn is_elastic(&self) -> bool {
        !self.closing && matches!(self.spec.program, Program::Wire(_)) && self.scaler.is_elastic()
    }

    /// How often it would like to be told.
    #[must_use]
    pub fn flex_interval(&self) -> std::time::Duration {
        self.scaler.interval()
    }

    /// Decides anew how many workers there should be.
    pub(super) fn rescale(&mut self) {
        let load = self.load();
        let Some(taken) = self.scaler.update(load, Instant::now()) else { return };
        let SizingInput { waiting, running, serving, idle, job_us, memory, .. } = taken.decision.load;
        info!(
            channel = %self.spec.channel, from = taken.from, to = taken.decision.workers,
            waiting, running, serving, idle, job_us, memory, "scaling: {}", taken.decision
        );
    }

    /// What the decision is made from, apart from what the scaler knows itself.
    pub(super) fn load(&self) -> SizingInput {
        let life = self.spec.plan.jobs_per_life;
        let mut load = SizingInput {
            slots: self.spec.plan.slots,
            waiting: self.demand.waiting,
            job_us: self.demand.job.map(|job| u64::try_from(job.as_micros()).unwrap_or(u64::MAX)),
            memory_limit: self.spec.scaling.memory_limit,
            ..SizingInput::default()
        };
        // In a reload those that were looked at may go before the new ones have been.
        let measured = self.workers.values().filter_map(|w| w.memory).max().or(self.largest);
        load.memory_each = measured.or(self.spec.recycling.memory_limit).unwrap_or(0);
        for worker in self.workers.values() {
            // One that boots has not taken yet what it is going to need.
            let least = if worker.state == WorkerState::Booting { load.memory_each } else { 0 };
            let memory = worker.memory.map_or(load.memory_each, |memory| memory.max(least));
            load.memory += memory;
            // Those that are being replaced go as well: nobody else has to make room for who comes in their place.
            if !worker.state.is_staying()
                || worker.state == WorkerState::Draining
                || worker.outgoing.is_some()
            {
                load.memory_leaving += memory;
            }
            if worker.role == Role::Plan {
                load.running += worker.runs.len();
            }
            if worker.is_permanent(life) {
                load.serving += 1;
                load.idle += usize::from(worker.is_idle());
            }
        }
        if load.waiting > 0 && load.idle == 0 {
            load.stalled_us = u64::try_from(self.last_progress.elapsed().as_micros()).unwrap_or(u64::MAX);
        }
        load
    }

    /// Brings the workers in line with what should be.
    pub(super) fn reconcile(&mut self) {
        if self.closing {
            return;
        }
        let idle_isolated = |w: &&Worker| w.role == Role::Isolated && w.is_idle();
        for child in self.children_where(idle_isolated) {
            self.stop_worker(child);
        }
        self.report_degraded();
        if matches!(self.spec.program, Program::Exec(_)) {
            return;
        }
        self.advance_rollout();
        self.stop_outdated();
        self.mark_for_replacement();
        self.stop_surplus();
        self.boot_missing();
        self.set_flex_timer();
    }

    /// Says when boots fail again and again, and when they do not any more.
    fn report_degraded(&mut self) {
        let degraded = self.is_degraded(tokio::time::Instant::now());
        if degraded != self.was_degraded {
            self.was_degraded = degraded;
            if degraded {
                error!(
                    channel = %self.spec.channel, why = self.respawn.trouble(Instant::now()),
                    "degraded: no worker can be started, so no job is taken; it is tried again by itself"
                );
            } else {
                info!(channel = %self.spec.channel, "no longer degraded: workers start again");
            }
        }
        if let Some(at) = self.respawn.next_timer(Instant::now()) {
            // Whoever waits with a run for the next start, or for the end of a probation, hears of its time.
            self.timers.set(at, Timer::Boot);
        }
    }

    /// Marks those that are due for replacement, a few at a time.
    fn mark_for_replacement(&mut self) {
        let life = self.spec.plan.jobs_per_life;
        // One job per life needs no picking: each worker is replaced as it begins its only job.
        if life == 1 {
            return;
        }
        let limits = self.spec.recycling;
        let planned = || self.workers.values().filter(|w| w.role == Role::Plan);
        let serving =
            planned().filter(|w| matches!(w.state, WorkerState::Booting | WorkerState::Serving)).count();
        let going = planned().filter(|w| w.outgoing.is_some() && w.state.is_staying()).count();
        let mut room = recycling::at_once(serving).saturating_sub(going);
        let mut take = |worker: &Worker| {
            // A spent one takes no more runs, whether it is replaced or not.
            let taken = worker.is_spent(life) || room > 0;
            room = room.saturating_sub(1);
            taken
        };
        let due: Vec<_> = planned()
            .filter(|w| w.state == WorkerState::Serving && w.outgoing.is_none() && w.kill_reason.is_none())
            .filter_map(|w| Some((w, recycling::due(w.facts(), life, &limits)?)))
            .filter(|(worker, _)| take(worker))
            .map(|(worker, why)| (worker.child, why))
            .collect();
        for (child, why) in due {
            let Some(worker) = self.workers.get_mut(&child) else { continue };
            worker.outgoing = Some(why);
            info!(channel = %self.spec.channel, pid = worker.pid, jobs = worker.taken, "a worker is to be replaced: {why}");
            self.recycled.count(why);
            if let (recycling::RecycleReason::Memory(_), ..=2) = (why, worker.taken) {
                let mib = limits.memory_limit.unwrap_or_default() >> 20;
                warn!(channel = %self.spec.channel, "a fresh worker already uses more than memory_limit = {mib} MiB: raise it");
            }
        }
    }

    /// Lets those go that are not needed: first those whose replacement is there, then idle ones.
    fn stop_surplus(&mut self) {
        let life = self.spec.plan.jobs_per_life;
        let needed = self.scaler.target();
        let ready = |w: &&Worker| w.role == Role::Plan && w.state == WorkerState::Serving;
        let lasting = self.workers.values().filter(|w| ready(w) && w.is_permanent(life)).count();
        // Idle ones make room at once.
        let mut outgoing = self.children_where(|w| ready(w) && w.outgoing.is_some() && w.runs.is_empty());
        outgoing.extend(self.children_where(|w| ready(w) && w.outgoing.is_some() && !w.runs.is_empty()));
        let surplus = (lasting + outgoing.len()).saturating_sub(needed);
        for child in outgoing.into_iter().take(surplus) {
            self.drain(child);
        }
        let mut surplus = lasting.saturating_sub(needed + self.spec.plan.spare);
        // The youngest first: runs go to the oldest, so these have been idle for longest.
        let idle = self.children_where(|w| ready(w) && w.is_permanent(life) && w.runs.is_empty());
        for child in idle.into_iter().rev().take(surplus) {
            surplus -= 1;
            self.stop_worker(child);
        }
        self.drain_for_memory(surplus);
    }

    /// Gives a worker no more runs; it leaves when it has none.
    pub(super) fn drain(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        worker.state = WorkerState::Draining;
        if worker.runs.is_empty() {
            self.stop_worker(child);
        } else if worker.outgoing.is_some_and(recycling::RecycleReason::is_reload) {
            self.set_worker_timer(child, self.spec.stop_wait);
        }
    }

    /// Looks again when the decision or somebody's age may ask for it.
    fn set_flex_timer(&mut self) {
        let now = Instant::now();
        let flex = self.scaler.may_change().then(|| now + self.scaler.interval());
        let limits = self.spec.recycling;
        let lives = self.workers.values().filter(|w| w.role == Role::Plan && w.state == WorkerState::Serving);
        let expiry = lives
            .filter(|w| w.outgoing.is_none())
            .filter_map(|w| Some(w.started_at + recycling::life(w.child.0, &limits)?))
            .min();
        // One that is overdue waits for others to be replaced, whose end is seen anyway.
        let expiry = expiry.filter(|at| *at > now);
        if let (None, Some(at)) = (self.flex_at.filter(|at| *at > now), flex) {
            self.flex_at = Some(at);
            self.timers.set(at, Timer::Flex);
        }
        self.timers.replace(&mut self.age_at, expiry, Timer::Age);
    }

    /// The numbers of the workers that are so, the oldest first.
    fn children_where(&self, are: impl Fn(&&Worker) -> bool) -> Vec<ChildId> {
        self.workers.values().filter(are).map(|w| w.child).collect()
    }

    /// It is time to decide anew although nothing happened.
    pub(super) fn flex(&mut self) {
        self.flex_at = None;
        self.rescale();
        debug!(channel = %self.spec.channel, workers = self.scaler.target(), "scaling: {}", self.scaler.decision());
    }
}
