//! The guardian with real processes: environment of children, reports of exits, and cleanup of process trees.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod children;
mod death;
mod fixture;
mod limits;
mod process_trees;
