//! Reload: another generation of workers takes over.
//!
//! ```text
//! Pending ── room for one more ──► Trial ── its hello ──► Turnover ── the last old one is gone ──► over
//!                                    └── a boot fails ──► back to the old generation ◄──┘
//! ```
//! The first worker of the new generation serves nobody before it has said hello; until then nothing else has changed.
//! From then on every boot is one of the new generation, and the old ones go as in recycling: each takes runs until its
//! replacement is ready, then no more, and is interrupted when what it runs outlasts the stop wait. A boot of the new
//! generation that fails before the end turns the pool back.
//!
//! A program that is started once per job has no generations to hand over: the next job is run by the new settings.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::boot_backoff::BootBackoff;
use super::generation::{
    GenerationSpec, GenerationState, RolloutError, RolloutProgress, RolloutSummary, WorkerRef,
    WorkerReplacement,
};
use super::timers::Timer;
use super::worker::{Role, Worker, WorkerState};
use super::{Pool, Program, recycling};
use crate::guardian::handle::ChildId;
use crate::job::{Outcome, RetryDecision};

/// How soon a job that only the new generation knows is tried again.
const UNKNOWN_JOB_RETRY: Duration = Duration::from_secs(1);

/// A reload under way.
#[derive(Debug)]
pub(super) struct Reload {
    /// What the pool does not start workers from: the next generation before the turnover, the one before afterwards.
    pub(super) other: GenerationState,
    pub(super) stage: RolloutStage,
    /// Who served when the turnover began.
    old: Vec<WorkerRef>,
    /// Workers whose jobs are interrupted because they outlast the stop wait.
    outlasted: HashSet<ChildId>,
    handed_back: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RolloutStage {
    Pending,
    Canary(ChildId),
    Replacing,
}

impl Pool {
    /// Lets workers made from this take over; [`Pool::take_rollout_result`] tells the end. One reload at a time.
    pub fn reload(&mut self, renewal: GenerationSpec, _now: tokio::time::Instant) {
        self.newest_generation += 1;
        let generation = self.newest_generation;
        if self.closing {
            self.reloaded = Some(Err(RolloutError::Stopping));
            return;
        }
        info!(channel = %self.spec.channel, generation, "reloading");
        let other = GenerationState { generation, renewal, jobs: HashMap::new() };
        let (old, outlasted) = (Vec::new(), HashSet::new());
        self.reload = Some(Reload { other, stage: RolloutStage::Pending, old, outlasted, handed_back: 0 });
        if matches!(self.spec.program, Program::Exec(_)) {
            self.replace_generation();
        }
        self.reconcile();
    }

    /// How the reload ended, once it has.
    pub fn take_rollout_result(&mut self) -> Option<Result<RolloutSummary, RolloutError>> {
        self.reloaded.take()
    }

    /// The channel stops: the reload is of no use any more.
    pub(super) fn abandon_rollout(&mut self) {
        if self.reload.take().is_some() {
            self.reloaded = Some(Err(RolloutError::Stopping));
        }
    }

    /// How far the reload is.
    pub(super) fn reloading(&self) -> Option<RolloutProgress> {
        let reload = self.reload.as_ref()?;
        let proved = reload.stage == RolloutStage::Replacing;
        let (new, old) = if proved {
            (self.generation, reload.other.generation)
        } else {
            (reload.other.generation, self.generation)
        };
        let is_left =
            |w: &&Worker| w.role == Role::Plan && w.generation == old && w.state != WorkerState::Retiring;
        let old = self.workers.values().filter(is_left).count();
        Some(RolloutProgress { generation: new, proved, old })
    }

    /// Takes the reload a step further.
    pub(super) fn advance_rollout(&mut self) {
        let Some(stage) = self.reload.as_ref().map(|reload| reload.stage) else { return };
        match stage {
            RolloutStage::Pending => self.start_canary(),
            // It went with the guardian, or with the lease: nothing is known of the program.
            RolloutStage::Canary(child) if !self.workers.contains_key(&child) => {
                self.set_stage(RolloutStage::Pending);
                self.start_canary();
            }
            RolloutStage::Canary(_) => {}
            RolloutStage::Replacing => self.finish_rollout(),
        }
    }

    /// The new generation serves from now on, and the old one is replaced.
    pub(super) fn replace_generation(&mut self) {
        self.exchange();
        self.set_stage(RolloutStage::Replacing);
        // What kept the old program from starting says nothing about the new one.
        self.respawn = BootBackoff::default();
        let generation = self.generation;
        let serves = |w: &&Worker| {
            w.role == Role::Plan && matches!(w.state, WorkerState::Serving | WorkerState::Draining)
        };
        let old = self
            .workers
            .values()
            .filter(|w| serves(w) && w.generation != generation)
            .filter_map(WorkerRef::of);
        let old = old.collect();
        if let Some(reload) = &mut self.reload {
            reload.old = old;
        }
        self.replace_others(recycling::RecycleReason::Reload);
        self.finish_rollout();
    }

    /// Every planned worker of another generation is to be replaced, and those of this one are not.
    fn replace_others(&mut self, why: recycling::RecycleReason) {
        let generation = self.generation;
        let (plan, scaling) = (self.spec.plan, self.spec.scaling);
        self.scaler.renew(&plan, scaling);
        self.rescale();
        if matches!(self.spec.program, Program::Exec(_)) {
            return;
        }
        for child in self.workers.keys().copied().collect::<Vec<_>>() {
            let Some(worker) = self.workers.get_mut(&child).filter(|w| w.role == Role::Plan) else {
                continue;
            };
            let ours = worker.generation == generation;
            match worker.state {
                WorkerState::Booting if !ours => self.stop_worker(child),
                WorkerState::Serving if ours => {
                    worker.outgoing = worker.outgoing.filter(|why| !why.is_reload())
                }
                WorkerState::Serving => (worker.outgoing, worker.replaced) = (Some(why), false),
                WorkerState::Draining if ours => self.stay(child),
                // It has no longer for its last jobs than those that follow.
                WorkerState::Draining => self.set_worker_timer(child, self.spec.stop_wait),
                _ => {}
            }
        }
    }

    /// A worker that was to go because of a reload serves on, and one that goes for another reason may take its time.
    fn stay(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get_mut(&child).filter(|w| w.kill_reason.is_none()) else { return };
        if worker.outgoing.is_some_and(recycling::RecycleReason::is_reload) {
            (worker.state, worker.outgoing) = (WorkerState::Serving, None);
        }
        if let Some(due) = worker.due.take() {
            self.timers.unset(due, Timer::Worker(child));
        }
    }

    fn finish_rollout(&mut self) {
        let planned = || self.workers.values().filter(|w| w.role == Role::Plan);
        let wire = matches!(self.spec.program, Program::Wire(_));
        let is_left = |w: &Worker| w.generation != self.generation && w.state != WorkerState::Retiring;
        if wire && planned().any(is_left) {
            return;
        }
        let Some(reload) = self.reload.take() else { return };
        let ready = |w: &&Worker| w.state == WorkerState::Serving && w.generation == self.generation;
        let new: Vec<_> = planned().filter(ready).filter_map(WorkerRef::of).collect();
        let rows = if wire { reload.old.len().max(new.len()) } else { 0 };
        let workers = (0..rows)
            .map(|row| WorkerReplacement { old: reload.old.get(row).copied(), new: new.get(row).copied() });
        let renewed = RolloutSummary {
            generation: self.generation,
            workers: workers.collect(),
            handed_back: reload.handed_back,
        };
        self.reloaded = Some(Ok(renewed));
    }

    /// A boot has failed: of a new generation, that ends the reload; of the one in force, it delays the next. Others are
    /// not started again.
    pub(super) fn boot_failed(&mut self, generation: u64, why: &str) {
        let stage = self.reload.as_ref().map(|reload| (reload.stage, reload.other.generation));
        match stage {
            Some((RolloutStage::Canary(_), next)) if generation == next => {}
            Some((RolloutStage::Replacing, _)) if generation == self.generation => {
                self.exchange();
                self.replace_others(recycling::RecycleReason::TurnedBack);
            }
            _ if generation == self.generation => {
                self.respawn.failed(Instant::now(), why);
                info!(channel = %self.spec.channel, "the next start of a worker waits {:?}", self.respawn.delay());
                return;
            }
            _ => return,
        }
        self.reload = None;
        warn!(
            channel = %self.spec.channel, generation = self.generation, why,
            "the reload failed; the workers there were before go on"
        );
        self.reloaded = Some(Err(RolloutError::Failed(why.to_owned())));
        // Those that stay and those that came are more than there may be.
        self.reconcile();
    }

    /// An old worker has outlasted the stop wait with what it runs.
    pub(super) fn outlasted(&mut self, child: ChildId) {
        let Some(worker) = self.workers.get(&child) else { return };
        let (pid, running) = (worker.pid, worker.runs.len());
        warn!(channel = %self.spec.channel, pid, running, "a worker that is replaced by a reload still runs jobs after the stop wait: interrupting them");
        if let Some(reload) = &mut self.reload {
            reload.outlasted.insert(child);
        }
        self.interrupt_worker(child);
    }

    /// Counts a job that is handed back because its worker has outlasted the stop wait.
    pub(super) fn count_handed_back(&mut self, child: ChildId, outcome: &Outcome) {
        if let (Some(reload), Outcome::Interrupted) = (&mut self.reload, outcome) {
            reload.handed_back += usize::from(reload.outlasted.contains(&child));
        }
    }

    /// What an answer of a worker means while another generation takes over.
    pub(super) fn retry_unknown_job(&self, child: ChildId, outcome: Outcome) -> Outcome {
        let next = self.reload.as_ref().map_or(0, |reload| reload.other.generation);
        let newest_generation = self.generation.max(next);
        let is_old = self.workers.get(&child).is_some_and(|w| w.generation != newest_generation);
        match outcome {
            // The new generation may well know it.
            Outcome::Failed { next: RetryDecision::UnknownJob, .. } if is_old => {
                Outcome::Released { after: UNKNOWN_JOB_RETRY }
            }
            other => other,
        }
    }

    pub(super) fn set_stage(&mut self, stage: RolloutStage) {
        if let Some(reload) = &mut self.reload {
            reload.stage = stage;
        }
    }

    /// Swaps the generation in force with the other one.
    pub(super) fn exchange(&mut self) {
        if let Some(Reload { other, .. }) = &mut self.reload {
            std::mem::swap(&mut self.spec, &mut other.renewal.spec);
            std::mem::swap(&mut self.guardian, &mut other.renewal.guardian);
            std::mem::swap(&mut self.generation, &mut other.generation);
            std::mem::swap(&mut self.jobs, &mut other.jobs);
        }
    }
}
