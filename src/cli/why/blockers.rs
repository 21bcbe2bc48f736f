//! What keeps a channel from running any job at all. Pure.

use super::facts::{Facts, Master};
use crate::cli::workers::next_try;
use crate::cli::{text, time};
use crate::pool::SizingReason;

/// A reason, as a word for programs and as a part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl Clause {
    pub(super) fn new(reason: &'static str, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

/// All that holds the channel up, the weightiest first; empty when nothing does.
pub(super) fn blockers(facts: &Facts) -> Vec<Clause> {
    let mut found = Vec::new();
    if facts.counts.paused {
        let until = match facts.counts.paused_until {
            Some(until) => format!("until {}", time::local(until)),
            None => "until somebody runs queue:resume".to_owned(),
        };
        found.push(Clause::new("paused", format!("the channel is paused {until}")));
    }
    match &facts.master {
        Master::None => found.push(Clause::new("no_master", no_master(facts))),
        Master::Silent { pid, why } => {
            let pid = pid.map_or(String::new(), |pid| format!(" {pid}"));
            let why = text::plain(why);
            found.push(Clause::new("silent", format!("its master{pid} does not answer: {why}")));
        }
        Master::Answers { pid, view } => {
            let report = &view.report;
            if report.stopping {
                found.push(Clause::new("stopping", format!("its master {pid} is stopping")));
            }
            if report.quiet {
                let text = format!("its master {pid} was told to take no jobs (queue:resume ends that)");
                found.push(Clause::new("quiet", text));
            }
            if let Some(error) = &report.store_error {
                let error = text::plain(error);
                found.push(Clause::new("store", format!("its master {pid} cannot use the store: {error}")));
            }
            // Where demand counts as well, it brings workers before anybody reads this.
            let scaled = report.pool.scaled.last().map(|scaled| scaled.decision);
            if scaled
                .is_some_and(|decision| decision.workers == 0 && decision.why == SizingReason::ManualMinimum)
            {
                let text = "somebody has scaled it to no workers (queue:scale +1 brings one)";
                found.push(Clause::new("scaled", text));
            }
            if report.pool.degraded {
                let error = report.worker_error.as_deref().unwrap_or("they fail again and again");
                let next = next_try(report).map_or(String::new(), |next| format!(" ({next})"));
                let error = text::plain(error);
                found.push(Clause::new("degraded", format!("no worker can be started: {error}{next}")));
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
    format!("{} {}", text::jobs(count), if count == 1 { "is" } else { "are" })
}

/// All of them as one text.
pub(super) fn joined(clauses: &[Clause]) -> String {
    let texts: Vec<_> = clauses.iter().map(|clause| clause.text.as_str()).collect();
    texts.join("; also, ")
}
