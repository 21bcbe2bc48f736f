//! The generation in force, the other one while a reload is under way, and the stage of that reload.

use std::collections::{HashMap, HashSet};

use super::generation::{
    Generation, GenerationSpec, RolloutError, RolloutSummary, WorkerRef, WorkerReplacement,
};
use crate::guardian::handle::ChildId;
use crate::job::JobOptions;
use crate::pool::spec::PoolSpec;

/// The stage of a reload.
#[derive(Debug)]
enum RolloutStage {
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

/// The next step of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RolloutStep {
    /// Start the canary as soon as there is room.
    StartCanary,
    /// Wait for the hello of this canary.
    AwaitCanary(ChildId),
    /// Replace the workers of the generation before.
    ReplaceOld,
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

    /// Whether the next generation is already in force; `None` without a reload.
    pub(crate) fn is_proved(&self) -> Option<bool> {
        self.stage.as_ref().map(|stage| matches!(stage, RolloutStage::Replacing { .. }))
    }

    /// The number of the newest generation that is in force or about to be.
    pub(crate) fn newest(&self) -> u64 {
        self.list.iter().map(|generation| generation.number).max().unwrap_or(self.current)
    }

    /// Begins a reload; answers the number of its generation.
    pub(crate) fn begin(&mut self, spec: GenerationSpec) -> u64 {
        self.last += 1;
        self.list.push(Generation::new(self.last, spec));
        self.stage = Some(RolloutStage::WaitingForRoom);
        self.last
    }

    pub(crate) fn next_step(&self) -> Option<RolloutStep> {
        Some(match self.stage.as_ref()? {
            RolloutStage::WaitingForRoom => RolloutStep::StartCanary,
            RolloutStage::Canary(child) => RolloutStep::AwaitCanary(*child),
            RolloutStage::Replacing { .. } => RolloutStep::ReplaceOld,
        })
    }

    /// The canary has been started.
    pub(crate) fn set_canary(&mut self, child: ChildId) {
        self.stage = Some(RolloutStage::Canary(child));
    }

    /// The canary is gone for no fault of its own: another one is needed.
    pub(crate) fn retry_canary(&mut self) {
        self.stage = Some(RolloutStage::WaitingForRoom);
    }

    /// Notes the handlers a worker announced. Workers of one generation announce the same.
    pub(crate) fn set_handlers(&mut self, number: u64, handlers: HashMap<String, JobOptions>) {
        self.is_introduced = true;
        if let Some(generation) = self.list.iter_mut().find(|generation| generation.number == number) {
            generation.handlers = handlers;
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
