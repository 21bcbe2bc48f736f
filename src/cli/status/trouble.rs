//! Lines of the status about states that need attention.

use super::workers;
use crate::channel::{ChannelStatus, RefusedPushCounts};
use crate::cli::control::MasterState;
use crate::cli::render::{duration, jobs};
use crate::cli::{progress, sanitize};

/// Lines about an unusual state of a master: quiet, stopping, reloading, not responding, degraded.
pub(super) fn unusual(master: &MasterState<ChannelStatus>, colours: bool) -> String {
    let mut shown = String::new();
    for difference in master.differences() {
        shown.push_str(&trouble(&format!("Attention: {}.", sanitize::line(&difference)), colours));
    }
    if let Some(status) = master.answer() {
        if status.quiet {
            shown.push_str("Quiet: the master on this machine leases no jobs.\n");
        }
        if let Some(left) = status.held_back_ms {
            let running = jobs(status.running as u64);
            shown.push_str(&match status.stopping {
                true => "Re-executing: the master is above its memory_limit and runs its program again; it then takes jobs.\n".to_owned(),
                false => format!(
                    "Held back: the master is above its memory_limit and re-executes itself when its running jobs have ended; \
                     {running} left, it waits up to {}; no jobs are leased.\n",
                    duration(left)
                ),
            });
        }
        if status.stopping {
            shown.push_str(&format!("Stopping: {}.\n", progress::describe(status)));
        }
        if let Some(reload) = status.pool.reload {
            shown.push_str(&format!("Reloading: {}.\n", progress::describe_reload(reload)));
        }
    }
    let event = if master.is_denied() { "No permission to ask the master" } else { "Master not responding" };
    let silence = master.error().map(|why| format!("{event}: {why}"));
    if let Some(line) = silence.or_else(|| master.answer().and_then(workers::trouble)) {
        shown.push_str(&trouble(&line, colours));
    }
    shown
}

/// Refused pushes by reason: "Refused pushes: 2 by max_waiting, 1 by max_bytes; the last one 5 s ago".
pub(super) fn refused_line(refused: &RefusedPushCounts) -> String {
    let RefusedPushCounts { max_waiting, max_bytes, store_full, memory, last_ms } = *refused;
    let reasons = [
        (max_waiting, "by max_waiting"),
        (max_bytes, "by max_bytes"),
        (store_full, "because the store was full"),
        (memory, "for lack of memory in the master"),
    ];
    let reasons: Vec<_> =
        reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{n} {why}")).collect();
    format!("Refused pushes: {}; the last one {} ago", reasons.join(", "), duration(last_ms))
}

/// How long the master has been without its store, and why: " for 12 s: connection refused".
pub(super) fn outage(status: &ChannelStatus) -> Option<String> {
    let error = sanitize::line(status.store_error.as_deref()?);
    let time = status.store_error_ms.map_or(String::new(), |ms| format!(" for {}", duration(ms)));
    Some(format!("{time}: {error}"))
}

/// A line about trouble, in red on a terminal with colours.
pub(super) fn trouble(line: &str, colours: bool) -> String {
    if colours { format!("\x1b[31m{line}\x1b[0m\n") } else { format!("{line}\n") }
}
