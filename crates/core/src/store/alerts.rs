//! The records of alerts in a store: which master watches a channel, what it knows, what others report, silences.

use std::collections::BTreeMap;
use std::time::Duration;

use super::JobCounts;
use crate::durations::micros;
use crate::job::Timestamp;

/// Usual time for which a watcher holds the watch of a channel without another look.
pub const ALERT_LEASE: Duration = Duration::from_secs(30);
/// Largest state of the alerts of a channel.
pub const MAX_ALERT_STATE_BYTES: usize = 64 << 10;
/// Largest report of a watcher.
pub const MAX_ALERT_REPORT_BYTES: usize = 4 << 10;
/// Most silences of a channel.
pub const MAX_SILENCES: usize = 100;
/// Largest comment of a silence.
pub const MAX_SILENCE_COMMENT_BYTES: usize = 500;

/// A look of a watcher of alerts: a master whose configuration has the channel, whether it serves the channel or not.
#[derive(Clone, Copy, Debug)]
pub struct AlertLook<'a> {
    /// The name of the watcher, unique to its process, without white space.
    pub watcher: &'a str,
    /// The time for which the watcher holds the watch, if it gets it.
    pub lease: Duration,
    /// The report of the watcher about itself for the holder, at most [`MAX_ALERT_REPORT_BYTES`]. `None`: the watcher gives up the watch
    /// and withdraws its report.
    pub report: Option<&'a str>,
    /// The new state of the alerts, at most [`MAX_ALERT_STATE_BYTES`], from a watcher that held the watch until now. A watcher that
    /// has lost the watch changes nothing.
    pub save: Option<&'a str>,
}

/// The answer to an [`AlertLook`].
#[derive(Clone, Debug, PartialEq)]
pub struct AlertLooked {
    /// Whether the watcher holds the watch now.
    pub holds: bool,
    /// Whether this look has taken the watch: `state` is what the last holder saved.
    pub taken: bool,
    /// Whether the state was saved.
    pub saved: bool,
    /// The saved state; only for a watcher that has taken the watch.
    pub state: Option<String>,
    /// The silences that have not ended.
    pub silences: Vec<Silence>,
    /// The reports of other watchers within their leases, by the names of the watchers.
    pub reports: Vec<AlertReport>,
    /// Number of masters of the channel that are alive.
    pub masters: u64,
    /// The counts of the channel.
    pub counts: JobCounts,
}

/// The records of the alerts of a channel, for display.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertRecords {
    /// The time of the store's clock.
    pub now: Timestamp,
    /// The holder of the watch, and the time until its lease ends.
    pub holder: Option<(String, Duration)>,
    /// The saved state.
    pub state: Option<String>,
    /// The silences that have not ended.
    pub silences: Vec<Silence>,
    /// The reports of all watchers within their leases.
    pub reports: Vec<AlertReport>,
}

/// A rule of which no message is sent for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The name of the rule.
    pub rule: String,
    /// The end, by the store's clock.
    pub until: Timestamp,
    /// The reason, as an operator has given it.
    pub comment: String,
}

/// The report of a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertReport {
    /// The watcher.
    pub watcher: String,
    /// The time since the report.
    pub age: Duration,
    /// The text.
    pub text: String,
}

impl Silence {
    /// The name that stands for all rules.
    pub const ALL_RULES: &str = "*";

    /// Whether no message of this rule is sent.
    #[must_use]
    pub fn covers(&self, rule: &str) -> bool {
        self.rule == rule || self.rule == Self::ALL_RULES
    }
}

const LEASE: &str = "lease";
const STATE: &str = "state";
const SILENCE: &str = "silence:";
const REPORT: &str = "report:";

/// The field of a silence.
pub(crate) fn silence_field(rule: &str) -> String {
    format!("{SILENCE}{rule}")
}

/// The stored form of a silence.
pub(crate) fn silence_value(until: Timestamp, comment: &str) -> String {
    format!("{}\n{comment}", until.0)
}

/// The fields of a channel's alerts: the lease, the state, the silences and the reports. Drivers without a script of their own change
/// them here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AlertFields(pub(crate) BTreeMap<String, String>);

impl AlertFields {
    /// Applies a look. The answer lacks the number of masters and the counts.
    pub(crate) fn look(&mut self, look: &AlertLook<'_>, now: Timestamp) -> AlertLooked {
        let holder = self.holder(look.lease, now);
        let is_holder = holder.as_ref().is_some_and(|(name, _)| name == look.watcher);
        let saved = is_holder && look.save.is_some();
        if let Some(state) = look.save.filter(|_| saved) {
            self.0.insert(STATE.to_owned(), state.to_owned());
        }
        let holds = look.report.is_some() && (is_holder || holder.is_none());
        if holds {
            self.0.insert(LEASE.to_owned(), format!("{} {}", look.watcher, now.after(look.lease).0));
        } else if is_holder {
            self.0.remove(LEASE);
        }
        let report = format!("{REPORT}{}", look.watcher);
        match look.report {
            Some(text) => self.0.insert(report, format!("{}\n{text}", now.0)),
            None => self.0.remove(&report),
        };
        self.0.retain(|field, value| is_in_force(field, value, look.lease, now));
        let taken = holds && !is_holder;
        let mut reports = self.reports(now);
        reports.retain(|report| report.watcher != look.watcher);
        AlertLooked {
            holds,
            taken,
            saved,
            state: self.0.get(STATE).filter(|_| taken).cloned(),
            silences: self.silences(now),
            reports,
            masters: 0,
            counts: JobCounts::default(),
        }
    }

    /// The records as they are shown.
    pub(crate) fn records(&self, now: Timestamp) -> AlertRecords {
        let in_force = self.0.iter().filter(|(field, value)| is_in_force(field, value, ALERT_LEASE, now));
        let in_force = Self(in_force.map(|(field, value)| (field.clone(), value.clone())).collect());
        AlertRecords {
            now,
            holder: in_force.holder(ALERT_LEASE, now),
            state: in_force.0.get(STATE).cloned(),
            silences: in_force.silences(now),
            reports: in_force.reports(now),
        }
    }

    /// Sets or ends the silence of a rule. Returns its end, or the present.
    pub(crate) fn silence(
        &mut self,
        rule: &str,
        time: Option<(Duration, &str)>,
        now: Timestamp,
    ) -> Timestamp {
        let Some((time, comment)) = time else {
            self.0.remove(&silence_field(rule));
            return now;
        };
        let until = now.after(time);
        self.0.insert(silence_field(rule), silence_value(until, comment));
        until
    }

    fn holder(&self, lease: Duration, now: Timestamp) -> Option<(String, Duration)> {
        let (name, until) = self.0.get(LEASE)?.split_once(' ')?;
        let until = Timestamp(until.parse().ok()?);
        // A lease that ends later than a new one would is from before the clock was set back.
        (now < until && until <= now.after(lease)).then(|| (name.to_owned(), until.since(now)))
    }

    fn silences(&self, now: Timestamp) -> Vec<Silence> {
        let silence = |(field, value): (&String, &String)| {
            let (until, comment) = timed(value)?;
            let silence =
                Silence { rule: field.strip_prefix(SILENCE)?.to_owned(), until, comment: comment.to_owned() };
            (now < until).then_some(silence)
        };
        self.0.iter().filter_map(silence).collect()
    }

    fn reports(&self, now: Timestamp) -> Vec<AlertReport> {
        let report = |(field, value): (&String, &String)| {
            let (at, text) = timed(value)?;
            let watcher = field.strip_prefix(REPORT)?.to_owned();
            Some(AlertReport { watcher, age: now.since(at), text: text.to_owned() })
        };
        self.0.iter().filter_map(report).collect()
    }
}

/// A stored time, and the text behind it.
fn timed(value: &str) -> Option<(Timestamp, &str)> {
    let (at, text) = value.split_once('\n')?;
    Some((Timestamp(at.parse().ok()?), text))
}

/// Whether a field is kept: a silence until its end, a report for a lease.
fn is_in_force(field: &str, value: &str, lease: Duration, now: Timestamp) -> bool {
    let at = timed(value).map(|(at, _)| at);
    if field.starts_with(SILENCE) {
        return at.is_some_and(|until| now < until);
    }
    if field.starts_with(REPORT) {
        return at.is_some_and(|at| now.0 < at.0.saturating_add(micros(lease)) && at <= now.after(lease));
    }
    true
}
