//! The words of a message: title, why an alert fires, its values, commands to run and a link.
//!
//! `words` has the words of each language, `format` writes numbers with their units, `summary` says in one sentence what an alert
//! means. `snapshot` has the words of a snapshot. `escape` keeps text from jobs and templates from being read as markup or as a mention.

pub(super) mod escape;
mod format;
mod snapshot;
mod summary;
mod words;

use crate::config::alerts::{Language, Severity};

use super::notification::{Alert, AlertStatus, Notification};
use format::{Formats, at};
pub(super) use snapshot::SnapshotText;
use words::Words;

/// Most alerts of a message that are described; the others are counted.
const MAX_ALERTS: usize = 10;
/// Most characters of a text from a rule or a job.
const MAX_TEXT: usize = 200;

/// The words of a message, without markup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// The title, on one line.
    pub(super) title: String,
    /// The most severe of the firing alerts; `None` when all have ended.
    pub(super) severity: Option<Severity>,
    /// The alerts.
    pub(super) alerts: Vec<AlertText>,
    /// The sentence about alerts that are left out; empty for none.
    pub(super) more: String,
    /// The heading of the commands.
    pub(super) commands_label: &'static str,
    /// The commands to run.
    pub(super) commands: Vec<String>,
    /// The label of the link and its URL.
    pub(super) link: Option<(&'static str, String)>,
}

/// The words of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlertText {
    /// The rule, its status and its severity.
    pub(super) heading: String,
    /// The meaning, in a sentence.
    pub(super) summary: String,
    /// Labels and values: why, the values, since when, where.
    pub(super) facts: Vec<(String, String)>,
    /// The URL of the instructions.
    pub(super) runbook: Option<String>,
}

impl Text {
    /// The words of a message in a language.
    pub(super) fn of(notification: &Notification, language: Language) -> Self {
        let words = Words::of(language);
        let shown = &notification.alerts[..notification.alerts.len().min(MAX_ALERTS)];
        let hidden = notification.alerts.len() - shown.len();
        let channel = &notification.channel;
        let rule = notification.alerts.first().map_or("", |alert| &alert.rule);
        Self {
            title: title(notification, &words),
            severity: firing(notification).map(|alert| alert.severity).max(),
            alerts: shown.iter().map(|alert| AlertText::of(alert, notification, &words)).collect(),
            more: if hidden > 0 { words.more(hidden) } else { String::new() },
            commands_label: words.commands,
            commands: vec![
                format!("aint-queue queue:why -t {channel}"),
                format!("aint-queue queue:status --workers -t {channel}"),
                escape::line(&format!("aint-queue queue:alerts --silence {rule} 1h -t {channel}")),
            ],
            link: notification
                .public_url
                .as_ref()
                .map(|base| (words.open, format!("{base}/channels/{channel}"))),
        }
    }

    /// The whole message as plain text, for receivers without markup.
    pub(super) fn plain(&self) -> String {
        let mut lines = vec![self.title.clone()];
        lines.extend(self.body_lines());
        lines.join("\n")
    }

    /// The lines below the title as plain text.
    pub(super) fn body_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for alert in &self.alerts {
            lines.extend([String::new(), alert.heading.clone(), alert.summary.clone()]);
            lines.extend(alert.facts.iter().map(|(label, value)| format!("{label}: {value}")));
            lines.extend(alert.runbook.clone());
        }
        if !self.more.is_empty() {
            lines.extend([String::new(), self.more.clone()]);
        }
        lines.extend([String::new(), format!("{}:", self.commands_label)]);
        lines.extend(self.commands.iter().cloned());
        lines.extend(self.link.iter().map(|(label, url)| format!("{label}: {url}")));
        lines
    }
}

impl AlertText {
    fn of(alert: &Alert, notification: &Notification, words: &Words) -> Self {
        let formats = Formats::new(words);
        let status = match alert.status {
            AlertStatus::Firing => words.firing,
            AlertStatus::Resolved(_) => words.resolved,
        };
        let mut facts = vec![(words.why.to_owned(), words.why_sentence(alert))];
        for field in &alert.fields {
            let value = alert
                .values
                .get(field)
                .map_or_else(|| words.unknown.to_owned(), |v| formats.value(*field, *v));
            facts.push((words.field(*field).to_owned(), value));
        }
        facts.push((words.since.to_owned(), at(alert.started_at)));
        if let AlertStatus::Resolved(end) = alert.status {
            facts.push((words.ended.to_owned(), at(end)));
        }
        facts.push((words.host.to_owned(), cut(alert.host.as_ref().unwrap_or(&notification.sender))));
        Self {
            heading: escape::line(&format!("{}: {status} ({})", alert.rule, words.severity(alert.severity))),
            summary: cut(&summary::summary(alert, notification, words)),
            facts,
            runbook: alert.runbook.clone(),
        }
    }
}

/// The meaning of an alert in one sentence, for receivers that have a field for it.
pub(super) fn summary_of(alert: &Alert, notification: &Notification, language: Language) -> String {
    cut(&summary::summary(alert, notification, &Words::of(language)))
}

fn firing(notification: &Notification) -> impl Iterator<Item = &Alert> {
    notification.alerts.iter().filter(|alert| alert.status == AlertStatus::Firing)
}

/// `[FIRING] mail: backlog · 1,204 waiting`, `[RESOLVED] mail: backlog · after 12 min`.
fn title(notification: &Notification, words: &Words) -> String {
    let formats = Formats::new(words);
    let test = if notification.is_test { "[TEST] " } else { "" };
    let mut rules: Vec<&str> = Vec::new();
    for alert in &notification.alerts {
        if !rules.contains(&&*alert.rule) {
            rules.push(&alert.rule);
        }
    }
    let listed = rules.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let more = if rules.len() > 3 { format!(" +{}", rules.len() - 3) } else { String::new() };
    let first = firing(notification).next();
    let (status, end) = match (first, notification.alerts.first()) {
        (Some(alert), _) => {
            let measured = alert.fields.iter().find_map(|field| Some((*field, *alert.values.get(field)?)));
            (words.firing, measured.map(|(field, value)| words.measured(field, &formats.value(field, value))))
        }
        (None, Some(Alert { status: AlertStatus::Resolved(end), started_at, .. })) => {
            (words.resolved, Some(words.after(&formats.duration(end.since(*started_at).as_secs_f64()))))
        }
        (None, _) => (words.resolved, None),
    };
    let end = end.map_or_else(String::new, |end| format!(" · {end}"));
    escape::line(&format!("{test}[{status}] {}: {listed}{more}{end}", notification.channel))
}

/// The first characters of a text on one line.
fn cut(text: &str) -> String {
    let line = escape::line(text.trim());
    if line.chars().count() <= MAX_TEXT {
        return line;
    }
    line.chars().take(MAX_TEXT - 1).chain(['…']).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::alerts::sample::{notification, resolved};

    #[test]
    fn title_names_status_channel_rule_and_value() {
        let of = |n: &Notification, language| Text::of(n, language).title;
        assert_eq!(of(&notification(), Language::English), "[FIRING] mail: backlog · 1,204 waiting");
        assert_eq!(of(&resolved(), Language::English), "[RESOLVED] mail: backlog · after 12 min");
        assert_eq!(of(&notification(), Language::Chinese), "[告警] mail: backlog · 等待 1,204");
        assert_eq!(of(&resolved(), Language::Chinese), "[恢复] mail: backlog · 持续 12 分钟");
        let test = Notification { is_test: true, ..notification() };
        assert_eq!(of(&test, Language::English), "[TEST] [FIRING] mail: backlog · 1,204 waiting");
        let mut many = notification();
        for rule in ["slow", "memory", "stuck", "failures"] {
            many.alerts.push(Alert { rule: rule.into(), ..many.alerts[0].clone() });
        }
        assert_eq!(of(&many, Language::English), "[FIRING] mail: backlog, slow, memory +2 · 1,204 waiting");
    }

    #[test]
    fn plain_text_has_every_line() {
        let english = "[FIRING] mail: backlog · 1,204 waiting

backlog: FIRING (warning)
Jobs pile up: 1204 wait, the front one for 12 min; all ? workers are busy.
Why: waiting > 1000 holds
waiting: 1,204
Since: 2023-11-14 22:01:20 UTC
Host: web1
https://wiki.example/backlog

Commands:
aint-queue queue:why -t mail
aint-queue queue:status --workers -t mail
aint-queue queue:alerts --silence backlog 1h -t mail
Open the channel: https://queue.example.com/channels/mail";
        assert_eq!(Text::of(&notification(), Language::English).plain(), english);
        let chinese = Text::of(&resolved(), Language::Chinese).plain();
        let expected = "[恢复] mail: backlog · 持续 12 分钟\n\nbacklog: 恢复 (警告)\n已恢复，持续 12 分钟。\n原因: 不再满足条件 waiting > 1000\n等待: 1,204\n";
        assert!(chinese.starts_with(expected), "{chinese}");
    }

    #[test]
    fn texts_of_rules_are_cut_and_stay_on_one_line() {
        let mut long = notification();
        long.alerts[0].summary = Some("a\nb {{ 'x' * 500 }}".into());
        let text = Text::of(&long, Language::English);
        assert!(text.alerts[0].summary.starts_with("a b xxx"), "{}", text.alerts[0].summary);
        assert_eq!(text.alerts[0].summary.chars().count(), MAX_TEXT);
        let mut many = notification();
        many.alerts = vec![many.alerts[0].clone(); 14];
        let text = Text::of(&many, Language::English);
        assert_eq!((text.alerts.len(), text.more.as_str()), (MAX_ALERTS, "4 more alerts are not shown."));
    }
}
