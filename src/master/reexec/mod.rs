//! Re-exec: a master above its `memory_limit` drains its channels and runs its program again in the same process.
//!
//! `policy` decides when, `preflight` checks that the next program could serve, `handover` carries locks and state over.

mod handover;
mod policy;
mod preflight;

pub use handover::Handover;
pub(super) use policy::{ReexecPolicy, ReexecStep};
pub(super) use preflight::ServedChannel;
