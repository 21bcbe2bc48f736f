//! Jobs run without a master: by a push of the `sync` driver, and by the helpers for tests.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod jobs;
mod policies;
mod run_one;
mod sync;
mod testing;
