//! `queue:status --check`: the state of channels for cron and monitoring systems, in the form of Nagios plugins.
//!
//! Exit codes: 0 ok, 1 warning, 2 critical, 3 unknown, and no others.

use std::process::{self, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::alerts::AlertBook;
use crate::cli::sanitize;
use crate::cli::{CommandContext, Failure};
use crate::config::Channel;
use crate::config::alerts::Severity;
use crate::master;
use crate::store::{AlertRecords, JobCounts, StoreError};

/// Longest time until the answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Most characters of a text of the store in the answer.
const MAX_SHOWN: usize = 200;

/// The states, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

/// The facts about a channel.
struct Facts {
    counts: JobCounts,
    /// Masters that are alive, on all machines.
    masters: usize,
    records: AlertRecords,
    /// The book of this host.
    host_book: Option<String>,
}

/// The state of a channel, and why.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    text: String,
}

/// The exit code of a check that did not come to a result, as of a wrong command line.
pub(crate) const UNKNOWN: u8 = 3;

/// Checks the channels, prints the result and returns its exit code.
pub(crate) fn run(context: &CommandContext, all: bool) -> ExitCode {
    let (done, on_done) = mpsc::channel::<()>();
    thread::spawn(move || {
        if on_done.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
            println!("AINT-QUEUE UNKNOWN - no answer within {} s", TIME_LIMIT.as_secs());
            process::exit(i32::from(UNKNOWN));
        }
    });
    let (level, text) = answer(context, all);
    drop(done);
    match context.print_verbatim(&text) {
        Ok(()) => ExitCode::from(level.code()),
        Err(_) => ExitCode::from(UNKNOWN),
    }
}

fn answer(context: &CommandContext, all: bool) -> (Level, String) {
    let unknown = |failure: &Failure| {
        let why = sanitize::truncated(&failure.message(), 2 * MAX_SHOWN);
        (Level::Unknown, format!("AINT-QUEUE UNKNOWN - {why}\n"))
    };
    // A check without a channel is one of the whole configuration.
    let channels = match context.channels(all || !context.names_channel()) {
        Ok(channels) => channels,
        Err(failure) => return unknown(&failure),
    };
    let findings: Vec<_> = channels.iter().map(|channel| check(context, channel)).collect();
    rendered(&channels.iter().map(|channel| channel.name.as_str()).collect::<Vec<_>>(), &findings)
}

/// The first line, with its performance data, and a line for each channel.
fn rendered(names: &[&str], findings: &[(Finding, Option<JobCounts>)]) -> (Level, String) {
    let level = findings.iter().map(|(finding, _)| finding.level).max().unwrap_or(Level::Unknown);
    let findings_of_level: Vec<_> = names
        .iter()
        .zip(findings)
        .filter(|(_, (finding, _))| finding.level == level)
        .map(|(name, (finding, _))| format!("{name}: {}", finding.text))
        .collect();
    let summary = match level {
        Level::Ok => {
            let counts = findings.iter().filter_map(|(_, counts)| *counts);
            let waiting: u64 = counts.map(|counts| counts.waiting).sum();
            format!("{} channels, {waiting} jobs waiting", names.len())
        }
        _ => findings_of_level.join("; "),
    };
    let data: Vec<_> = names
        .iter()
        .zip(findings)
        .filter_map(|(name, (_, counts))| Some((name, counts.as_ref()?)))
        .flat_map(|(name, counts)| {
            let oldest = counts.front_ready_at.map_or(0.0, |at| counts.now.since(at).as_secs_f64());
            [
                format!("'{name}_waiting'={};;;0", counts.waiting),
                format!("'{name}_delayed'={};;;0", counts.delayed),
                format!("'{name}_reserved'={};;;0", counts.reserved),
                format!("'{name}_failed'={};;;0", counts.failed),
                format!("'{name}_oldest'={oldest:.3}s;;;0"),
            ]
        })
        .collect();
    // The bar separates the text from the data.
    let mut text = format!("AINT-QUEUE {} - {}", level.word(), summary.replace('|', "/"));
    if !data.is_empty() {
        text.push_str(&format!(" | {}", data.join(" ")));
    }
    text.push('\n');
    for (name, (finding, _)) in names.iter().zip(findings) {
        text.push_str(&format!("{} {name}: {}\n", finding.level.word(), finding.text.replace('|', "/")));
    }
    (level, text)
}

fn check(context: &CommandContext, channel: &Channel) -> (Finding, Option<JobCounts>) {
    let host_book = std::fs::read_to_string(master::host_alerts_file(channel)).ok();
    let store = match context.existing_store(channel) {
        Ok(store) => store,
        Err(failure) => {
            let text = sanitize::truncated(&failure.message(), MAX_SHOWN);
            let level = if failure.is_store_down() { Level::Critical } else { Level::Unknown };
            return (Finding { level, text }, None);
        }
    };
    let read = context.block_on(async {
        let counts = store.status().await?;
        let masters = store.masters().await?.iter().filter(|master| master.is_alive()).count();
        Ok::<_, StoreError>((counts, masters, store.alerts().await?))
    });
    match read {
        Ok((counts, masters, records)) => {
            let finding = judge(!channel.rules.is_empty(), &Facts { counts, masters, records, host_book });
            (finding, Some(counts))
        }
        Err(error) => {
            let failure = Failure::store("read the store", error);
            let level = if failure.is_store_down() { Level::Critical } else { Level::Unknown };
            (Finding { level, text: sanitize::truncated(&failure.message(), MAX_SHOWN) }, None)
        }
    }
}

/// The state of a channel: no master is critical, a firing alert has its severity, rules that no master evaluates are unknown.
fn judge(has_rules: bool, facts: &Facts) -> Finding {
    let Facts { counts, masters, records, host_book } = facts;
    let mut found = Vec::new();
    if *masters == 0 {
        found.push((Level::Critical, "no master is alive on any host".to_owned()));
    }
    let is_silenced = |rule: &str| records.silences.iter().any(|silence| silence.covers(rule));
    for text in [records.state.as_deref(), host_book.as_deref()].into_iter().flatten() {
        let Some(book) = AlertBook::read(Some(text)) else {
            found.push((Level::Unknown, "the records of alerts are of a newer version".to_owned()));
            continue;
        };
        let firing =
            book.alerts().filter(|(_, record)| record.phase.is_firing() && !is_silenced(&record.rule));
        for (_, record) in firing {
            let level = match record.severity {
                Severity::Critical => Level::Critical,
                Severity::Warning => Level::Warning,
                Severity::Info => continue,
            };
            let rule = sanitize::truncated(&record.rule, MAX_SHOWN);
            let condition = sanitize::truncated(&record.condition, MAX_SHOWN);
            found.push((level, format!("alert {rule} fires ({condition})")));
        }
    }
    if *masters > 0 && has_rules && records.holder.is_none() {
        found.push((Level::Unknown, "no master evaluates the rules of alerts".to_owned()));
    }
    let level = found.iter().map(|(level, _)| *level).max().unwrap_or(Level::Ok);
    let mut text: Vec<_> = found.into_iter().filter(|(of, _)| *of == level).map(|(_, text)| text).collect();
    if level == Level::Ok {
        text.push(format!("{} waiting, {} failed, {masters} masters", counts.waiting, counts.failed));
    }
    Finding { level, text: text.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;
    use crate::store::Silence;

    fn book(rule: &str, severity: &str, phase: &str) -> String {
        serde_json::json!({ "version": 1, "alerts": { "7": {
            "rule": rule, "severity": severity, "condition": "waiting > 5", "values": { "waiting": 9.0 },
            "phase": phase, "since": 1_796_029_200_000_000_u64,
        }}})
        .to_string()
    }

    fn facts(state: Option<String>) -> Facts {
        Facts {
            counts: JobCounts { waiting: 3, failed: 1, ..JobCounts::default() },
            masters: 2,
            records: AlertRecords {
                holder: Some(("w".to_owned(), Duration::from_secs(20))),
                state,
                ..AlertRecords::default()
            },
            host_book: None,
        }
    }

    fn judged(facts: &Facts) -> (Level, String) {
        let Finding { level, text } = judge(true, facts);
        (level, text)
    }

    #[test]
    fn state_is_that_of_the_worst_alert() {
        assert_eq!(judged(&facts(None)), (Level::Ok, "3 waiting, 1 failed, 2 masters".to_owned()));
        let warning = (Level::Warning, "alert backlog fires (waiting > 5)".to_owned());
        assert_eq!(judged(&facts(Some(book("backlog", "warning", "firing")))), warning);
        let mut both = facts(Some(book("backlog", "warning", "firing")));
        both.host_book = Some(book("store_down", "critical", "firing"));
        assert_eq!(judged(&both), (Level::Critical, "alert store_down fires (waiting > 5)".to_owned()));
        assert_eq!(judged(&facts(Some(book("backlog", "warning", "pending")))).0, Level::Ok);
        assert_eq!(judged(&facts(Some(book("paused", "info", "firing")))).0, Level::Ok);
        assert_eq!(judged(&facts(Some("{\"version\":9}".to_owned()))).0, Level::Unknown);
    }

    #[test]
    fn silenced_alert_is_no_finding() {
        let mut facts = facts(Some(book("backlog", "critical", "firing")));
        let silence =
            |rule: &str| Silence { rule: rule.to_owned(), until: Timestamp(1), comment: String::new() };
        facts.records.silences = vec![silence("slow")];
        assert_eq!(judged(&facts).0, Level::Critical);
        facts.records.silences = vec![silence("*")];
        assert_eq!(judged(&facts).0, Level::Ok);
    }

    #[test]
    fn channel_without_master_or_without_a_watch_is_not_ok() {
        let mut facts = facts(None);
        facts.records.holder = None;
        assert_eq!(judged(&facts), (Level::Unknown, "no master evaluates the rules of alerts".to_owned()));
        assert_eq!(judge(false, &facts).level, Level::Ok, "without a receiver there are no rules");
        facts.masters = 0;
        assert_eq!(judged(&facts), (Level::Critical, "no master is alive on any host".to_owned()));
    }

    #[test]
    fn first_line_has_the_form_of_a_plugin() {
        let counts = JobCounts {
            waiting: 3,
            front_ready_at: Some(Timestamp(1_000_000)),
            now: Timestamp(3_500_000),
            ..JobCounts::default()
        };
        let ok = Finding { level: Level::Ok, text: "3 waiting".to_owned() };
        let bad = Finding { level: Level::Critical, text: "alert a|b fires".to_owned() };
        let (level, text) = rendered(&["mail", "sms"], &[(ok, Some(counts)), (bad, None)]);
        assert_eq!(level, Level::Critical);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "AINT-QUEUE CRITICAL - sms: alert a/b fires | 'mail_waiting'=3;;;0 'mail_delayed'=0;;;0 \
                 'mail_reserved'=0;;;0 'mail_failed'=0;;;0 'mail_oldest'=2.500s;;;0",
                "OK mail: 3 waiting",
                "CRITICAL sms: alert a/b fires",
            ]
        );
        assert_eq!(
            [Level::Ok, Level::Warning, Level::Critical, Level::Unknown].map(Level::code),
            [0, 1, 2, 3]
        );
    }
}
