//! The name of this process for other machines.

use std::fs;
use std::time::SystemTime;

use crate::channel::MasterIdentity;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Shown for a host without a name.
const NAMELESS: &str = "unknown";

/// The identity of a master that starts now in this process.
#[must_use]
pub fn own_identity() -> MasterIdentity {
    let host = nix::unistd::gethostname().ok().map(|name| name.to_string_lossy().into_owned());
    MasterIdentity {
        host: host.filter(|name| !name.is_empty()).unwrap_or_else(|| NAMELESS.to_owned()),
        boot: boot(),
        pid: nix::unistd::getpid().as_raw(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: SystemTime::now().into(),
    }
}

/// The boot of this machine; empty where `/proc` is not mounted.
#[must_use]
pub fn boot() -> String {
    fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default()
}
