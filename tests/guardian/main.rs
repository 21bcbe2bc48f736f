//! The guardian with real processes: what children get, how their ends are told, and that nothing survives.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod children;
mod death;
mod fixture;
mod limits;
mod process_trees;
