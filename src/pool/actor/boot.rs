//! The start of missing workers, as far as there is room for them.
//!
//! A worker of many slots at `max_handle_number` exits when its longest run ends. Its replacements may reach the limit
//! before that. Then up to two additional workers may start. When these are blocked as well, jobs wait for the first
//! worker to exit: an interrupted run would only begin again.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Pool;
use crate::guardian::handle::ChildId;
use crate::pool::workers::start_reason::StartReason;
use crate::pool::workers::state::{Role, WorkerEnd, WorkerState};
use crate::pool::workers::worker::Worker;
use crate::pool::{recycling, room};

/// Most workers beyond the usual number while all others finish their last runs.
const MAX_EXTRA_WORKERS: usize = 2;

impl Pool {
    /// Starts a worker of the generation in force.
    pub(super) fn start_worker(&mut self, role: Role, reason: StartReason, now: Instant) -> ChildId {
        let worker = self.launcher.start_wire(self.generations.current(), role, reason, now);
        self.workers.add(worker)
    }

    /// Starts the missing workers.
    pub(super) fn boot_missing(&mut self, now: Instant) {
        if self.backoff.is_waiting(now) {
            return;
        }
        let starts = self.room.starts(self.starting(), now);
        let plan = self.generations.spec().plan;
        // A worker that has taken its last run is replaced while it still works on it.
        let is_permanent = |worker: &&Worker| worker.is_permanent(plan.jobs_per_life);
        let mut alive = self.workers.planned().filter(is_permanent).count();
        let mut boots = if self.backoff.is_probing(now) {
            1usize.saturating_sub(self.workers.planned().filter(|w| self.is_unstable_boot(w, now)).count())
        } else {
            usize::MAX
        };
        boots = boots.min(starts);
        // A degraded pool boots one worker also while it needs none: the boot shows whether the crash loop is over.
        let target = self.sizer.autoscaler.target().max(usize::from(self.is_degraded(now)));
        while alive < target + plan.spare && boots > 0 && self.has_room(now) {
            let reason = self.boot_reason(alive);
            self.start_worker(Role::Plan, reason, now);
            (alive, boots) = (alive + 1, boots - 1);
        }
        let is_blocked = self.all_are_blocked(now);
        if is_blocked && !std::mem::replace(&mut self.is_blocked, is_blocked) {
            warn!(
                channel = %self.generations.spec().channel,
                "no worker takes jobs: all have run max_handle_number jobs and finish their longest ones; raise it, or give long jobs a channel of their own"
            );
        }
        self.is_blocked = is_blocked;
    }

    /// Number of workers whose process the guardian has not confirmed yet.
    pub(super) fn starting(&self) -> usize {
        self.workers.iter().filter(|worker| worker.pid().is_none()).count()
    }

    /// A worker could not be started: because of its program, or because the system has no room for another process now.
    pub(super) fn on_spawn_failed(&mut self, child: ChildId, error: &str, errno: i32, now: Instant) {
        let Some(worker) = self.workers.get(child) else { return };
        let (generation, is_canary) = (worker.origin.generation, worker.is_role(Role::Canary));
        let channel = Arc::clone(&self.generations.spec().channel);
        let is_no_room = room::is_no_room(errno);
        let end = if is_no_room { WorkerEnd::NoRoom } else { WorkerEnd::NotStarted };
        self.remove_worker(child, end, "", now);
        if !is_no_room || is_canary {
            error!(%channel, error, "worker not started");
            return self.on_boot_failed(generation, error, now);
        }
        self.room.refused(error, now);
    }

    /// Logs the begin and the end of an outage. Starts that were requested together succeed or fail after each other: the number of
    /// processes is known when none of them is open.
    pub(super) fn report_room(&mut self, now: Instant) {
        if self.starting() == 0
            && let Some(error) = self.room.report()
        {
            let (channel, running) = (&self.generations.spec().channel, self.workers.len());
            error!(
                %channel, error, running,
                "no room for another process: starting one at a time; raise the limits of the master (LimitNOFILE, \
                 TasksMax, memory), or lower worker.max_worker_number"
            );
        }
        if let Some(refused) = self.room.recovered(now) {
            info!(channel = %self.generations.spec().channel, refused, "room for processes again");
        }
    }

    /// Whether a worker has yet to show that its program works.
    fn is_unstable_boot(&self, worker: &Worker, now: Instant) -> bool {
        let on_probation = || self.backoff.is_on_probation(worker.origin.started_at, now);
        worker.state.is_booting() || (worker.state.is_serving() && on_probation())
    }

    /// Whether there may be one more worker.
    fn has_room(&self, now: Instant) -> bool {
        let spec = self.generations.spec();
        // Retiring workers serve no jobs and are few: each has a worker in its place.
        let counts = |worker: &&Worker| match worker.origin.role {
            Role::Plan => !worker.state.is_retiring(),
            Role::Canary => true,
            Role::Isolated | Role::Exclusive => false,
        };
        let total = self.workers.iter().filter(counts).count();
        // Under a memory limit the workers beside the serving ones weigh more, so they are a share of the target.
        let target = self.sizer.autoscaler.target();
        let most = if self.sizer.autoscaler.is_bounded() && target > 0 {
            target + recycling::wave_size(target)
        } else {
            spec.plan.max + spec.surge()
        };
        total < most
            || (spec.plan.slots > 1
                && total < most + MAX_EXTRA_WORKERS
                && !self.is_served_soon()
                && self.fits_in_memory(now))
    }

    /// Whether a worker takes runs or is about to. A worker that has taken all those of its life does not.
    fn is_served_soon(&self) -> bool {
        let life = self.generations.spec().plan.jobs_per_life;
        self.workers.planned().any(|worker| match worker.state {
            WorkerState::Booting { .. } => true,
            WorkerState::Serving => !worker.is_spent(life),
            _ => false,
        })
    }

    /// Whether the memory limit leaves room for one more worker.
    fn fits_in_memory(&self, now: Instant) -> bool {
        let load = self.load(now);
        load.memory_limit.is_none_or(|limit| load.memory.saturating_add(load.memory_each) <= limit)
    }

    /// Whether no worker takes runs before one of many slots has finished its last, because there is no room for another.
    fn all_are_blocked(&self, now: Instant) -> bool {
        self.generations.spec().plan.slots > 1
            && self.workers.iter().any(|worker| worker.state.is_draining())
            && !self.is_served_soon()
            && !self.has_room(now)
    }

    /// Why a worker is started beside so many permanent ones.
    fn boot_reason(&mut self, alive: usize) -> StartReason {
        let needs_successor = |worker: &&mut Worker| {
            worker.state.is_staying() && worker.replacement.is_some_and(|replacement| !replacement.is_started)
        };
        if let Some(worker) = self.workers.iter_mut().find(needs_successor)
            && let Some(replacement) = &mut worker.replacement
        {
            replacement.is_started = true;
            let reason = replacement.reason;
            return StartReason::Replacement(worker.pid(), reason);
        }
        let (spare, autoscaler) = (self.generations.spec().plan.spare, &self.sizer.autoscaler);
        match alive {
            // In a plan with spare workers each new one takes over from a worker that has begun its last job.
            _ if spare > 0 && alive == 0 => StartReason::Min,
            _ if spare > 0 || alive >= autoscaler.target() => StartReason::Spare,
            _ if alive >= autoscaler.min() => StartReason::Load(autoscaler.decision().reason()),
            _ if autoscaler.manual_minimum().is_some() => StartReason::ByHand,
            _ => StartReason::Min,
        }
    }
}
