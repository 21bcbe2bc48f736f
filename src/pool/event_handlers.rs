//! What workers and the guardian say, and what the pool does about it.

use std::time::{Duration, Instant};

use tracing::{debug, error, warn};

use super::job_requests::RequestKind;
use super::timers::Timer;
use super::worker::{KillReason, WorkerState};
use super::worker_io::IoEvent;
use super::{Pool, Program, worker_output};
use crate::guardian::handle::{ChildEvent, ChildId};
use crate::wire::{self, FromWorker, JobSpec};

/// A worker that breaks the protocol this often is ended.
const MAX_VIOLATIONS: u32 = 10;
/// How long after its socket closed a worker's exit may be awaited.
const HANGUP_GRACE: Duration = Duration::from_secs(1);

impl Pool {
    pub(super) fn on_child(&mut self, child: ChildId, event: ChildEvent) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        match event {
            ChildEvent::Spawned { pid } => {
                worker.started(pid);
                let early = worker.early_hello.take();
                if matches!(self.spec.program, Program::Exec(_)) {
                    self.respawn.succeeded(worker.started_at);
                }
                if let Some(hello) = early {
                    self.on_frame(child, hello);
                }
            }
            ChildEvent::SpawnFailed { error, .. } => {
                error!(channel = %self.spec.channel, %error, "could not start a worker");
                let generation = worker.generation;
                self.remove_worker(child, None, "");
                self.boot_failed(generation, &error);
            }
            ChildEvent::Exited(exit) => {
                worker.exit = Some(exit);
                worker.drain();
            }
            ChildEvent::Abandoned => {
                worker.kill_reason = Some(KillReason::Stopping);
                self.remove_worker(child, None, "");
            }
        }
    }

    pub(super) fn on_io(&mut self, event: IoEvent) {
        match event {
            IoEvent::Frames(child, frames) => {
                for frame in frames {
                    self.on_frame(child, frame);
                }
            }
            IoEvent::Violation(child, error) => self.on_violation(child, &error.to_string()),
            // The end of the wait is all there is to it: whoever waits asks for the capacity then.
            IoEvent::Room => {}
            IoEvent::Hangup(child) => self.on_hangup(child),
            IoEvent::Memory(used) => self.on_memory(used),
            IoEvent::Closed { child, tail } => {
                let exit = self.workers.get(&child).and_then(|w| w.exit);
                self.remove_worker(child, exit, &tail);
            }
        }
    }

    fn on_frame(&mut self, child: ChildId, frame: FromWorker) {
        match frame {
            FromWorker::Ended { run, outcome } => match self.runs.get(&run) {
                Some(entry) if entry.child == child => self.finish(run, outcome),
                // Late, repeated or made up: `run` is never reused, so it can end nothing else.
                _ => self.on_violation(child, &format!("it answered run {run}, which is not aboard")),
            },
            FromWorker::Hello { protocol, slots, jobs } => self.on_hello(child, protocol, slots, jobs),
            FromWorker::Progress { run, percent } => {
                if let Some(entry) = self.runs.get_mut(&run).filter(|entry| entry.child == child) {
                    entry.progress = Some(percent.clamp(0.0, 100.0));
                    debug!(channel = %self.spec.channel, job = entry.id.0, percent, "progress");
                }
            }
            FromWorker::Log { run, level, message } => {
                let job = run.and_then(|run| self.runs.get(&run)).map(|r| r.id.0);
                let pid = self.workers.get(&child).and_then(|w| w.pid);
                worker_output::log_frame(&self.spec.channel, pid, job, &level, &message);
            }
            FromWorker::Push { run, ask, channel, jobs } => {
                self.on_ask(child, run, ask, RequestKind::Push { channel, jobs });
            }
            FromWorker::Claim { run, ask, claim } => self.on_ask(child, run, ask, RequestKind::Claim(claim)),
        }
    }

    /// The worker's end of the socket is closed. Almost always it is dying and its exit status, which tells how, is on
    /// the way; one that lives on without a socket is of no use.
    fn on_hangup(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if worker.state.is_staying() {
            worker.socket_closed = true;
            self.set_worker_timer(child, HANGUP_GRACE);
        }
    }

    fn on_hello(&mut self, child: ChildId, protocol: u32, slots: usize, jobs: Vec<JobSpec>) {
        if protocol != wire::PROTOCOL_VERSION {
            let why = format!(
                "it speaks protocol {protocol}, this master speaks {}: restart the master, or update the worker",
                wire::PROTOCOL_VERSION
            );
            error!(channel = %self.spec.channel, "a worker cannot be used: {why}");
            return self.discard(child, &why);
        }
        let slots_planned = self.slots_of(child);
        let Some(worker) = self.workers.get_mut(&child) else { return };
        if worker.state != WorkerState::Booting {
            return self.on_violation(child, "it said hello twice");
        }
        if worker.pid.is_none() {
            // The guardian has not said its number yet. Without it nobody knows what it uses, nor what to call it.
            worker.early_hello = Some(FromWorker::Hello { protocol, slots, jobs });
            return;
        }
        if !self.fits_at_hello(child) {
            return;
        }
        let Some(worker) = self.workers.get_mut(&child) else { return };
        worker.hello(slots.clamp(1, slots_planned));
        if !worker.out.is_empty() {
            self.unflushed.push(child);
        }
        self.respawn.ready(worker.started_at, Instant::now());
        let waiting: Vec<_> = worker.runs.iter().copied().collect();
        if let Some(due) = worker.due.take() {
            self.timers.unset(due, Timer::Worker(child));
        }
        debug!(channel = %self.spec.channel, pid = worker.pid, slots = worker.slots, jobs = jobs.len(), "worker ready");
        self.is_introduced = true;
        for run in waiting {
            self.start_clock(run);
        }
        self.memory_may_change();
        self.introduced(child, jobs.into_iter().map(|job| (job.name, job.options)).collect());
        // Whoever it replaces goes at once: no more serve than there may be.
        self.reconcile();
    }

    pub(super) fn on_violation(&mut self, child: ChildId, what: &str) {
        let Some(worker) = self.workers.get_mut(&child) else { return };
        worker.violations += 1;
        if worker.violations == 1 && worker.state != WorkerState::Dying {
            warn!(channel = %self.spec.channel, pid = worker.pid, "a worker broke the protocol: {what}");
        }
        if worker.violations >= MAX_VIOLATIONS {
            self.discard(child, &format!("it broke the worker protocol: {what}"));
        }
    }
}
