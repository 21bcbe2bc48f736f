//! The workers of a channel, from boot to exit.
//!
//! The pool owns the workers of a channel, their runs, and the generations of their program. Its duties:
//!
//! - keep as many workers as the plan and the demand ask for (`sizing`),
//! - hand runs to free slots and enforce their time limits (`runs`),
//! - derive the outcome of a run from the answer or the exit of its worker (`exit_outcome`),
//! - replace workers by age, memory and reload (`recycling`, `rollout`),
//! - end all workers when the channel stops.
//!
//! Every run it accepts ends in exactly one [`EndedRun`]. It knows no store: the channel decides what an outcome means for
//! the job. It starts and kills processes only through the guardian. It ends when the channel has closed it and no worker is
//! left.
//!
//! A run's life: [`Pool::dispatch`] → answer, time limit or exit of its worker → [`EndedRun`]. The states of a worker are in
//! `workers/state`. A task per worker serves its socket and its output (`workers/io`); all messages to and from these tasks
//! are in `messages`. Components keep their state private and know nothing of the actor, which joins them: its methods are in
//! `actor`, a file per duty, and it alone reads the clock.

mod actor;
mod boot_backoff;
mod exclusive_turn;
mod exit_outcome;
mod job_requests;
mod lifetimes;
mod memory_sampler;
mod messages;
mod recycling;
mod rollout;
mod room;
mod run_output;
mod run_process;
mod runs;
#[cfg(test)]
pub(crate) mod scripted;
mod sizing;
mod spec;
mod status;
#[cfg(test)]
mod tests;
mod workers;

pub use crate::config::plan;
pub use actor::Pool;
pub use job_requests::{ReplyTo, RequestKind, RunRequest};
pub use lifetimes::{END_CAUSES, KILL_REASONS, LifetimeCounts, START_REASONS};
pub use recycling::RecycleCounts;
pub use rollout::{
    GenerationSpec, RolloutError, RolloutProgress, RolloutSummary, WorkerRef, WorkerReplacement,
};
pub use run_output::{OutputPage, RunOutput};
pub use run_process::RunProcess;
pub use runs::{CancelReason, EndedRun, Run};
pub use sizing::autoscaler::{MinWorkers, ScaleOrder};
#[cfg(feature = "top")]
pub(crate) use sizing::decision::grouped;
pub use sizing::decision::{SizingChanges, SizingDecision, SizingInput, SizingReason};
pub use sizing::sizer::Demand;
pub use spec::{PoolSpec, Program};
pub use status::{
    PoolStatus, RunStatus, RunningJob, SizingChange, WorkerActivity, WorkerCounts, WorkerJob, WorkerStatus,
};
pub use workers::log_share::DroppedOutput;
