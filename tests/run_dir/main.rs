//! The run directory: one master per channel, whatever the files say.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod lock;
mod place;
mod strange;
mod support;
