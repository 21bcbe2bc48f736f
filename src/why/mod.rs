//! Why a job or a channel waits: the reason, and a sentence about it, from facts. Pure, except that `position` asks a store.
//!
//! `queue:why` and the dashboard collect the facts (`facts`). `job` and `channel` select the reason; `blockers` are the conditions that
//! hold for a whole channel, and `reasons` has the code and the wording of each.

mod blockers;
mod channel;
mod facts;
mod job;
mod position;
pub(crate) mod reasons;

pub(crate) use blockers::{next_boot, outage};
pub(crate) use channel::explain as explain_channel;
pub(crate) use facts::{Facts, Master, OtherStore, QueuePosition, job_json};
pub(crate) use job::{done, explain as explain_job, unknown};
pub(crate) use position::queue_position;
pub(crate) use reasons::Explanation;
