//! The collector: a thread that takes readings at the pace of the view, and at once when something else is wanted.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde_json::Value;

use super::reading::{Reading, Wanted};
use crate::cli::Failure;

/// A source of readings.
pub(super) trait Collect {
    /// The values of now; those that cannot be had are absent, with the reason.
    fn read(&mut self, wanted: &Wanted) -> Reading;

    /// The answer to `/api/v1/channels`.
    fn json(&mut self) -> Result<Value, Failure>;
}

/// Takes readings until the view has ended.
pub(super) fn collect(
    collector: &mut dyn Collect,
    wanted: &Receiver<Wanted>,
    mut take: impl FnMut(Reading) -> bool,
) {
    let Ok(mut current) = wanted.recv() else { return };
    loop {
        let is_wanted = current.period_ms > 0 || current.text.is_some();
        if is_wanted && !take(collector.read(&current)) {
            return;
        }
        let next = match current.period_ms {
            0 => wanted.recv().map_err(|_| RecvTimeoutError::Disconnected),
            ms => wanted.recv_timeout(Duration::from_millis(ms)),
        };
        match next {
            // Only the last of several wishes counts.
            Ok(next) => current = wanted.try_iter().last().unwrap_or(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
