//! The guardian: a small process of our own that is the parent of every worker.
//!
//! This half is the master's side: [`Guardian`] starts it, [`Handle`] asks it for children.
pub mod handle;

use handle::{ChildEvent, ChildId, Spawn};
/// stub
#[derive(Clone, Debug)]
pub struct Handle;
impl Handle {
    /// stub
    pub fn spawn(&self, _: Spawn, _: tokio::sync::mpsc::UnboundedSender<(ChildId, ChildEvent)>) -> ChildId {
        ChildId(0)
    }
    /// stub
    pub fn unborn(&self) -> ChildId {
        ChildId(0)
    }
    /// stub
    pub fn terminate(&self, _: ChildId) {}
    /// stub
    pub fn kill(&self, _: ChildId) {}
    /// stub
    pub fn hold(&self, _: &str, _: std::os::fd::OwnedFd) {}
    /// stub
    pub fn release(&self, _: &str) {}
}
