//! How much, and what came of it.

use std::fs;
use std::time::Duration;

use crate::fixture::random::unique_digits;

/// Whether the full size is asked for.
pub fn is_full() -> bool {
    std::env::var("AINT_QUEUE_CAMPAIGN").is_ok_and(|size| size == "full")
}

/// How many rounds: a few with every change, all of them on demand.
pub fn size(usual: usize, full: usize) -> usize {
    if is_full() { full } else { usual }
}

/// Prints how long something took over all rounds and holds it to a limit. On a machine that is shared with other tests
/// half of the rounds have to keep it, in the full size all but one in a hundred.
pub fn assert_within(what: &str, mut took: Vec<Duration>, limit: Duration) {
    took.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few hundred"
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

/// Processes that inherited this variable with this value, zombies not counted.
pub fn inherited(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let holds = |pid: &i32| {
        // A zombie has no environment to read.
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|env| env.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()))
    };
    pids.filter(holds).collect()
}

/// The variable that a campaign's processes inherit from their master.
pub const MARK: &str = "CAMPAIGN_MARK";

/// A mark that no other round has.
pub fn mark() -> String {
    unique_digits()
}
