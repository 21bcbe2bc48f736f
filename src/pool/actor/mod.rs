//! The actor of a pool: its components, its inbox, and the loop that connects them.
//!
//! Only this loop reads the clock. Everything below it, and every call of the channel, takes the time as an argument.

mod boot;
mod deadlines;
mod dispatch;
mod memory_limits;
mod reconcile;
mod rollout;
mod run_end;
mod shutdown;
mod sizing;
mod worker_events;

use super::boot_backoff::BootBackoff;
use super::exclusive_turn::ExclusiveTurn;
use super::job_requests::RunRequest;
use super::lifetimes::LifetimeCounts;
use super::memory_sampler::MemorySampler;
use super::messages::IoEvent;
use super::recycling::RecycleCounts;
use super::rollout::{GenerationSpec, Generations};
use super::room::Room;
use super::runs::{EndedRun, Runs};
use super::sizing::sizer::Sizer;
use super::workers::launch::{Inbox, Launcher};
use super::workers::set::Workers;
use super::workers::state::{KillReason, WorkerEnd, WorkerState};
use crate::guardian::handle::{ChildEvent, ChildId};
use crate::job::JobId;
use crate::producer_memory::WorkerMemory;
use tokio::time::{Instant, sleep_until};

/// Most workers that run suspects, each alone.
const MAX_ISOLATED_WORKERS: usize = 4;

/// The workers of a channel.
#[derive(Debug)]
pub struct Pool {
    pub(super) generations: Generations,
    pub(super) workers: Workers,
    pub(super) runs: Runs,
    pub(super) requests: Vec<RunRequest>,
    pub(super) sizer: Sizer,
    pub(super) backoff: BootBackoff,
    pub(super) room: Room,
    pub(super) sampler: MemorySampler,
    pub(super) recycled: RecycleCounts,
    pub(super) lifetimes: LifetimeCounts,
    /// No worker takes runs, and there is no room for another one.
    pub(super) is_blocked: bool,
    /// No new workers, no new runs.
    pub(super) is_closing: bool,
    pub(super) max_isolated: usize,
    /// The turn to run a job that may have killed a guardian.
    pub(super) exclusive_turn: ExclusiveTurn,
    pub(super) launcher: Launcher,
    inbox: Inbox,
}

impl Pool {
    /// A pool without workers; [`next`](Self::next) boots them. Requests of its jobs and the answers share `memory`.
    #[must_use]
    pub fn new(spec: GenerationSpec, memory: WorkerMemory, now: Instant) -> Self {
        let (launcher, inbox) = Launcher::new(memory);
        let generations = Generations::new(spec);
        let sizer = Sizer::new(generations.spec(), now);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut pool = Self {
            generations,
            workers: Workers::default(),
            runs: Runs::default(),
            requests: Vec::new(),
            sizer,
            backoff: BootBackoff::default(),
            room: Room::default(),
            sampler: MemorySampler::default(),
            recycled: RecycleCounts::default(),
            lifetimes: LifetimeCounts::default(),
            is_blocked: false,
            is_closing: false,
            exclusive_turn: ExclusiveTurn::default(),
            max_isolated: cores.min(MAX_ISOLATED_WORKERS),
            launcher,
            inbox,
        };
        // A pool whose minimum exceeds its memory limit starts only the workers that fit.
        pool.resize_for_memory(now);
        pool
    }

    /// Reconciles the workers with the plan, waits for an event, and returns the runs that have ended. An empty result
    /// means that the capacity may have changed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Vec<EndedRun> {
        let now = Instant::now();
        self.reconcile(now);
        self.workers.flush();
        if !self.runs.has_ended() && !self.generations.has_result() {
            let deadline = self.next_deadline(now);
            let (mut child_event, mut io_event) = (None, None);
            let guardian = &self.generations.current().guardian;
            tokio::select! {
                biased;
                event = self.inbox.children.recv() => child_event = event,
                event = self.inbox.io.recv() => io_event = event,
                () = self.exclusive_turn.wait(guardian) => {}
                () = sleep_until(deadline.unwrap_or(now)), if deadline.is_some() => {}
            }
            let now = Instant::now();
            // Events that have already arrived belong to the same batch.
            while let Some((child, event)) =
                child_event.take().or_else(|| self.inbox.children.try_recv().ok())
            {
                self.on_child(child, event, now);
            }
            while let Some(event) = io_event.take().or_else(|| self.inbox.io.try_recv().ok()) {
                self.on_io(event, now);
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.on_deadlines(now);
            }
        }
        self.runs.take_ended()
    }

    /// The jobs whose runs have begun since the last call.
    pub fn take_begun(&mut self) -> Vec<JobId> {
        self.runs.take_begun()
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let deadlines = [
            self.runs.next_deadline(),
            self.workers.next_deadline(),
            self.backoff.next_deadline(now),
            self.room.next_deadline(now),
            self.sizer.next_review(),
            self.sampler.next_sample(),
            self.next_expiry(now),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn on_child(&mut self, child: ChildId, event: ChildEvent, now: Instant) {
        let is_exec = self.generations.spec().is_exec();
        let Some(worker) = self.workers.get_mut(child) else { return };
        match event {
            ChildEvent::Spawned { pid } => {
                worker.set_pid(pid);
                self.lifetimes.started(&worker.origin.reason);
                if is_exec {
                    worker.runs().iter().for_each(|run| self.runs.begin(*run));
                    self.backoff.succeeded(worker.origin.started_at);
                }
                if let WorkerState::Booting { early_hello, .. } = &mut worker.state
                    && let Some(hello) = early_hello.take()
                {
                    self.on_hello(child, hello, now);
                }
            }
            ChildEvent::SpawnFailed { error, errno } => self.on_spawn_failed(child, &error, errno, now),
            ChildEvent::Exited(exit) => {
                worker.set_end(WorkerEnd::Exited(exit));
                self.room.freed(now);
            }
            ChildEvent::Abandoned => worker.set_end(WorkerEnd::GuardianDied),
            ChildEvent::Interrupted(exit) => {
                if !worker.state.is_dying() {
                    worker.state = WorkerState::Dying { reason: KillReason::Stopping, boot_failure: None };
                }
                worker.set_end(WorkerEnd::Exited(exit));
            }
        }
    }

    fn on_io(&mut self, event: IoEvent, now: Instant) {
        match event {
            IoEvent::Frames(child, frames) => {
                for frame in frames {
                    self.on_received(child, frame, now);
                }
            }
            IoEvent::Stalled(child, why) => self.on_stalled(child, why, now),
            IoEvent::Violation(child, error) => self.on_unreadable_line(child, &error, now),
            // Only the end of the wait matters: the channel then asks for the capacity.
            IoEvent::Room => {}
            IoEvent::Hangup(child) => self.on_hangup(child, now),
            IoEvent::Memory(used) => self.on_memory(&used, now),
            IoEvent::Closed { child, tail } => {
                let end = self.workers.get(child).and_then(|worker| worker.end());
                self.remove_worker(child, end.unwrap_or(WorkerEnd::NotStarted), &tail, now);
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A channel ends with an empty pool. A channel that panics must leave no worker behind either: its lock is freed
        // with it, and a free lock means that the old work is dead.
        for child in self.workers.ids() {
            self.generations.current().guardian.kill(child);
        }
    }
}
