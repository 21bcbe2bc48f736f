//! From runs to slots: the free capacity, the choice of a worker, the frame.

use std::borrow::Cow;

use tokio::time::Instant;

use super::Pool;
use crate::guardian::handle::{ChildId, ExclusiveRun};
use crate::pool::runs::{Run, RunHolds};
use crate::pool::workers::program_files::ProgramFiles;
use crate::pool::workers::start_reason::StartReason;
use crate::pool::workers::state::Role;
use crate::pool::workers::worker::Worker;
use crate::wire::{FromMaster, RunFrame};

impl Pool {
    /// Number of runs that can be dispatched now.
    #[must_use]
    pub fn capacity(&self, now: Instant) -> usize {
        if self.is_closing {
            return 0;
        }
        let spec = self.generations.spec();
        let allowed = self.max_runs().saturating_sub(self.workers.planned_runs());
        if !spec.is_exec() {
            let files = ProgramFiles::of(spec);
            let current = self.workers.planned().filter(|worker| self.has_current_files(worker, &files));
            return allowed.min(current.map(|worker| self.free_slots(worker, now)).sum());
        }
        if self.backoff.is_waiting(now) {
            0
        } else if self.backoff.is_crash_loop(now) {
            // A single job shows whether the program can be started again.
            1usize.saturating_sub(self.workers.len())
        } else {
            // Stopping workers occupy their place until their process trees have ended.
            let room = self.room.starts(self.starting(), now);
            allowed.min((spec.plan.max + spec.surge()).saturating_sub(self.workers.len())).min(room)
        }
    }

    /// Whether a worker was started from the files of its program as they are now. Compared here, too, and not only when the
    /// pool is reconciled: a run may arrive from a turn that was in flight while a file changed.
    fn has_current_files(&self, worker: &Worker, files: &ProgramFiles) -> bool {
        worker.origin.generation != self.generations.number() || worker.origin.files == *files
    }

    /// Number of runs a worker of the plan can take now.
    fn free_slots(&self, worker: &Worker, now: Instant) -> usize {
        if self.backoff.is_on_probation(worker.origin.started_at, now) {
            return 0;
        }
        worker.free_slots(self.generations.spec().plan.jobs_per_life)
    }

    /// Slots of the ready workers together, whatever is left of their lives.
    #[must_use]
    pub fn slots(&self, now: Instant) -> usize {
        self.sum_slots(now, |worker| worker.slots)
    }

    /// Runs the ready workers can have at once, together.
    #[must_use]
    pub fn usable_slots(&self, now: Instant) -> usize {
        let life = self.generations.spec().plan.jobs_per_life;
        self.sum_slots(now, |worker| worker.usable_slots(life))
    }

    fn sum_slots(&self, now: Instant, slots: impl Fn(&Worker) -> usize) -> usize {
        if self.is_closing || self.is_degraded(now) {
            0
        } else if self.generations.spec().is_exec() {
            self.max_runs()
        } else {
            self.workers.serving().map(slots).sum::<usize>().min(self.max_runs())
        }
    }

    /// Whether workers of many slots are ready and none of them takes runs, because all have taken the runs of their
    /// life.
    #[must_use]
    pub fn is_replacing(&self) -> bool {
        let plan = self.generations.spec().plan;
        let mut serving = self.workers.serving().peekable();
        plan.slots > 1
            && !self.is_closing
            && serving.peek().is_some()
            && serving.all(|worker| worker.is_spent(plan.jobs_per_life))
    }

    /// Most runs at once.
    pub(super) fn max_runs(&self) -> usize {
        self.sizer.autoscaler.max_usable() * self.generations.spec().plan.slots
    }

    /// Whether each run is alone in its worker: a suspect needs no worker beside the plan.
    #[must_use]
    pub fn runs_are_alone(&self) -> bool {
        self.generations.spec().runs_are_alone()
    }

    /// Whether a run that must be alone in its worker can be dispatched now.
    #[must_use]
    pub fn can_dispatch_alone(&self, now: Instant) -> bool {
        if self.runs_are_alone() {
            return self.capacity(now) > 0;
        }
        let isolated = self.workers.iter().filter(|worker| worker.is_role(Role::Isolated));
        let has_place = isolated.count() < self.max_isolated
            || self.workers.iter().any(|worker| self.is_free_for_suspect(worker));
        has_place && self.can_start_beside_plan(now)
    }

    /// Whether a worker for a single job can be started beside the plan now.
    fn can_start_beside_plan(&self, now: Instant) -> bool {
        if self.is_closing || !self.generations.is_introduced() {
            // Before a run begins it must be known what its handler wants, and whether it has a failed callback.
            return false;
        }
        // While boots are tried one at a time, a worker for a suspect is started only beside a worker that serves.
        let may_boot = !self.backoff.is_probing(now) || self.is_served(now);
        let has_room = self.room.starts(self.starting(), now) > 0;
        may_boot && has_room && !self.backoff.is_waiting(now)
    }

    /// Hands a run to a free slot. The caller has asked [`capacity`](Self::capacity) before.
    pub fn dispatch(&mut self, run: Run, now: Instant) {
        if self.generations.spec().is_exec() {
            return self.execute(run, Role::Plan, None, now);
        }
        let files = ProgramFiles::of(self.generations.spec());
        // Preferred is a worker that is not to be replaced. A file that changed after the caller asked leaves workers of
        // the changed one only: the run was handed over before the change.
        let rank = |worker: &&Worker| (!self.has_current_files(worker, &files), worker.replacement.is_some());
        let free = self.workers.planned().filter(|worker| self.free_slots(worker, now) > 0);
        let child = free.min_by_key(rank).expect("the caller checked the capacity").child;
        self.assign(run, child, None, now);
    }

    /// Starts a program for a run.
    fn execute(&mut self, run: Run, role: Role, turn: Option<ExclusiveRun>, now: Instant) {
        let worker = self.launcher.start_exec(self.generations.current(), role, &run, now);
        let child = self.workers.add(worker);
        self.track(run, child, turn, now);
    }

    /// Hands a run to a worker of its own. The caller has asked [`can_dispatch_alone`](Self::can_dispatch_alone) before.
    pub fn dispatch_alone(&mut self, run: Run, now: Instant) {
        if self.runs_are_alone() {
            return self.dispatch(run, now);
        }
        let free =
            self.workers.iter().find(|worker| self.is_free_for_suspect(worker)).map(|worker| worker.child);
        let child = match free {
            Some(child) => child,
            None => self.start_worker(Role::Isolated, StartReason::Suspect, now),
        };
        self.assign(run, child, None, now);
    }

    /// Whether a run that may have killed a guardian can be dispatched now. Such a run needs a worker of its own, under a
    /// guardian of its own, and the turn that all pools of the master share.
    pub fn can_dispatch_exclusive(&mut self, now: Instant) -> bool {
        let is_exec = self.generations.spec().is_exec();
        let can_start = if is_exec { self.capacity(now) > 0 } else { self.can_start_beside_plan(now) };
        if !can_start {
            self.yield_exclusive_turn();
            return false;
        }
        self.exclusive_turn.claim(&self.generations.current().guardian)
    }

    /// Hands a run to a worker under a guardian of its own, while no other such run of the master begins. The caller has asked
    /// [`can_dispatch_exclusive`](Self::can_dispatch_exclusive) before.
    pub fn dispatch_exclusive(&mut self, run: Run, now: Instant) {
        let turn = self.exclusive_turn.take();
        if self.generations.spec().is_exec() {
            return self.execute(run, Role::Exclusive, turn, now);
        }
        let life = self.generations.spec().plan.jobs_per_life;
        let number = self.generations.number();
        let is_free = |worker: &&Worker| {
            let is_own = worker.is_role(Role::Exclusive) && worker.origin.generation == number;
            is_own && worker.is_idle() && worker.free_slots(life) > 0
        };
        let free = self.workers.iter().find(is_free).map(|worker| worker.child);
        let child = match free {
            Some(child) => child,
            None => self.start_worker(Role::Exclusive, StartReason::LostTwice, now),
        };
        self.assign(run, child, turn, now);
    }

    /// Leaves the turn for runs that may have killed a guardian to other pools: no such run can start here now.
    pub fn yield_exclusive_turn(&mut self) {
        self.exclusive_turn.take();
    }

    /// Whether a worker can take a suspect. Isolated workers of an old generation take no more.
    fn is_free_for_suspect(&self, worker: &Worker) -> bool {
        worker.is_role(Role::Isolated)
            && worker.is_idle()
            && worker.origin.generation == self.generations.number()
    }

    /// Hands a run to a worker that speaks the protocol.
    fn assign(&mut self, run: Run, child: ChildId, turn: Option<ExclusiveRun>, now: Instant) {
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
        self.workers.send(child, &frame);
        self.track(run, child, turn, now);
    }

    /// Notes that a worker has a run.
    fn track(&mut self, run: Run, child: ChildId, turn: Option<ExclusiveRun>, now: Instant) {
        let worker = self.workers.get_mut(child).expect("the caller has chosen or started it");
        // A run that waits for its worker's hello has not begun.
        let ticket = self.generations.current().guardian.run_began();
        let number = run.run;
        let holds = RunHolds { _ticket: ticket, _turn: turn };
        let tag = self.runs.add(run, child, !worker.state.is_booting(), holds, now);
        worker.add_run(number, tag);
        // A program for this run has no process yet.
        if worker.pid().is_some() && !worker.state.is_booting() {
            self.runs.begin(number);
        }
        self.sizer.run_began(now);
        self.sampler.activity(now);
    }
}
