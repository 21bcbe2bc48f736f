//! Jobs without a master: pushes with the `sync` driver, and the test support of the library.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod jobs;
mod policies;
mod run_one;
mod sync;
mod testing;
