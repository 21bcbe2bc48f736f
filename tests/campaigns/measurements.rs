//! Sizes of campaigns, limits on their measurements, and marks on their processes.

use std::fs;
use std::time::Duration;

use crate::fixture::random::unique_digits;

/// Whether the campaign runs in full size.
pub fn is_full() -> bool {
    std::env::var("AINT_QUEUE_CAMPAIGN").is_ok_and(|size| size == "full")
}

/// The number of rounds: `usual`, or `full` in a campaign of full size, or as many as `AINT_QUEUE_CAMPAIGN` says, up to `full`.
pub fn size(usual: usize, full: usize) -> usize {
    let said = std::env::var("AINT_QUEUE_CAMPAIGN").ok().and_then(|size| size.parse().ok());
    if is_full() { full } else { said.unwrap_or(usual).min(full) }
}

/// Prints the durations of all rounds and compares them with a limit: the 99th percentile in full size, the median beside
/// other tests.
pub fn assert_within(what: &str, mut took: Vec<Duration>, limit: Duration) {
    took.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "there are a few hundred rounds"
        )]
        let place = ((took.len() - 1) as f64 * share) as usize;
        took[place]
    };
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    println!("{what}: {} rounds, p50 {p50:?}, p99 {p99:?}, max {max:?}", took.len());
    let held = if is_full() { p99 } else { p50 };
    assert!(held <= limit, "{what}: {held:?} is above {limit:?}");
    assert!(max <= limit * 20, "{what}: one took {max:?}");
}

/// Processes, except zombies, that inherited [`MARK`] with this value.
pub fn inherited(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let holds = |pid: &i32| {
        // The environment of a zombie is empty.
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| env.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()))
    };
    pids.filter(holds).collect()
}

/// The environment variable that all processes of a campaign inherit.
pub const MARK: &str = "CAMPAIGN_MARK";

/// A unique value for [`MARK`].
pub fn mark() -> String {
    unique_digits()
}
