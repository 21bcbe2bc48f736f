//! The book of the rules over values of one host, kept in a file of that host.

use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aint_queue_core::condition::Values;
use tracing::warn;

use super::Notification;
use super::book::{AlertBook, Circumstances, STORE_DOWN};
use crate::config::alerts::Rule;
use crate::job::Timestamp;
use crate::private_file;

/// Time by which masters that do not hold the watch report a lost store later.
const OTHERS_WAIT: Duration = Duration::from_secs(30);

/// The book of a host in a channel.
#[derive(Debug)]
pub(super) struct HostBook {
    book: AlertBook,
    /// The book in the file.
    stored: AlertBook,
    file: Option<PathBuf>,
}

impl HostBook {
    /// The book in a file; an empty one if it has none that can be read.
    pub(super) fn open(file: Option<PathBuf>) -> Self {
        let text = file.as_deref().and_then(|file| fs::read_to_string(file).ok());
        let book = AlertBook::read(text.as_deref()).unwrap_or_default();
        Self { stored: book.clone(), book, file }
    }

    /// The numbers of pending and firing alerts of a rule.
    pub(super) fn counts(&self, rule: &str) -> (usize, usize) {
        (self.book.pending(rule), self.book.firing(rule))
    }

    /// Evaluates the rules of this host.
    pub(super) fn evaluate<'r>(
        &mut self,
        channel: &str,
        host: &str,
        rules: impl Iterator<Item = &'r Rule>,
        values: &impl Values,
        now: Timestamp,
    ) {
        self.book.evaluate(channel, Some(host), rules, values, now);
    }

    /// The messages that are due now. The book is saved first.
    pub(super) fn due(
        &mut self,
        circumstances: &Circumstances<'_>,
        host: &str,
        public_url: Option<&str>,
        values: &impl Values,
    ) -> Vec<(String, Notification)> {
        let due = self.book.due(circumstances);
        let message = |(receiver, due): (String, _)| {
            (receiver, self.book.notification(&due, circumstances, host, public_url, values))
        };
        let messages = due.into_iter().map(message).collect();
        self.save();
        messages
    }

    /// Notes the result of a message.
    pub(super) fn sent(&mut self, receiver: &str, error: Option<String>, now: Timestamp) {
        self.book.sent(receiver, error, now);
        self.save();
    }

    /// Writes the book if it has changed. A file that cannot be written costs a repeated message after a restart, so the alerts are
    /// sent without it.
    pub(super) fn save(&mut self) {
        if self.book.is_same_but_values(&self.stored) {
            return;
        }
        let Some(file) = &self.file else { return };
        if let Some(text) = self.book.text()
            && let Err(error) = write(file, &text)
        {
            warn!(file = %file.display(), %error, "alerts of this host not saved: after a restart they are sent again");
        }
        self.stored = self.book.clone();
    }
}

/// The rules over values of a host. A watch that does not hold the channel reports a lost store later: the holder has said so by then.
pub(super) fn host_rules(rules: &[Rule], holds: bool) -> impl Iterator<Item = Cow<'_, Rule>> {
    rules.iter().filter(|rule| rule.is_per_host()).map(move |rule| {
        if holds || &*rule.name != STORE_DOWN {
            return Cow::Borrowed(rule);
        }
        Cow::Owned(Rule { for_time: rule.for_time + OTHERS_WAIT, ..rule.clone() })
    })
}

/// Replaces the file by one with this text.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    private_file::open(&new, &mut options)?.write_all(text.as_bytes())?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_without_the_watch_report_a_lost_store_later() {
        let rules = Rule::built_in();
        let waits = |holds| {
            let rules = host_rules(&rules, holds).filter(|rule| &*rule.name == STORE_DOWN);
            rules.map(|rule| rule.for_time).collect::<Vec<_>>()
        };
        assert_eq!(waits(true), [Duration::ZERO]);
        assert_eq!(waits(false), [OTHERS_WAIT]);
    }
}
