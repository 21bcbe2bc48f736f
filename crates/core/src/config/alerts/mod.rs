//! The settings of alerts: their receivers, their times and their words.
//!
//! `keys` declares the keys of `[alerts]`, `build` reads the table. `receiver` has the settings of a receiver, `rule` a rule
//! (`rule_build` reads them, `handler_build` those of snapshot handlers), `quiet_hours` the times at which alerts wait, `template` the texts that users write. A producer reads none
//! of them.

#[cfg(feature = "server")]
mod build;
#[cfg(feature = "server")]
mod effective;
#[cfg(feature = "server")]
mod handler_build;
pub(super) mod keys;
#[cfg(feature = "server")]
mod language;
#[cfg(feature = "server")]
mod quiet_hours;
#[cfg(feature = "server")]
mod receiver;
#[cfg(feature = "server")]
mod receiver_build;
#[cfg(feature = "server")]
mod rule;
#[cfg(feature = "server")]
mod rule_build;
#[cfg(feature = "server")]
mod settings;
#[cfg(feature = "server")]
mod smtp_server;
#[cfg(feature = "server")]
pub mod template;
#[cfg(feature = "server")]
#[cfg(test)]
mod tests;

use std::fmt;

#[cfg(feature = "server")]
pub(super) use build::alerts;
#[cfg(feature = "server")]
pub(super) use effective::{effective_handler, effective_receiver, effective_rules, effective_settings};
#[cfg(feature = "server")]
pub(super) use handler_build::{add_handler_rules, snapshot_handlers};
#[cfg(feature = "server")]
pub use language::Language;
#[cfg(feature = "server")]
pub use quiet_hours::{Days, QuietHours};
#[cfg(feature = "server")]
pub use receiver::{HeartbeatForm, HttpTarget, Mentions, Receiver, ReceiverKind};
#[cfg(feature = "server")]
pub use rule::Rule;
#[cfg(feature = "server")]
pub(super) use rule_build::change_rules;
#[cfg(feature = "server")]
pub use settings::{Alerts, Route};
#[cfg(feature = "server")]
pub use smtp_server::{SmtpServer, SmtpTls};

use serde::{Deserialize, Serialize};

/// The severity of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record: nothing is at risk.
    Info,
    /// A look is wanted within the day.
    #[default]
    Warning,
    /// A look is wanted now.
    Critical,
}

impl Severity {
    /// The value of `severity`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity with this value of `severity`.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|severity| severity.as_str() == word)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
