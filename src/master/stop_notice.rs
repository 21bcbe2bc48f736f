//! The notice after the first stop signal: a person at the terminal learns why the master still runs, and how to end it at once.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tracing::info;

use crate::logging::write_with_deadline;

/// The notice, except for the number of jobs.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopNotice {
    /// How long running jobs may take to finish.
    pub(super) wait: Duration,
    /// Whether the log is a file, which the person at the terminal does not see.
    pub(super) has_log_file: bool,
}

impl StopNotice {
    /// Gives the notice in the log, and on a terminal that does not show the log.
    pub(super) fn give(self, running: usize) {
        if running == 0 {
            return;
        }
        let is_terminal = io::stderr().is_terminal();
        let text = self.text(running, is_terminal);
        info!(running, "{text}");
        if self.has_log_file && is_terminal {
            // The write waits for a terminal that is stopped with Ctrl-S, up to its deadline.
            tokio::task::spawn_blocking(move || write_with_deadline(text + "\n"));
        }
    }

    fn text(self, running: usize, is_terminal: bool) -> String {
        let jobs = if running == 1 { "1 running job".to_owned() } else { format!("{running} running jobs") };
        let again = if is_terminal { "press Ctrl-C again to kill" } else { "a second signal kills" };
        let them = if running == 1 { "it" } else { "them" };
        format!("stopping after {jobs}, within {} s: {again} {them}", self.wait.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_counts_jobs_and_names_the_way_out() {
        let notice = StopNotice { wait: Duration::from_secs(30), has_log_file: false };
        assert_eq!(
            notice.text(1, true),
            "stopping after 1 running job, within 30 s: press Ctrl-C again to kill it"
        );
        assert_eq!(
            notice.text(2, false),
            "stopping after 2 running jobs, within 30 s: a second signal kills them"
        );
    }
}
