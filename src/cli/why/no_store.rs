//! Explains a channel whose store this command cannot use, from what its master knows. Pure.

use serde_json::{Value as Json, json};

use crate::channel::{ChannelDetails, HeldJobStatus, LastCounts};
use crate::cli::control::MasterState;
use crate::cli::{render, sanitize};
use crate::job::JobId;
use crate::why::{Explanation, outage, reasons};

/// A channel without its store.
#[derive(Debug)]
pub(super) struct NoStore {
    pub(super) channel: String,
    /// The job that the command is about.
    pub(super) id: Option<JobId>,
    /// Why this command cannot use the store.
    pub(super) error: String,
    pub(super) master: MasterState<(i32, Box<ChannelDetails>)>,
}

impl NoStore {
    /// The reason, the knowledge of the master, and the remedy.
    pub(super) fn explain(&self) -> Explanation {
        let error = sanitize::line(&self.error);
        let Some((pid, details)) = self.master.answer() else {
            let master = self.silence();
            let values: &[(_, &dyn std::fmt::Display)] =
                &[("channel", &self.channel), ("error", &error), ("master", &master)];
            return reasons::NO_STORE_ALONE.explain(values);
        };
        let job = self.job(*pid, details);
        let Some(master_error) = &details.report.store_error else {
            return reasons::NO_STORE_HERE.explain(&[
                ("job", &job),
                ("channel", &self.channel),
                ("error", &error),
                ("pid", pid),
            ]);
        };
        reasons::NO_STORE.explain(&[
            ("job", &job),
            ("channel", &self.channel),
            ("error", &error),
            ("pid", pid),
            ("outage", &outage(&details.report)),
            ("master_error", &sanitize::line(master_error)),
            ("runs", &runs(details)),
            ("counts", &details.last_counts.map_or(String::new(), counts)),
        ])
    }

    /// Why the master tells nothing.
    fn silence(&self) -> String {
        let pid = self.master.pid().map_or(String::new(), |pid| format!(" {pid}"));
        match (&self.master, self.master.error()) {
            (MasterState::Elsewhere(other), _) => sanitize::line(&other.clause()).into_owned(),
            (_, Some(error)) if self.master.is_denied() => format!("master{pid} cannot be asked: {error}"),
            (_, Some(error)) => format!("master{pid} is not responding: {error}"),
            (_, None) => "no master of the channel runs on this machine".to_owned(),
        }
    }

    /// A sentence about the job.
    fn job(&self, pid: i32, details: &ChannelDetails) -> String {
        let Some(id) = self.id else { return String::new() };
        let state = match &details.job {
            Some(HeldJobStatus::Running(run)) => {
                format!("has been running for {} in master {pid}", render::duration(run.ms))
            }
            Some(HeldJobStatus::Ready { .. }) => format!("is leased by master {pid} and waiting for a slot"),
            Some(HeldJobStatus::Settling) => {
                format!("has ended its run; master {pid} settles it when it can")
            }
            None => format!("is not held by master {pid}; only the store knows its state"),
        };
        format!("Job {id} {state}. ")
    }

    /// JSON form of the facts.
    pub(super) fn json(&self) -> Json {
        let details = self.master.answer().map(|(_, details)| details);
        let status = details.map(|details| &details.report);
        json!({
            "channel": {
                "master": self.master.is_running(),
                "pid": self.master.answer().map(|(pid, _)| *pid).or(self.master.pid()),
                "error": self.error,
                "store_error": status.and_then(|status| status.store_error.as_deref()),
                "store_error_ms": status.and_then(|status| status.store_error_ms),
                "running": status.map(|status| status.running),
                "last_counts": details.and_then(|details| details.last_counts),
            },
            "job": details.and_then(|details| details.job.as_ref()).map(|job| json!({ "held": job })),
        })
    }
}

/// A sentence about the jobs in workers.
fn runs(details: &ChannelDetails) -> String {
    match details.report.running as u64 {
        0 => String::new(),
        1 => "1 job continues to run. ".to_owned(),
        n => format!("{n} jobs continue to run. "),
    }
}

/// A sentence about the last known numbers of jobs.
fn counts(counts: LastCounts) -> String {
    let LastCounts { waiting, reserved, delayed, failed, ago_ms } = counts;
    let parts: Vec<_> =
        [(waiting, "waiting"), (reserved, "reserved"), (delayed, "delayed"), (failed, "failed")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, state)| format!("{count} {state}"))
            .collect();
    let parts = if parts.is_empty() { "no jobs".to_owned() } else { parts.join(", ") };
    format!("Last known, {} ago: {parts}. ", render::duration(ago_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelStatus;
    use crate::cli::control::ServedPlace;

    fn without_store(details: ChannelDetails, id: Option<u64>) -> NoStore {
        NoStore {
            channel: "mail".to_owned(),
            id: id.map(JobId),
            error: "redis at x:1: connection refused".to_owned(),
            master: MasterState::Responding {
                pid: Some(42),
                answer: (42, Box::new(details)),
                place: ServedPlace::default(),
            },
        }
    }

    #[test]
    fn outage_of_both_names_what_the_master_knows() {
        let report = ChannelStatus {
            running: 2,
            store_error: Some("refused\x1b".to_owned()),
            store_error_ms: Some(12_000),
            ..ChannelStatus::default()
        };
        let last = LastCounts { waiting: 7, reserved: 2, ago_ms: 61_000, ..LastCounts::default() };
        let details = ChannelDetails { report, last_counts: Some(last), ..ChannelDetails::default() };
        let explained = without_store(details.clone(), None).explain();
        assert_eq!(
            explained.text,
            "Channel \"mail\" is blocked: this command cannot use the store (redis at x:1: connection refused), nor can master \
             42 for 12.0 s (refused\\u{1b}). 2 jobs continue to run. Last known, 1 min ago: 7 waiting, 2 reserved. Start or \
             repair the store: the master resumes within two seconds of its return."
        );
        assert_eq!(explained.reason, "store");
        let of_job = without_store(details, Some(17)).explain().text;
        assert!(
            of_job.starts_with("Job 17 is not held by master 42; only the store knows its state. Channel"),
            "{of_job}"
        );
    }

    #[test]
    fn store_that_the_master_can_use_is_the_commands_problem() {
        let details = ChannelDetails { job: Some(HeldJobStatus::Settling), ..ChannelDetails::default() };
        let text = without_store(details, Some(17)).explain().text;
        assert!(text.starts_with("Job 17 has ended its run; "), "{text}");
        assert!(text.contains("but master 42 can: check the address"), "{text}");
    }

    #[test]
    fn missing_master_is_said() {
        let alone =
            NoStore { master: MasterState::NotRunning, ..without_store(ChannelDetails::default(), None) };
        let text = alone.explain().text;
        assert!(
            text.contains("and no master of the channel runs on this machine. Start or repair"),
            "{text}"
        );
    }
}
