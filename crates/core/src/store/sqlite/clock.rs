//! The clocks of the machine: wall time for due times and ids, time since boot for leases.
//!
//! A step of the wall clock neither ends nor extends a lease; a reboot ends all leases.

use std::fs;
use std::io;
use std::time::SystemTime;

use nix::time::{ClockId, clock_gettime};

use crate::job::Timestamp;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The current time of the store's clock.
pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
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
