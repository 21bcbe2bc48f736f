//! Generations of workers: what one is made from, and what is told of the change from one to the next.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::PoolSpec;
use super::worker::Worker;
use crate::guardian::GuardianHandle;
use crate::job::JobOptions;

/// What the workers of a generation are made from.
#[derive(Debug)]
pub struct GenerationSpec {
    /// What to start and how to treat it.
    pub spec: PoolSpec,
    /// Who starts it, as what.
    pub guardian: GuardianHandle,
}

/// How a reload ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutSummary {
    /// The generation that serves now.
    pub generation: u64,
    /// Each worker that went, with one that came; one side is absent where there are more of the other.
    pub workers: Vec<WorkerReplacement>,
    /// Jobs that took longer than the stop wait and were handed back, uncounted.
    pub handed_back: usize,
}

/// A worker that went and one that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReplacement {
    /// The old one.
    pub old: Option<WorkerRef>,
    /// The new one.
    pub new: Option<WorkerRef>,
}

/// A worker by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRef {
    /// Its process id.
    pub pid: i32,
    /// Its generation.
    pub generation: u64,
}

/// How far a reload is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutProgress {
    /// The generation that takes over.
    pub generation: u64,
    /// Whether the first of it is ready.
    pub proved: bool,
    /// Workers of the generation before that are still there.
    pub old: usize,
}

/// Why no other generation has taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutError {
    /// The channel stops.
    Stopping,
    /// A new worker could not be started: why, in words. The old ones go on.
    Failed(String),
}

/// What a pool needs to know of a generation.
#[derive(Debug)]
pub(super) struct GenerationState {
    pub(super) generation: u64,
    pub(super) renewal: GenerationSpec,
    /// What the handlers of its workers want.
    pub(super) jobs: HashMap<String, JobOptions>,
}

impl WorkerRef {
    pub(super) fn of(worker: &Worker) -> Option<Self> {
        Some(Self { pid: worker.pid?, generation: worker.generation })
    }
}
