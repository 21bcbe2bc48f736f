//! Runs into slots: how many there is room for, which worker takes one, when its clock begins.

use std::borrow::Cow;
use std::time::Instant;

use super::plan::Plan;
use super::timers::Timer;
use super::worker::{Role, Worker, WorkerState};
use super::{ActiveRun, Pool, Program, Run, surge};
use crate::guardian::handle::ChildId;
use crate::wire::{self, FromMaster, RunFrame, RunId};

impl Pool {
    /// How many more runs can be dispatched now.
    #[must_use]
    pub fn capacity(&self, now: tokio::time::Instant) -> usize {
        if self.closing {
            return 0;
        }
        let (plan, now) = (&self.spec.plan, now.into_std());
        let planned = self.workers.values().filter(|w| w.role == Role::Plan);
        let runs: usize = planned.clone().map(|w| w.runs.len()).sum();
        let allowed = self.most_runs().saturating_sub(runs);
        match self.spec.program {
            Program::Exec(_) if self.respawn.is_waiting(now) => 0,
            // One job finds out whether the program can be started again.
            Program::Exec(_) if self.respawn.is_looping(now) => 1usize.saturating_sub(self.workers.len()),
            // Leaving ones still occupy their place until their tree is gone.
            Program::Exec(_) => allowed.min((plan.max + surge(plan)).saturating_sub(self.workers.len())),
            Program::Wire(_) => allowed.min(planned.map(|w| self.free_slots(w, now)).sum()),
        }
    }

    /// How many runs a worker of the plan can take now.
    fn free_slots(&self, worker: &Worker, now: Instant) -> usize {
        if self.respawn.is_on_probation(worker.started_at, now) {
            return 0;
        }
        worker.free_slots(self.spec.plan.jobs_per_life)
    }

    /// How many runs the workers that are ready have room for together, whatever is left of their lives.
    #[must_use]
    pub fn slots(&self, now: tokio::time::Instant) -> usize {
        self.slots_where(now, |worker| worker.slots)
    }

    /// How many runs the workers that are ready now can have aboard together.
    #[must_use]
    pub fn usable_slots(&self, now: tokio::time::Instant) -> usize {
        let life = self.spec.plan.jobs_per_life;
        self.slots_where(now, |worker| worker.usable_slots(life))
    }

    fn slots_where(&self, now: tokio::time::Instant, of: impl Fn(&Worker) -> usize) -> usize {
        match self.spec.program {
            _ if self.closing || self.is_degraded(now) => 0,
            Program::Exec(_) => self.most_runs(),
            Program::Wire(_) => self.ready().map(of).sum::<usize>().min(self.most_runs()),
        }
    }

    /// Whether workers are ready, and none of them takes more runs: they have many slots, and have taken all the runs of
    /// their life.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        let Plan { slots, jobs_per_life: life, .. } = self.spec.plan;
        slots > 1 && !self.closing && self.ready().count() > 0 && self.ready().all(|w| w.is_spent(life))
    }

    /// The workers of the plan that are ready.
    fn ready(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(|w| w.role == Role::Plan && w.state == WorkerState::Serving)
    }

    /// How many runs there may be at once.
    pub(super) fn most_runs(&self) -> usize {
        self.scaler.ceiling() * self.spec.plan.slots
    }

    /// Whether a run that must be alone in its worker can be dispatched now.
    #[must_use]
    pub fn can_dispatch_alone(&self, now: tokio::time::Instant) -> bool {
        if self.is_alone_anyway() {
            return self.capacity(now) > 0;
        }
        if !self.is_introduced {
            // What the handlers want, and whether they have failed callbacks, decides over runs before they begin.
            return false;
        }
        let isolated = self.workers.values().filter(|w| w.role == Role::Isolated);
        let (busy, all) =
            isolated.fold((0, 0), |(b, a), w| (b + usize::from(!self.is_free_for_one(w)), a + 1));
        let now = now.into_std();
        // While boots fail, one more is no use, unless there is one that did not.
        let boots = !self.respawn.is_waiting(now) && (!self.respawn.is_probing(now) || self.is_served(now));
        !self.closing && boots && (busy < all || all < self.max_isolated)
    }

    /// Hands a run to a free slot. The caller has asked [`Pool::capacity`] before.
    pub fn dispatch(&mut self, run: Run, now: tokio::time::Instant) {
        match &self.spec.program {
            Program::Exec(_) => self.launch_exec(run),
            Program::Wire(_) => {
                let now = now.into_std();
                let free = |w: &&Worker| w.role == Role::Plan && self.free_slots(w, now) > 0;
                // One that is to be replaced only helps out until its replacement is there.
                let lasting = self.workers.values().filter(free).find(|w| w.outgoing.is_none());
                let child = lasting.or_else(|| self.workers.values().find(free)).map(|w| w.child);
                self.assign(run, child.expect("the caller checked the capacity"));
            }
        }
    }

    /// Hands a run to a worker of its own. The caller has asked [`Pool::can_dispatch_alone`] before.
    pub fn dispatch_alone(&mut self, run: Run, now: tokio::time::Instant) {
        if self.is_alone_anyway() {
            return self.dispatch(run, now);
        }
        let free = |w: &&Worker| w.role == Role::Isolated && self.is_free_for_one(w);
        let child = self.workers.values().find(free).map(|w| w.child);
        let child =
            child.unwrap_or_else(|| self.launch_wire(Role::Isolated, "alone with a suspect".to_owned()));
        self.assign(run, child);
    }

    /// Whether a worker of suspects can take one: after a reload, one of the old generation has had its last.
    fn is_free_for_one(&self, worker: &Worker) -> bool {
        worker.is_idle() && worker.generation == self.generation
    }

    /// Whether every run is alone in its worker by the plan itself.
    pub(super) fn is_alone_anyway(&self) -> bool {
        self.spec.plan.slots == 1 || matches!(self.spec.program, Program::Exec(_))
    }

    /// Sends what was queued for the workers.
    pub(super) fn flush(&mut self) {
        for child in self.unflushed.drain(..) {
            if let Some(worker) = self.workers.get_mut(&child) {
                worker.flush();
            }
        }
    }

    /// Puts a run aboard a worker that speaks the protocol.
    pub(super) fn assign(&mut self, mut run: Run, child: ChildId) {
        let frame = RunFrame {
            run: run.run,
            id: run.id.0,
            job: run.job.as_str().into(),
            attempt: run.attempt,
            max_attempts: run.max_attempts,
            timeout_ms: run.timeout.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX).max(1)),
            headers: Cow::Borrowed(&run.headers),
            payload: run.payload.as_raw(),
        };
        let frame = match &run.failure {
            None => FromMaster::Run(frame),
            Some(failure) => FromMaster::Failed(frame, failure.clone()),
        };
        let worker = self.workers.get_mut(&child).expect("the caller found it in the table");
        // Before its hello it gets none: it may turn out to be of no use.
        if worker.out.is_empty() && worker.state != WorkerState::Booting {
            self.unflushed.push(child);
        }
        wire::encode_to_worker(&frame, &mut worker.out);
        self.track(&mut run, child);
    }

    /// Notes a run as aboard.
    pub(super) fn track(&mut self, run: &mut Run, child: ChildId) {
        let began = Instant::now();
        let entry = ActiveRun {
            id: run.id,
            job: std::mem::take(&mut run.job),
            child,
            began,
            limit: run.timeout,
            due: None,
            overdue: false,
            cancelled: false,
            progress: None,
        };
        self.runs.insert(run.run, entry);
        // It was counted among those that wait, and is among those that run from now on.
        self.demand.waiting = self.demand.waiting.saturating_sub(1);
        self.last_progress = began;
        let worker = self.workers.get_mut(&child).expect("the caller found it in the table");
        worker.take(run.run, run.id);
        self.memory_may_change();
        // A run that waits for its worker's hello has not begun.
        if self.workers.get(&child).is_some_and(|w| w.state != WorkerState::Booting) {
            self.start_clock(run.run);
        }
    }

    /// Begins the time a run may take.
    pub(super) fn start_clock(&mut self, run: RunId) {
        let Some(entry) = self.runs.get_mut(&run).filter(|entry| !entry.overdue) else { return };
        entry.began = Instant::now();
        entry.due = entry.limit.map(|limit| entry.began + limit);
        if let Some(due) = entry.due {
            self.timers.set(due, Timer::Run(run));
        }
    }
}
