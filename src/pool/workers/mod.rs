//! The workers of a pool: their states, the set of them, their start and their descriptors.

mod frame_reader;
pub(super) mod io;
pub(super) mod launch;
pub(super) mod log_share;
mod outgoing;
pub(super) mod output;
pub(super) mod program_files;
pub(super) mod set;
pub(super) mod start_reason;
pub(super) mod state;
pub(super) mod worker;
