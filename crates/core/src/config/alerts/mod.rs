//! The settings of alerts.

mod rule;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use rule::Rule;

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
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
