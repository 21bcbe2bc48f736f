//! The run whose code a thread executes, so that its log events get the number of the run.

use std::cell::Cell;

use crate::wire::RunId;

thread_local! {
    /// The run whose code this thread executes.
    static RUN: Cell<Option<RunId>> = const { Cell::new(None) };
}

/// Executes `code` with its events attributed to a run.
pub(super) fn within<T>(run: RunId, code: impl FnOnce() -> T) -> T {
    let outer = RUN.replace(Some(run));
    let answer = code();
    RUN.set(outer);
    answer
}

/// The run whose code this thread executes, if any.
pub(super) fn get() -> Option<RunId> {
    RUN.get()
}
