//! The guardian: a small process of our own that is the parent of every worker.
//!
//! This half is the master's side: [`Guardian`] starts it, [`Handle`] asks it for children.
pub mod handle;
