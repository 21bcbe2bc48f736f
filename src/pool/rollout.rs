//! Reload: another generation of workers takes over.
//!
//! ```text
//! WaitingForRoom ── room for one more ──► Canary ── its hello ──► Replacing ── the last old worker is gone ──► over
//!                                           └── a boot fails ──► back to the old generation ◄──┘
//! ```
//! The first worker of the new generation, the canary, takes no runs before its hello; until then nothing else has
//! changed. From then on every boot is of the new generation, and the old workers are replaced as in recycling: each
//! takes runs until its replacement is ready, then no more, and is interrupted when its runs outlast the stop wait. A
//! boot of the new generation that fails before the end returns the pool to the old one.
//!
//! A program that is started once per job has no workers to replace: the next job runs with the new settings.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::spec::PoolSpec;
use crate::guardian::GuardianHandle;
use crate::guardian::handle::ChildId;
use crate::job::JobOptions;
use crate::wire::JobSpec;

/// The input for a generation of workers.
#[derive(Debug)]
pub struct GenerationSpec {
    /// Program, plan and time limits.
    pub spec: PoolSpec,
    /// The guardian that starts the workers, with their privileges.
    pub guardian: GuardianHandle,
}

/// A generation of workers.
#[derive(Debug)]
pub(crate) struct Generation {
    /// From 1; every reload creates the next.
    pub(crate) number: u64,
    pub(crate) spec: PoolSpec,
    pub(crate) guardian: GuardianHandle,
    /// The options of its handlers by job name, from the last hello.
    pub(crate) handlers: HashMap<String, JobOptions>,
}

impl Generation {
    pub(crate) fn new(number: u64, GenerationSpec { spec, guardian }: GenerationSpec) -> Self {
        Self { number, spec, guardian, handlers: HashMap::new() }
    }
}

/// The result of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSummary {
    /// The generation that serves now.
    pub generation: u64,
    /// Old and new workers in pairs; one side is absent where the other has more workers.
    pub workers: Vec<WorkerReplacement>,
    /// Jobs that outlasted the stop wait and were released, uncounted.
    pub handed_back: usize,
}

/// An old worker and a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReplacement {
    /// The old worker.
    pub old: Option<WorkerRef>,
    /// The new worker.
    pub new: Option<WorkerRef>,
}

/// A worker by its process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRef {
    /// The process id of the worker.
    pub pid: i32,
    /// The generation of the worker.
    pub generation: u64,
}

/// The progress of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutProgress {
    /// The generation that takes over.
    pub generation: u64,
    /// Whether its first worker is ready.
    pub proved: bool,
    /// Remaining workers of the generation before.
    pub old: usize,
}

/// Why a reload did not bring the next generation into service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutError {
    /// The channel stops.
    Stopping,
    /// A new worker failed to start, for this reason; the old workers stay.
    Failed(String),
}

/// The stage of a reload.
#[derive(Debug)]
pub(crate) enum RolloutStage {
    /// The first worker of the next generation waits for room.
    WaitingForRoom,
    /// The first worker of the next generation boots.
    Canary(ChildId),
    /// The next generation is in force; the workers of the one before are being replaced.
    Replacing {
        /// The workers that served when it came into force.
        old: Vec<WorkerRef>,
        /// Old workers that were interrupted because their runs outlasted the stop wait.
        outlasted: HashSet<ChildId>,
        handed_back: usize,
    },
}

/// The meaning of a failed boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BootFailure {
    /// The next boot of the generation in force is delayed.
    Delay,
    /// The reload has failed before its generation came into force.
    AbandonCanary,
    /// The reload has failed while it replaced workers: the generation before is in force again.
    RolledBack,
    /// None: nothing starts workers of this generation any more.
    Ignore,
}

/// The generations of a pool.
#[derive(Debug)]
pub(crate) struct Generations {
    /// The generation in force and, during a reload, the other one.
    list: Vec<Generation>,
    /// The number of the generation in force.
    current: u64,
    /// The highest number in use so far.
    last: u64,
    stage: Option<RolloutStage>,
    /// The end of the last reload, until the channel takes it.
    result: Option<Result<RolloutSummary, RolloutError>>,
    /// Whether a worker of any generation has sent its hello.
    is_introduced: bool,
}

impl Generations {
    pub(crate) fn new(spec: GenerationSpec) -> Self {
        let list = vec![Generation::new(1, spec)];
        Self { list, current: 1, last: 1, stage: None, result: None, is_introduced: false }
    }

    /// The generation in force.
    pub(crate) fn current(&self) -> &Generation {
        self.get(self.current).expect("the generation in force is never removed")
    }

    /// The specification in force.
    pub(crate) fn spec(&self) -> &PoolSpec {
        &self.current().spec
    }

    /// The number of the generation in force.
    pub(crate) fn number(&self) -> u64 {
        self.current
    }

    fn get(&self, number: u64) -> Option<&Generation> {
        self.list.iter().find(|generation| generation.number == number)
    }

    /// The specification of a generation; that in force when the generation is over.
    pub(crate) fn spec_of(&self, number: u64) -> &PoolSpec {
        self.get(number).map_or_else(|| self.spec(), |generation| &generation.spec)
    }

    /// The generation that is not in force, during a reload.
    pub(crate) fn other(&self) -> Option<&Generation> {
        self.list.iter().find(|generation| generation.number != self.current)
    }

    /// The number of the newest generation that is in force or about to be.
    pub(crate) fn newest(&self) -> u64 {
        self.list.iter().map(|generation| generation.number).max().unwrap_or(self.current)
    }

    /// Begins a reload; returns the number of its generation.
    pub(crate) fn begin(&mut self, spec: GenerationSpec) -> u64 {
        self.last += 1;
        self.list.push(Generation::new(self.last, spec));
        self.stage = Some(RolloutStage::WaitingForRoom);
        self.last
    }

    /// The stage of the reload, if one is under way.
    pub(crate) fn stage(&self) -> Option<&RolloutStage> {
        self.stage.as_ref()
    }

    /// The canary has been started.
    pub(crate) fn set_canary(&mut self, child: ChildId) {
        self.stage = Some(RolloutStage::Canary(child));
    }

    /// Notes the handlers a worker announced. Workers of one generation announce the same.
    pub(crate) fn set_handlers(&mut self, number: u64, jobs: Vec<JobSpec>) {
        self.is_introduced = true;
        if let Some(generation) = self.list.iter_mut().find(|generation| generation.number == number) {
            generation.handlers = jobs.into_iter().map(|job| (job.name, job.options)).collect();
        }
    }

    /// Whether the handlers of the jobs are known.
    pub(crate) fn is_introduced(&self) -> bool {
        self.is_introduced
    }

    /// Brings the next generation into force.
    pub(crate) fn promote(&mut self, old: Vec<WorkerRef>) {
        self.current = self.last;
        self.stage = Some(RolloutStage::Replacing { old, outlasted: HashSet::new(), handed_back: 0 });
    }

    /// Ends a reload whose old workers are gone; `new` are the workers that serve.
    pub(crate) fn finish(&mut self, new: &[WorkerRef]) {
        let stage = self.stage.take_if(|stage| matches!(stage, RolloutStage::Replacing { .. }));
        let Some(RolloutStage::Replacing { old, handed_back, .. }) = stage else { return };
        self.drop_other();
        let pair = |row| WorkerReplacement { old: old.get(row).copied(), new: new.get(row).copied() };
        let workers = (0..old.len().max(new.len())).map(pair).collect();
        self.result = Some(Ok(RolloutSummary { generation: self.current, workers, handed_back }));
    }

    /// Notes that a worker of a generation has failed to boot, and returns to the generation before when it was of the
    /// next.
    pub(crate) fn boot_failed(&mut self, number: u64, why: &str) -> BootFailure {
        let is_current = number == self.current;
        let meaning = match &self.stage {
            Some(RolloutStage::Canary(_)) if number == self.last => BootFailure::AbandonCanary,
            Some(RolloutStage::Replacing { .. }) if is_current => BootFailure::RolledBack,
            _ if is_current => return BootFailure::Delay,
            _ => return BootFailure::Ignore,
        };
        if let (BootFailure::RolledBack, Some(before)) = (meaning, self.other()) {
            self.current = before.number;
        }
        self.stage = None;
        self.drop_other();
        self.result = Some(Err(RolloutError::Failed(why.to_owned())));
        meaning
    }

    /// Ends a reload because the channel stops.
    pub(crate) fn abandon(&mut self) {
        if self.stage.take().is_some() {
            self.drop_other();
            self.refuse();
        }
    }

    /// Refuses a reload because the channel stops.
    pub(crate) fn refuse(&mut self) {
        self.result = Some(Err(RolloutError::Stopping));
    }

    fn drop_other(&mut self) {
        self.list.retain(|generation| generation.number == self.current);
    }

    /// Notes that an old worker is interrupted because its runs outlasted the stop wait.
    pub(crate) fn note_outlasted(&mut self, child: ChildId) {
        if let Some(RolloutStage::Replacing { outlasted, .. }) = &mut self.stage {
            outlasted.insert(child);
        }
    }

    /// Counts a job that was released because its worker was interrupted by the reload.
    pub(crate) fn count_interrupted(&mut self, child: ChildId) {
        if let Some(RolloutStage::Replacing { outlasted, handed_back, .. }) = &mut self.stage {
            *handed_back += usize::from(outlasted.contains(&child));
        }
    }

    pub(crate) fn has_result(&self) -> bool {
        self.result.is_some()
    }

    pub(crate) fn take_result(&mut self) -> Option<Result<RolloutSummary, RolloutError>> {
        self.result.take()
    }
}
