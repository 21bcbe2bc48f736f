//! The run directory: one master per channel, whatever the files say.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod directory;
mod fixture;
mod lock;
mod odd_run_dirs;
