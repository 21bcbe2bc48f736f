//! The alerts of a channel for display: its records in the store together with the book of this host.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::book::{AlertBook, AlertRecord, Answer, EndedAlert};
use super::host_report::HostReport;
use super::outbox::ReceiverStatus;
use super::{Fingerprint, Phase};
use crate::job::Timestamp;
use crate::store::{AlertRecords, Silence};

/// The known alerts of a channel.
#[derive(Clone, Debug)]
pub struct ChannelAlerts {
    /// The time of the records, by the store's clock.
    pub now: Timestamp,
    /// The host that watches the channel; `None` if none does.
    pub watched_by: Option<String>,
    /// Hosts whose masters take part.
    pub hosts: BTreeSet<String>,
    /// The silences in force.
    pub silences: Vec<Silence>,
    /// The deliveries of each running master that have something to say, by host and receiver.
    pub deliveries: Vec<(String, String, ReceiverStatus)>,
    /// Hosts with further ones, for which their reports had no room, and how many.
    pub left_out: Vec<(String, usize)>,
    /// The book of the channel, and that of this host.
    books: Vec<AlertBook>,
}

/// An alert that fires or is about to.
#[derive(Clone, Copy, Debug)]
pub struct PresentAlert<'a> {
    /// The alert.
    pub record: &'a AlertRecord,
    /// Whether it fires; it is pending otherwise.
    pub is_firing: bool,
    /// The time since which it fires or is pending.
    pub since: Timestamp,
    /// The last message about it to any receiver.
    pub last_sent: Option<Timestamp>,
    /// The identity of the alert.
    pub fingerprint: Fingerprint,
}

impl PresentAlert<'_> {
    /// The word of its state.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.is_firing { "firing" } else { "pending" }
    }
}

impl ChannelAlerts {
    /// The alerts in the records of a store and in the book of this host, if it has one.
    #[must_use]
    pub fn of(records: AlertRecords, host_book: Option<&str>) -> Self {
        let read = |text: &str| HostReport::read(text);
        let reports =
            records.reports.iter().filter_map(|report| Some((&report.watcher, read(&report.text)?)));
        let reports: Vec<_> = reports.collect();
        let host_of = |watcher: &str| {
            let report = reports.iter().find(|(name, _)| *name == watcher);
            report.map_or_else(|| "unknown".to_owned(), |(_, report)| report.host.clone())
        };
        let books = [records.state.as_deref(), host_book];
        Self {
            now: records.now,
            watched_by: records.holder.as_ref().map(|(name, _)| host_of(name)),
            hosts: reports.iter().map(|(_, report)| report.host.clone()).collect(),
            deliveries: reports.iter().flat_map(|(_, report)| deliveries(report)).collect(),
            left_out: reports
                .iter()
                .map(|(_, report)| (report.host.clone(), report.left_out()))
                .filter(|(_, left_out)| *left_out > 0)
                .collect(),
            books: books.into_iter().filter_map(AlertBook::read).collect(),
            silences: records.silences,
        }
    }

    /// Whether no message of this rule is sent.
    #[must_use]
    pub fn is_silenced(&self, rule: &str) -> bool {
        self.silences.iter().any(|silence| silence.covers(rule))
    }

    /// The alerts of all books: firing ones first, the more severe ones first.
    #[must_use]
    pub fn present(&self) -> Vec<PresentAlert<'_>> {
        let alerts =
            self.books.iter().flat_map(|book| book.alerts().map(move |(of, record)| (book, of, record)));
        let present = alerts.filter_map(|(book, fingerprint, record)| {
            let (is_firing, since) = match record.phase {
                Phase::Firing { since, .. } => (true, since),
                Phase::Pending { since, .. } => (false, since),
                Phase::Ended(_) => return None,
            };
            let last_sent = book.last_sent(fingerprint);
            Some(PresentAlert { record, is_firing, since, last_sent, fingerprint })
        });
        let mut present: Vec<_> = present.collect();
        present.sort_by_key(|alert| (!alert.is_firing, Reverse(alert.record.severity), alert.since));
        present
    }

    /// The last ended alerts of all books, the newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<&EndedAlert> {
        let mut recent: Vec<_> = self.books.iter().flat_map(AlertBook::recent).collect();
        recent.sort_by_key(|ended| Reverse(ended.ended.at));
        recent
    }

    /// The last answers of receivers, as each book has them.
    pub fn answers(&self) -> impl Iterator<Item = (&String, &Answer)> + Clone {
        self.books.iter().flat_map(AlertBook::answers)
    }
}

fn deliveries(report: &HostReport) -> impl Iterator<Item = (String, String, ReceiverStatus)> {
    let host = &report.host;
    let all = report.deliveries().iter();
    all.map(move |(receiver, delivery)| (host.clone(), receiver.clone(), delivery.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A book with one alert of a rule.
    fn book(rule: &str, phase: &str, severity: &str) -> String {
        format!(
            r#"{{"version":1,"alerts":{{"{}":{{"rule":"{rule}","severity":"{severity}","condition":"waiting > 0","phase":"{phase}","since":5,"at":9,"values":{{}}}}}}}}"#,
            Fingerprint::of("mail", rule, None).0
        )
    }

    #[test]
    fn books_of_channel_and_host_are_shown_together() {
        let silence = Silence { rule: "memory".to_owned(), until: Timestamp(9), comment: String::new() };
        let records = AlertRecords {
            state: Some(book("backlog", "pending", "critical")),
            silences: vec![silence],
            ..AlertRecords::default()
        };
        let alerts = ChannelAlerts::of(records, Some(&book("memory", "firing", "warning")));
        let present: Vec<_> =
            alerts.present().iter().map(|alert| (alert.record.rule.clone(), alert.state())).collect();
        assert_eq!(present, [("memory".to_owned(), "firing"), ("backlog".to_owned(), "pending")]);
        assert!(alerts.is_silenced("memory") && !alerts.is_silenced("backlog"));
        let none = ChannelAlerts::of(AlertRecords::default(), None);
        assert!(none.present().is_empty() && none.watched_by.is_none());
    }
}
