//! A channel: the life of its jobs from the store to a worker and back.
//!
//! ```text
//!  store ── turn: leased ──► held jobs: ready ── dispatch ──► pool ── ended ──► retry: settlement ──► turn ──► store
//! ```
//! Duties: keep a lease, lease as many jobs as there are free slots, dispatch them to the pool, decide what each
//! outcome means, settle. One call to the store is in flight at a time; changes made meanwhile are sent with the
//! next one. A channel knows no other channel: its store may fail and its workers may crash without an effect on them.
//!
//! The actor joins components that know nothing of each other: which call comes next (`turns`), the call in flight
//! (`store_calls`), the jobs (`held_jobs`), how many to lease ahead (`prefetch`), requests of running jobs
//! (`job_requests`), their traces (`run_traces`), cancels (`cancellations`), the summary for other machines (`summary`), the stop
//! (`shutdown`). Decisions take the time as an argument; only the
//! actor reads the clock. A channel ends after [`Command::Stop`]; `shutdown` describes the ladder.

mod actor;
mod call_results;
mod cancel_unheld;
mod cancellations;
mod commands;
mod done_runs;
mod held_jobs;
mod isolated_backlog;
mod job_lines;
mod job_requests;
mod kept_runs;
mod prefetch;
mod priority_wait;
mod run_now;
mod run_traces;
mod runs;
mod scope;
mod settings;
mod shutdown;
mod status;
mod store_calls;
mod store_health;
mod summary;
#[cfg(test)]
mod tests;
mod turns;
mod views;
mod work_wait;

pub use actor::{Channel, Setup};
pub use cancel_unheld::{UnheldCancel, cancel_unheld};
pub use commands::{CancelMethod, Command, HeldCancel, OutputSource, QuietReply, ReloadReply, ReloadSpec};
pub use done_runs::{DoneRun, DoneRunsPage, MAX_DONE_RUNS};
pub use kept_runs::KeptRun;
pub use run_now::run_now;
pub use scope::Scope;
pub use settings::ChannelSettings;
pub use shutdown::Stopped;
pub use status::{ChannelDetails, ChannelStatus, Heartbeat, HeldJobStatus, LastCounts, RefusedPushCounts};
pub use store_calls::OnJoin;
pub use summary::{MasterCondition, MasterIdentity, MasterSummary, RunRates, SummaryJob, WorkerSummary};

pub use crate::store::CrossChannelPush;
