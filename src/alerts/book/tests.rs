//! Tests of a book: rules in, messages out.

use std::time::Duration;

use super::*;
use crate::config::Config;

const START: u64 = 1_796_029_200_000_000;

fn at(second: u64) -> Timestamp {
    Timestamp(START + second * 1_000_000)
}

/// A channel with this many waiting jobs; `None` while they are unknown.
struct Waiting(Option<f64>);

impl Values for Waiting {
    fn value(&self, field: Field) -> Option<f64> {
        (field == Field::Waiting).then_some(self.0).flatten()
    }

    fn window(&self, _: Field, _: Duration) -> Vec<(f64, f64)> {
        Vec::new()
    }
}

fn settings(more: &str) -> Alerts {
    let text = format!(
        "[alerts]\n{more}\nreceivers.team = {{ type = \"log\" }}\nreceivers.mail = {{ type = \"log\" }}\n[channels.a]\n"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load(file.path()).unwrap().alerts.unwrap()
}

fn rule(name: &str, when: &str, severity: Severity) -> Rule {
    Rule { severity, ..Rule::new(name, when.parse().unwrap()) }
}

fn silence(rule: &str) -> Silence {
    Silence { rule: rule.to_owned(), until: at(1_000_000), comment: String::new() }
}

fn circumstances<'a>(
    settings: &'a Alerts,
    rules: &'a [Rule],
    silences: &'a [Silence],
    now: Timestamp,
) -> Circumstances<'a> {
    Circumstances { channel: "a", settings, rules, silences, is_paused: false, now }
}

/// A book with its rules, and the delivered messages: second, receiver, firing rules, resolved rules.
struct Bench {
    book: AlertBook,
    settings: Alerts,
    rules: Vec<Rule>,
    silences: Vec<Silence>,
    messages: Vec<(u64, String, Vec<String>, Vec<String>)>,
}

impl Bench {
    fn new(more: &str, rules: Vec<Rule>) -> Self {
        let (book, settings) = (AlertBook::default(), settings(more));
        Self { book, settings, rules, silences: Vec::new(), messages: Vec::new() }
    }

    /// Looks every five seconds of `seconds` with this many waiting jobs, and delivers what is due.
    fn run(&mut self, seconds: std::ops::Range<u64>, waiting: impl Into<Option<f64>>) {
        let values = Waiting(waiting.into());
        for second in seconds.step_by(5) {
            let now = at(second);
            self.book.evaluate("a", None, self.rules.iter(), &values, now);
            let circumstances = circumstances(&self.settings, &self.rules, &self.silences, now);
            for (receiver, due) in self.book.due(&circumstances) {
                let message = self.book.notification(&due, &circumstances, "h", None, &values);
                let names = |firing: bool| {
                    let alerts = message.alerts.iter();
                    let chosen = alerts.filter(|alert| (alert.status == AlertStatus::Firing) == firing);
                    chosen.map(|alert| alert.rule.to_string()).collect::<Vec<_>>()
                };
                self.messages.push((second, receiver.clone(), names(true), names(false)));
                self.book.sent(&receiver, None, now);
            }
        }
    }

    /// The book as the next holder of the watch reads it.
    fn pass_on(&mut self) {
        self.book = AlertBook::read(self.book.text().as_deref()).unwrap();
    }

    fn of(&self, receiver: &str) -> Vec<(u64, Vec<&str>, Vec<&str>)> {
        fn texts(names: &[String]) -> Vec<&str> {
            names.iter().map(String::as_str).collect()
        }
        let own = self.messages.iter().filter(|(_, name, ..)| name == receiver);
        own.map(|(second, _, firing, resolved)| (*second, texts(firing), texts(resolved))).collect()
    }
}

#[test]
fn backlog_is_sent_once_repeated_and_resolved_once() {
    let mut bench = Bench::new("resend = 600", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.run(0..1000, 9.0);
    bench.run(1000..3000, 1.0);
    let expected =
        [(10, vec!["backlog"], vec![]), (610, vec!["backlog"], vec![]), (1000, vec![], vec!["backlog"])];
    assert_eq!(bench.of("team"), expected);
    assert_eq!(bench.of("mail"), expected, "without routes every receiver gets everything");
    assert_eq!(bench.book.alerts().count(), 0);
    let recent: Vec<_> = bench.book.recent().collect();
    assert_eq!((recent.len(), recent[0].rule.as_str(), recent[0].ended.at), (1, "backlog", at(1000)));
}

#[test]
fn next_holder_neither_repeats_nor_forgets() {
    let mut bench = Bench::new("", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.run(0..60, 9.0);
    for begin in [60, 120, 180] {
        bench.pass_on();
        bench.run(begin..begin + 60, 9.0);
    }
    bench.pass_on();
    bench.run(300..400, 1.0);
    bench.pass_on();
    bench.run(400..900, 1.0);
    assert_eq!(bench.of("team"), [(10, vec!["backlog"], vec![]), (300, vec![], vec!["backlog"])]);
}

#[test]
fn holder_that_dies_with_a_message_on_its_way_has_it_sent_again() {
    let mut bench = Bench::new("", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.run(0..10, 9.0);
    let circumstances = circumstances(&bench.settings, &bench.rules, &bench.silences, at(10));
    assert_eq!(bench.book.due(&circumstances).len(), 2);
    assert_eq!(bench.book.due(&circumstances).len(), 0, "one message at a time");
    bench.pass_on();
    bench.run(10..15, 9.0);
    assert_eq!(bench.of("team"), [(10, vec!["backlog"], vec![])]);
}

#[test]
fn message_on_its_way_is_not_taken_back_with_others() {
    let mut bench = Bench::new("", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.run(0..10, 9.0);
    let circumstances = circumstances(&bench.settings, &bench.rules, &bench.silences, at(10));
    assert_eq!(bench.book.due(&circumstances).len(), 2);
    bench.book.take_back(["mail"]);
    let due = bench.book.due(&circumstances);
    assert_eq!(due.iter().map(|(receiver, _)| receiver.as_str()).collect::<Vec<_>>(), ["mail"]);
}

#[test]
fn unknown_values_neither_fire_nor_end() {
    let mut bench = Bench::new("", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.run(0..100, None);
    assert_eq!(bench.messages, []);
    bench.run(100..200, 9.0);
    bench.run(200..900, None);
    assert_eq!(bench.of("team").len(), 1);
}

#[test]
fn routes_and_own_receivers_decide_who_gets_an_alert() {
    let route = "route = [{ severity = \"critical\", to = [\"mail\"] }, { to = [\"team\"] }]";
    let own = Rule {
        to: Some(vec!["mail".to_owned(), "team".to_owned()]),
        ..rule("own", "waiting > 5", Severity::Info)
    };
    let rules =
        vec![rule("bad", "waiting > 5", Severity::Critical), rule("odd", "waiting > 5", Severity::Info), own];
    let mut bench = Bench::new(route, rules);
    bench.run(0..60, 9.0);
    assert_eq!(bench.of("mail"), [(10, vec!["bad", "own"], vec![])], "the more severe ones first");
    assert_eq!(bench.of("team"), [(10, vec!["odd", "own"], vec![])]);
}

#[test]
fn silence_holds_messages_back_and_its_end_sends_them() {
    let mut bench = Bench::new("", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.silences.push(silence("backlog"));
    bench.run(0..500, 9.0);
    assert_eq!(bench.messages, []);
    bench.silences.clear();
    bench.run(500..600, 9.0);
    assert_eq!(bench.of("team"), [(510, vec!["backlog"], vec![])]);
    bench.silences.push(silence("*"));
    bench.run(600..900, 1.0);
    bench.silences.clear();
    bench.run(900..1000, 1.0);
    assert_eq!(bench.of("team")[1..], [(900, vec![], vec!["backlog"])]);
}

#[test]
fn quiet_hours_hold_all_but_severe_alerts() {
    // The start is 09:00 in UTC.
    let hours = "quiet_hours = [{ from = \"08:00\", to = \"09:10\", zone = \"UTC\", below = \"critical\" }]";
    let rules =
        vec![rule("bad", "waiting > 5", Severity::Critical), rule("slow", "waiting > 5", Severity::Warning)];
    let mut bench = Bench::new(hours, rules);
    assert_eq!(START / 1_000_000 % 86_400, 9 * 3600);
    bench.run(0..700, 9.0);
    assert_eq!(bench.of("team"), [(10, vec!["bad"], vec![]), (600, vec!["bad", "slow"], vec![])]);
}

#[test]
fn channel_without_workers_has_no_backlog_to_tell() {
    let rules = vec![
        rule("degraded", "waiting > 5", Severity::Critical),
        rule("backlog", "waiting > 5", Severity::Warning),
    ];
    let mut bench = Bench::new("", rules);
    bench.run(0..60, 9.0);
    assert_eq!(bench.of("team"), [(10, vec!["degraded"], vec![])]);
}

#[test]
fn host_without_a_store_has_no_other_alert_to_tell() {
    let rules = vec![
        rule("store_down", "waiting > 7", Severity::Critical),
        rule("slow_store", "waiting > 5", Severity::Critical),
    ];
    let mut bench = Bench::new("", rules);
    bench.run(0..60, 9.0);
    assert_eq!(bench.of("team"), [(10, vec!["store_down"], vec![])]);
    bench.run(60..120, 6.0);
    assert_eq!(bench.of("team")[1..], [(70, vec!["slow_store"], vec!["store_down"])]);
}

#[test]
fn alertmanager_is_sent_every_alert_each_minute() {
    let mut bench = Bench::new("", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.settings = settings("receivers.am = { type = \"alertmanager\", url = \"http://127.0.0.1:9093\" }");
    bench.run(0..130, 9.0);
    bench.run(130..300, 1.0);
    let firing = |second| (second, vec!["backlog"], vec![]);
    assert_eq!(bench.of("am"), [firing(0), firing(60), firing(120), (130, vec![], vec!["backlog"])]);
    assert_eq!(bench.of("team").len(), 2);
}

#[test]
fn alert_of_a_removed_rule_ends() {
    let mut bench = Bench::new("", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.run(0..60, 9.0);
    bench.rules.clear();
    bench.run(60..300, 9.0);
    assert_eq!(bench.of("team"), [(10, vec!["backlog"], vec![]), (70, vec![], vec!["backlog"])]);
}

#[test]
fn end_is_described_by_the_values_of_its_alert() {
    let mut bench = Bench::new("group_wait = 0", vec![rule("backlog", "waiting > 5", Severity::Warning)]);
    bench.run(0..5, 9.0);
    let (values, now) = (Waiting(Some(1.0)), at(300));
    bench.book.evaluate("a", None, bench.rules.iter(), &values, now);
    let circumstances = circumstances(&bench.settings, &bench.rules, &bench.silences, now);
    let (_, due) = bench.book.due(&circumstances).remove(0);
    let message = bench.book.notification(&due, &circumstances, "h", None, &values);
    let alert = &message.alerts[0];
    assert_eq!(alert.status, AlertStatus::Resolved(now));
    assert_eq!((alert.started_at, alert.values[&Field::Waiting]), (at(0), 9.0));
    assert_eq!(alert.fields, [Field::Waiting]);
}

#[test]
fn book_of_another_form_is_not_read() {
    assert_eq!(AlertBook::read(None), Some(AlertBook::default()));
    assert_eq!(AlertBook::read(Some("{}")), Some(AlertBook::default()));
    for text in ["", "7", r#"{"version":2}"#, r#"{"alerts":{"x":1}}"#] {
        assert_eq!(AlertBook::read(Some(text)), None, "{text}");
    }
}
