//! The fixed words of labels.

/// Outcomes of runs.
pub const OUTCOMES: [&str; 9] = [
    "done",
    "failed",
    "released",
    "timed_out",
    "crashed",
    "crashed_in_company",
    "lost",
    "interrupted",
    "cancelled",
];
/// Outcomes of the runs of one job name.
pub(super) const JOB_OUTCOMES: [&str; 5] = ["done", "failed", "crashed", "timed_out", "other"];
/// Reasons for refused settlements.
pub(super) const EXCEPTION_REASONS: [&str; 2] = ["stale", "cleared"];
/// Job states whose number of jobs is exported.
pub(super) const JOB_STATES: [&str; 4] = ["waiting", "reserved", "delayed", "failed"];
/// Ways in which jobs leave the store.
pub(super) const EXIT_WAYS: [&str; 2] = ["done", "cleared"];
/// Kinds of store calls.
pub const STORE_CALLS: [&str; 3] = ["turn", "status", "other"];
/// Kinds of errors of the store.
pub(super) const STORE_ERRORS: [&str; 5] = ["unavailable", "full", "lost", "replayed", "other"];
/// Limits that end workers.
pub(super) const RECYCLE_LIMITS: [&str; 4] = ["jobs", "life", "memory", "memory_hard"];
/// Reasons why a line of a worker is not in the log.
pub(super) const DROP_REASONS: [&str; 2] = ["rate", "slow_reader"];
/// Results of reloads.
pub(super) const RELOAD_RESULTS: [&str; 2] = ["done", "failed"];
/// Directions of a change of the target number of workers.
pub(super) const SCALE_DIRECTIONS: [&str; 2] = ["up", "down"];
/// Uses of a slot.
pub(super) const SLOT_STATES: [&str; 2] = ["used", "free"];

/// The place of a word in its list.
pub(super) fn index_of(words: &[&str], word: &str) -> usize {
    words.iter().position(|known| *known == word).expect("callers pass words of the list")
}
