//! Reloads: a channel gets a new configuration and new workers while it serves.
//!
//! `messages` has the requests of the control socket and their results, `queue` runs one reload per channel at a time, `task`
//! does one reload. The service loop begins each reload and applies its result.

mod messages;
mod queue;
mod task;

pub(super) use messages::{ReloadChanges, ReloadError, ReloadRequest};
pub(super) use queue::{ReloadEvent, ReloadQueue};
pub(super) use task::{ReloadTask, reload};
