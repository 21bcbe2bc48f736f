//! The clocks of the machine: wall time for due times and ids, time since boot for leases.
//!
//! A step of the wall clock neither ends nor extends a lease; a reboot ends all leases.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use nix::time::{ClockId, clock_gettime};

use crate::job::Timestamp;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The wall clock of one file: that of the machine, which tests can step.
#[derive(Clone, Debug, Default)]
pub(super) struct WallClock(Arc<AtomicI64>);

impl WallClock {
    /// The current time.
    pub(super) fn now(&self) -> Timestamp {
        let Timestamp(now) = SystemTime::now().into();
        Timestamp(now.saturating_add_signed(self.0.load(Ordering::Relaxed)))
    }

    /// Steps the clock by this many microseconds, forward or back.
    pub(super) fn step(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Microseconds since the boot of the machine, suspends included.
pub(super) fn since_boot() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has a boot-time clock since 2.6.39");
    time.tv_sec() * 1_000_000 + time.tv_nsec() / 1_000
}

/// The id of the current boot.
pub(super) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT_ID)?.trim().to_owned())
}
