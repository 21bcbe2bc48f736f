//! What keeps a channel from running any job at all. Pure.

use super::facts::{Facts, MasterFacts};
use crate::cli::workers::next_try;
use crate::cli::{sanitize, time};
use crate::pool::SizingReason;

/// A reason, as a word for programs and as a part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl Explanation {
    pub(super) fn new(reason: &'static str, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// All that holds the channel up, the weightiest first; empty when nothing does.
pub(super) fn blockers(facts: &Facts) -> Vec<Explanation> {
    let mut found = Vec::new();
    if facts.counts.paused {
        let until = match facts.counts.paused_until {
            Some(until) => format!("until {}", time::local(until)),
            None => "until somebody runs queue:resume".to_owned(),
        };
        found.push(Explanation::new("paused", format!("the channel is paused {until}")));
    }
    match &facts.master {
        MasterFacts::None => found.push(Explanation::new("no_master", no_master(facts))),
        MasterFacts::Silent { pid, why } => {
            let pid = pid.map_or(String::new(), |pid| format!(" {pid}"));
            let why = sanitize::line(why);
            found.push(Explanation::new("silent", format!("its master{pid} does not answer: {why}")));
        }
        MasterFacts::Answers { pid, view } => {
            let report = &view.report;
            if report.stopping {
                found.push(Explanation::new("stopping", format!("its master {pid} is stopping")));
            }
            if report.quiet {
                let text = format!("its master {pid} was told to take no jobs (queue:resume ends that)");
                found.push(Explanation::new("quiet", text));
            }
            if let Some(error) = &report.store_error {
                let error = sanitize::line(error);
                found.push(Explanation::new(
                    "store",
                    format!("its master {pid} cannot use the store: {error}"),
                ));
            }
            // Where demand counts as well, it brings workers before anybody reads this.
            let scaled = report.pool.scaled.last().map(|scaled| scaled.decision);
            if scaled
                .is_some_and(|decision| decision.workers == 0 && decision.why == SizingReason::ManualMinimum)
            {
                let text = "somebody has scaled it to no workers (queue:scale +1 brings one)";
                found.push(Explanation::new("scaled", text));
            }
            if report.pool.degraded {
                let error = report.worker_error.as_deref().unwrap_or("they fail again and again");
                let next = next_try(report).map_or(String::new(), |next| format!(" ({next})"));
                let error = sanitize::line(error);
                found.push(Explanation::new("degraded", format!("no worker can be started: {error}{next}")));
            }
        }
    }
    found
}

fn no_master(facts: &Facts) -> String {
    let here = "no master of the channel runs here (queue:listen starts one)";
    match facts.counts.reserved {
        0 => here.to_owned(),
        n => format!("{here}, though {} reserved, so one may run elsewhere", are(n)),
    }
}

/// `1 job is`, `2 jobs are`.
pub(super) fn are(count: u64) -> String {
    format!("{} {}", sanitize::jobs(count), if count == 1 { "is" } else { "are" })
}

/// All of them as one text.
pub(super) fn joined(explanations: &[Explanation]) -> String {
    let texts: Vec<_> = explanations.iter().map(|explanation| explanation.text.as_str()).collect();
    texts.join("; also, ")
}
