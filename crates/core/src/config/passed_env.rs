//! The rule for variables of the master's environment that workers inherit (`worker.inherit_env`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Variables that every worker inherits: programs need them to find files, terminals and languages, and none is a secret.
const BASIC: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*"];

/// The directory of the service's credentials, which systemd passes to the master: secrets by their purpose.
pub(super) const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// The variables of the master's environment that workers inherit. The basic ones are always among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassedEnv {
    /// All of them.
    #[default]
    All,
    /// All but these, which hold secrets of the master.
    AllBut(BTreeSet<String>),
    /// These alone, each a name or the beginning of names with `*` at its end.
    Only(Vec<String>),
}

impl PassedEnv {
    /// The rule of a configuration that names no variables: those that it refers to hold its secrets.
    pub(super) fn all_but_secrets(interpolated: &BTreeSet<String>) -> Self {
        let mut withheld = interpolated.clone();
        withheld.insert(CREDENTIALS_VARIABLE.to_owned());
        Self::AllBut(withheld)
    }

    /// Whether workers inherit the variable of this name.
    #[must_use]
    pub fn passes(&self, name: &[u8]) -> bool {
        let passes = match self {
            Self::All => true,
            Self::AllBut(withheld) => !withheld.iter().any(|withheld| withheld.as_bytes() == name),
            Self::Only(patterns) => patterns.iter().any(|pattern| matches(pattern, name)),
        };
        passes || BASIC.iter().any(|pattern| matches(pattern, name))
    }
}

fn matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning.as_bytes()),
        None => pattern.as_bytes() == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_passes_basic_variables_and_its_own() {
        let withheld = PassedEnv::AllBut(["REDIS_URL", "HOME"].map(str::to_owned).into());
        let listed = PassedEnv::Only(["APP_*", "DATABASE_URL"].map(str::to_owned).into());
        for (rule, passed, refused) in [
            (PassedEnv::All, &["REDIS_URL", "HOME", "X"][..], &[][..]),
            (withheld, &["HOME", "REDIS_URL_2", "LC_ALL"], &["REDIS_URL"]),
            (listed, &["APP_ENV", "APP_", "DATABASE_URL", "PATH"], &["DATABASE_URL_2", "MY_APP_ENV", "X"]),
            (PassedEnv::Only(Vec::new()), &["PATH", "TZ"], &["X", "LCX"]),
        ] {
            for name in passed {
                assert!(rule.passes(name.as_bytes()), "{rule:?} {name}");
            }
            for name in refused {
                assert!(!rule.passes(name.as_bytes()), "{rule:?} {name}");
            }
        }
    }
}
