//! Counts of started and ended workers, by the cause of the end. Pure.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::recycling::RecycleReason;
use super::workers::start_reason::StartReason;
use super::workers::state::{KillReason, WorkerEnd};
use crate::guardian::handle::Exit;

/// Workers started and ended since the start of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LifetimeCounts {
    /// Processes that were started.
    pub started: u64,
    /// The same by reason: one of [`START_REASONS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub started_by: BTreeMap<String, u64>,
    /// Ended workers by cause: one of [`END_CAUSES`].
    pub ended: BTreeMap<String, u64>,
    /// Workers that died by a signal, by its name.
    pub signals: BTreeMap<String, u64>,
    /// Processes that the pool has killed with all their descendants, by reason: one of [`KILL_REASONS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub killed: BTreeMap<String, u64>,
}

/// The reasons of starts: the minimum of the configuration (`min`) or of `queue:scale` (`hand`), the load (`demand`), a worker that has
/// begun its last jobs (`spare`) or is replaced (`replace`, `reload`), a suspect of a crash (`suspect`) or a job that was lost twice
/// (`lost`) that runs alone, and a program that is started per job (`job`).
pub const START_REASONS: [&str; 9] = StartReason::WORDS;

/// The reasons of kills: the worker did not stop in time or is a program of one job that has to stop (`stop`), ignored the end of a
/// run's time (`timeout`), exceeded its memory (`memory_hard`), broke the protocol (`protocol`), or was killed by an operator
/// (`operator`).
pub const KILL_REASONS: [&str; 5] = ["stop", "timeout", "memory_hard", "protocol", "operator"];

/// The causes of ends: a limit or a change that replaces the worker (`jobs`, `life`, `memory`, `changed`, `reload`), a kill
/// (`memory_hard`, `timeout`, `protocol`, `operator`), fewer workers wanted or a stop (`idle`), a program that ends with its job
/// (`done`), a failed start (`boot`), and everything else (`crash`).
pub const END_CAUSES: [&str; 13] = [
    "idle",
    "jobs",
    "life",
    "memory",
    "changed",
    "reload",
    "memory_hard",
    "timeout",
    "protocol",
    "operator",
    "done",
    "boot",
    "crash",
];

/// The facts about an ended worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndFacts {
    pub(super) end: WorkerEnd,
    pub(super) kill_reason: Option<KillReason>,
    pub(super) replaced: Option<RecycleReason>,
    pub(super) is_failed_boot: bool,
    /// Whether the program is started once per job.
    pub(super) is_exec: bool,
}

impl EndFacts {
    /// The cause of the end; `None` for a worker that was lost with its guardian, which is no end of its own, and for one that the
    /// system had no room for, which never was.
    fn cause(self) -> Option<&'static str> {
        let cause = match (self.end, self.kill_reason) {
            (WorkerEnd::GuardianDied | WorkerEnd::NoRoom, _) => return None,
            (WorkerEnd::NotStarted, _) => "boot",
            (_, Some(KillReason::Memory { .. })) => "memory_hard",
            (_, Some(KillReason::Stuck)) => "timeout",
            (_, Some(KillReason::Broken)) => "protocol",
            (_, Some(KillReason::Ordered)) => "operator",
            _ if self.is_failed_boot => "boot",
            (_, Some(KillReason::Stopping)) => match self.replaced {
                Some(RecycleReason::Jobs(_)) => "jobs",
                Some(RecycleReason::Life(_)) => "life",
                Some(RecycleReason::Memory(_)) => "memory",
                Some(RecycleReason::Changed) => "changed",
                Some(RecycleReason::Reload | RecycleReason::RolledBack) => "reload",
                None if self.is_exec => "timeout",
                None => "idle",
            },
            (WorkerEnd::Exited(Exit::Code(_)), None) if self.is_exec => "done",
            (WorkerEnd::Exited(_), None) => "crash",
        };
        Some(cause)
    }

    /// The signal that ended a worker which was not killed by the pool.
    fn signal(self) -> Option<String> {
        match (self.end, self.kill_reason) {
            (
                WorkerEnd::Exited(Exit::Signal(number) | Exit::CoreDumped(number)),
                None | Some(KillReason::Memory { .. }),
            ) => Some(
                Signal::try_from(number)
                    .map_or_else(|_| "other".to_owned(), |signal| signal.as_str().to_owned()),
            ),
            _ => None,
        }
    }
}

impl LifetimeCounts {
    /// Whether no worker was started.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Workers that crashed or failed to start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        ["crash", "boot"].iter().filter_map(|cause| self.ended.get(*cause)).sum()
    }

    pub(super) fn started(&mut self, reason: &StartReason) {
        self.started += 1;
        *self.started_by.entry(reason.word().to_owned()).or_default() += 1;
    }

    pub(super) fn killed(&mut self, reason: KillReason) {
        let reason = match reason {
            KillReason::Stopping => "stop",
            KillReason::Stuck => "timeout",
            KillReason::Memory { .. } => "memory_hard",
            KillReason::Broken => "protocol",
            KillReason::Ordered => "operator",
        };
        *self.killed.entry(reason.to_owned()).or_default() += 1;
    }

    pub(super) fn ended(&mut self, facts: EndFacts) {
        let Some(cause) = facts.cause() else { return };
        *self.ended.entry(cause.to_owned()).or_default() += 1;
        if let Some(signal) = facts.signal() {
            *self.signals.entry(signal).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXITED: EndFacts = EndFacts {
        end: WorkerEnd::Exited(Exit::Code(0)),
        kill_reason: None,
        replaced: None,
        is_failed_boot: false,
        is_exec: false,
    };
    const STOPPED: EndFacts = EndFacts { kill_reason: Some(KillReason::Stopping), ..EXITED };

    #[test]
    fn cause_names_the_reason_of_the_end() {
        let memory = KillReason::Memory { used: 2, limit: 1 };
        for (facts, cause) in [
            (EXITED, "crash"),
            (EndFacts { is_failed_boot: true, ..EXITED }, "boot"),
            (EndFacts { end: WorkerEnd::NotStarted, ..EXITED }, "boot"),
            (EndFacts { is_exec: true, ..EXITED }, "done"),
            (EndFacts { end: WorkerEnd::Exited(Exit::Signal(11)), is_exec: true, ..EXITED }, "crash"),
            (EndFacts { kill_reason: Some(memory), ..EXITED }, "memory_hard"),
            (EndFacts { kill_reason: Some(KillReason::Stuck), ..EXITED }, "timeout"),
            (EndFacts { kill_reason: Some(KillReason::Broken), ..EXITED }, "protocol"),
            (EndFacts { kill_reason: Some(KillReason::Ordered), ..EXITED }, "operator"),
            (STOPPED, "idle"),
            (EndFacts { replaced: Some(RecycleReason::Jobs(9)), ..STOPPED }, "jobs"),
            (EndFacts { replaced: Some(RecycleReason::RolledBack), ..STOPPED }, "reload"),
        ] {
            assert_eq!(facts.cause(), Some(cause), "{facts:?}");
            assert!(END_CAUSES.contains(&cause));
        }
        assert_eq!(EndFacts { end: WorkerEnd::GuardianDied, ..EXITED }.cause(), None);
    }

    #[test]
    fn kills_are_counted_by_reason() {
        let mut counts = LifetimeCounts::default();
        let memory = KillReason::Memory { used: 2, limit: 1 };
        for reason in
            [KillReason::Stopping, KillReason::Stuck, memory, KillReason::Broken, KillReason::Ordered, memory]
        {
            counts.killed(reason);
        }
        assert_eq!(KILL_REASONS.map(|reason| counts.killed[reason]), [1, 1, 2, 1, 1]);
    }

    #[test]
    fn signals_of_kills_by_the_pool_are_not_counted() {
        let died = EndFacts { end: WorkerEnd::Exited(Exit::Signal(11)), ..EXITED };
        let mut counts = LifetimeCounts::default();
        counts.started(&StartReason::Min);
        counts.ended(died);
        counts.ended(EndFacts { kill_reason: Some(KillReason::Stopping), ..died });
        assert_eq!(counts.signals, BTreeMap::from([("SIGSEGV".to_owned(), 1)]));
        assert_eq!(counts.ended, BTreeMap::from([("crash".to_owned(), 1), ("idle".to_owned(), 1)]));
    }
}
