//! Random choices with a seed, and unique names without randomness.

use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that sets the seed of every random test.
const SEED: &str = "AINT_QUEUE_SEED";

/// A random generator; it prints its seed, so that a failed test can be repeated.
pub(crate) fn seeded(test: &str) -> fastrand::Rng {
    let seed = match std::env::var(SEED) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{SEED} is not a number: \"{text}\"")),
        Err(_) => fastrand::u64(..),
    };
    println!("{test}: {SEED}={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Ten digits that are unique among the running processes of this machine: the pid and a count.
pub(crate) fn unique_digits() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{:07}{:03}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
