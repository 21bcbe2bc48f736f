//! The states of a worker.
//!
//! ```text
//! Booting ── hello ──► Serving ── all its runs taken, idle ──────────────► Stopping ──┐
//!    │                   ├── to be replaced ──► Draining ── idle ────────────┘ ▲      │
//!    │                   │                         └── outlasts the stop wait ──┘      │
//!    │                   └── a run is stuck beside others ──► Retiring ─────────────► Dying
//!    └────────────── boot timeout, protocol error, stop, hard memory limit ─────────────►┘
//! ```
//! A worker is removed in any state once its process tree has ended and everything it wrote is read.

use tokio::time::Instant;

use crate::guardian::handle::Exit;
use crate::wire::JobSpec;

/// The first frame of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) slots: usize,
    /// The jobs it has handlers for, each with the options of its handler.
    pub(crate) jobs: Vec<JobSpec>,
}

/// The state of a worker. Each deadline ends in [`Dying`](Self::Dying), that of `Draining` by way of `Stopping`.
#[derive(Debug)]
pub(crate) enum WorkerState {
    /// Started, no hello yet.
    Booting {
        deadline: Instant,
        /// The hello, when it arrived before the guardian reported the process id.
        early_hello: Option<Hello>,
    },
    /// Takes runs.
    Serving,
    /// Takes no more runs, because its replacement is ready; stops when its runs have ended.
    Draining {
        /// Set when a reload waits for it.
        deadline: Option<Instant>,
    },
    /// Takes no more runs; one of its runs is stuck, the others may finish.
    Retiring { deadline: Instant },
    /// Asked to stop.
    Stopping { deadline: Instant },
    /// Being killed.
    Dying {
        reason: KillReason,
        /// Why its death is a failed boot, if it is.
        boot_failure: Option<FailedBoot>,
    },
}

/// The failed boot of a worker that is being killed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedBoot {
    /// The reason, without the last line of the worker.
    pub(crate) reason: String,
    /// Whether the failure counts already, so that the end of the worker adds only its last line.
    pub(crate) is_counted: bool,
}

impl WorkerState {
    /// Whether it was neither asked to stop nor set aside because of a stuck run.
    pub(crate) fn is_staying(&self) -> bool {
        matches!(self, Self::Booting { .. } | Self::Serving | Self::Draining { .. })
    }

    pub(crate) fn is_booting(&self) -> bool {
        matches!(self, Self::Booting { .. })
    }

    pub(crate) fn is_serving(&self) -> bool {
        matches!(self, Self::Serving)
    }

    pub(crate) fn is_draining(&self) -> bool {
        matches!(self, Self::Draining { .. })
    }

    pub(crate) fn is_retiring(&self) -> bool {
        matches!(self, Self::Retiring { .. })
    }

    pub(crate) fn is_dying(&self) -> bool {
        matches!(self, Self::Dying { .. })
    }

    /// Whether it was asked to stop or is being killed.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self, Self::Stopping { .. } | Self::Dying { .. })
    }

    /// Why the pool ends the worker, if it does.
    pub(crate) fn kill_reason(&self) -> Option<KillReason> {
        match self {
            Self::Booting { .. } | Self::Serving | Self::Draining { .. } => None,
            Self::Retiring { .. } => Some(KillReason::Stuck),
            Self::Stopping { .. } => Some(KillReason::Stopping),
            Self::Dying { reason, .. } => Some(*reason),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Booting { deadline, .. } | Self::Retiring { deadline } | Self::Stopping { deadline } => {
                Some(*deadline)
            }
            Self::Draining { deadline } => *deadline,
            Self::Serving | Self::Dying { .. } => None,
        }
    }
}

/// The purpose of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serves the plan.
    Plan,
    /// Shows whether the next generation can be started; takes no runs before its generation takes over.
    Canary,
    /// Runs suspects, one at a time.
    Isolated,
    /// Runs one job that may have killed a guardian, under a guardian of its own.
    Exclusive,
}

impl Role {
    /// Whether the worker is beside the plan, for a job that must be alone.
    pub(crate) fn is_beside_plan(self) -> bool {
        matches!(self, Self::Isolated | Self::Exclusive)
    }
}

/// Why the pool kills a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// Stop, reload or recycling: not the job's fault.
    Stopping,
    /// A run of the worker does not end when cancelled.
    Stuck,
    /// The worker broke the protocol.
    Broken,
    /// An operator ended the worker.
    Ordered,
    /// The worker used more bytes than `memory_hard_limit` allows.
    Memory { used: u64, limit: u64 },
}

/// The end of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerEnd {
    /// The process could not be started.
    NotStarted,
    /// The system had no room for the process.
    NoRoom,
    /// The process has ended.
    Exited(Exit),
    /// The guardian died, and the process with it. The cause is unknown: any process under the guardian may have killed it.
    GuardianDied,
}
