//! A generation of workers, and the reports of the change from one generation to the next.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::guardian::GuardianHandle;
use crate::job::JobOptions;
use crate::pool::spec::PoolSpec;

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
    /// Its process id.
    pub pid: i32,
    /// Its generation.
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
