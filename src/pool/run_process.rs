//! The process of a run: the facts about its end that are kept with the failure. Pure.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::guardian::handle::Exit;
use crate::job::{ProcessEnd, Timestamp};

/// The process of a run that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunProcess {
    /// The process id, if the guardian had reported it.
    pub pid: Option<i32>,
    /// The exit of the process; `None` when it lives on, or when it is unknown.
    pub exit: Option<Exit>,
    /// The most resident bytes in the samples taken during the run.
    pub rss_peak: Option<u64>,
    /// The bytes above which the process is killed.
    pub memory_limit: Option<u64>,
    /// When the run was asked to end.
    pub asked_at: Option<Instant>,
    /// When the process was killed.
    pub killed_at: Option<Instant>,
    /// Number of other runs in the process.
    pub others: u32,
}

impl RunProcess {
    /// The stored form, for an end that the store's clock shows as `store_time`; `None` when there is nothing to tell: the
    /// process lives on, and the run was not asked to end.
    #[must_use]
    pub fn stored(&self, now: Instant, store_time: Timestamp) -> Option<ProcessEnd> {
        if self.exit.is_none() && self.asked_at.is_none() && self.killed_at.is_none() {
            return None;
        }
        let time = |at: Instant| before(store_time, now.saturating_duration_since(at));
        let (exit, signal, core) = match self.exit {
            None => (None, None, false),
            Some(Exit::Code(code)) => (Some(code), None, false),
            Some(Exit::Signal(number)) => (None, Some(signal_name(number)), false),
            Some(Exit::CoreDumped(number)) => (None, Some(signal_name(number)), true),
        };
        Some(ProcessEnd {
            exit,
            signal,
            core,
            rss_peak: self.rss_peak,
            memory_limit: self.memory_limit,
            asked_at: self.asked_at.map(time),
            killed_at: self.killed_at.map(time),
            others: self.others,
        })
    }
}

fn before(time: Timestamp, ago: Duration) -> Timestamp {
    Timestamp(time.0.saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX)))
}

/// The name of a signal: "SIGKILL", or "signal 34" for one without a name.
fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_store() {
        let asked = Instant::now();
        let killed = asked + Duration::from_millis(300);
        let process = RunProcess {
            exit: Some(Exit::CoreDumped(11)),
            asked_at: Some(asked),
            killed_at: Some(killed),
            others: 2,
            ..RunProcess::default()
        };
        let stored = process.stored(killed + Duration::from_millis(4), Timestamp(1_000_000)).unwrap();
        assert_eq!((stored.asked_at, stored.killed_at), (Some(Timestamp(696_000)), Some(Timestamp(996_000))));
        assert_eq!((stored.signal.as_deref(), stored.core, stored.others), (Some("SIGSEGV"), true, 2));
    }

    #[test]
    fn answered_run_has_no_process_to_tell_of() {
        let process = RunProcess { pid: Some(7), rss_peak: Some(1), ..RunProcess::default() };
        assert_eq!(process.stored(Instant::now(), Timestamp(1)), None);
    }
}
