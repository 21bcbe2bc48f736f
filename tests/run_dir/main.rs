//! The run directory: one master per channel, whatever its files contain.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod directory;
mod fixture;
mod lock;
mod odd_run_dirs;
