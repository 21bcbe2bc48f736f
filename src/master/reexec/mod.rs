//! Re-exec: a master above its `memory_limit` drains its channels and runs its program again in the same process.
//!
//! `policy` decides when and keeps the state of ended channels, `preflight` checks first that the next program could serve them,
//! `handover` passes locks and state to the next program.

mod handover;
mod policy;
mod preflight;

pub use handover::Handover;
pub(super) use policy::{ReexecPolicy, ReexecStep};
pub(super) use preflight::ServedChannel;
