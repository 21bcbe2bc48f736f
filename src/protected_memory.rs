//! Protection of a process that holds secrets from other processes of the same user.

use nix::sys::prctl;

/// Variable that leaves the process open to debuggers, tracers and core dumps.
const DEBUG_VARIABLE: &str = "AINT_QUEUE_DUMPABLE";

/// Closes the memory and the environment of this process to other processes of its user: no `/proc/<pid>/environ`, no ptrace,
/// no core dump. A worker of the same user could otherwise read secrets that its own environment does not have.
///
/// An exec undoes it, so children are as open as usual.
pub(crate) fn protect() {
    if std::env::var_os(DEBUG_VARIABLE).is_none_or(|value| value != "1") {
        // The call fails only for a value other than 0 and 1.
        let _ = prctl::set_dumpable(false);
    }
}
