//! What a server's error means for us: one table, from the error's code to what the caller does next.

use std::fmt;
use std::time::Duration;

use redis::RedisError;
use thiserror::Error;

use crate::store::StoreError;

/// What an error of the server asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Back off and try again, on a new connection: this server may not be the one to talk to any more.
    Away,
    /// Back off and try again; the connection is sound.
    Later,
    /// The script is not known to the server: nothing ran, so load it and call again.
    Load,
    /// No room for new jobs.
    Full,
    /// Somebody has to change something; the text says what.
    Refused(&'static str),
    /// A key or value is not ours.
    Foreign,
    /// The layout is of another version.
    OtherSchema,
}

/// Codes and what they mean. A code that is not here is a passing error on a sound connection.
const CODES: &[(&str, Verdict)] = &[
    // The server is a replica, or was demoted.
    ("READONLY", Verdict::Away),
    ("MASTERDOWN", Verdict::Away),
    // It is coming up, or cannot write safely at the moment.
    ("LOADING", Verdict::Later),
    ("NOREPLICAS", Verdict::Later),
    ("MISCONF", Verdict::Later),
    ("BUSY", Verdict::Later),
    // The channel's slot is elsewhere or on its way.
    ("CLUSTERDOWN", Verdict::Away),
    ("MOVED", Verdict::Away),
    ("ASK", Verdict::Away),
    ("TRYAGAIN", Verdict::Later),
    // Our call was cut off.
    ("UNBLOCKED", Verdict::Away),
    ("EXECABORT", Verdict::Later),
    ("UNKILLABLE", Verdict::Later),
    ("NOSCRIPT", Verdict::Load),
    ("OOM", Verdict::Full),
    ("NOAUTH", Verdict::Refused("it wants a password: set `password` under `driver.connection`")),
    (
        "WRONGPASS",
        Verdict::Refused(
            "it refuses the password: check `username` and `password` under `driver.connection`",
        ),
    ),
    (
        "NOPERM",
        Verdict::Refused(
            "its user may not do this: grant it the commands and the keys `aint-queue:*` named in the documentation",
        ),
    ),
    (
        "DENIED",
        Verdict::Refused("it runs in protected mode: give it a password or bind it to the right address"),
    ),
    (
        "CROSSSLOT",
        Verdict::Refused("it does not keep the keys of one channel together: connect to a server that does"),
    ),
    ("WRONGTYPE", Verdict::Foreign),
    ("AINTKEY", Verdict::Foreign),
    ("AINTSCHEMA", Verdict::OtherSchema),
];

/// Texts of errors whose code is the general `ERR`.
const TEXTS: &[(&str, Verdict)] = &[
    ("max number of clients", Verdict::Away),
    ("DB index is out of range", Verdict::Refused("it has no database of this number: check `database`")),
    ("invalid DB index", Verdict::Refused("it has no database of this number: check `database`")),
    ("SELECT is not allowed", Verdict::Refused("it has one database only: set `database` to 0")),
    (
        "without any password configured",
        Verdict::Refused(
            "it has no password: remove `password` under `driver.connection`, or set one on the server",
        ),
    ),
    (
        "no password is set",
        Verdict::Refused(
            "it has no password: remove `password` under `driver.connection`, or set one on the server",
        ),
    ),
    (
        "invalid password",
        Verdict::Refused("it refuses the password: check `password` under `driver.connection`"),
    ),
    (
        "unknown command",
        Verdict::Refused("it does not know a command we need: use Redis 6.2 or newer, or Valkey"),
    ),
    ("is not an integer", Verdict::Foreign),
    ("is not a valid float", Verdict::Foreign),
];

/// What an error means, by its code and text.
pub(super) fn verdict(code: &str, detail: &str) -> Verdict {
    let known = |code: &str| CODES.iter().find(|(known, _)| *known == code).map(|(_, verdict)| *verdict);
    if let Some(verdict) = known(code) {
        return verdict;
    }
    if code != "ERR" {
        return Verdict::Later;
    }
    // Before Redis 7 an error inside a script arrives as ERR with the code somewhere in its text.
    if detail.contains("running script") {
        let inner = detail.split(|c: char| !c.is_ascii_uppercase()).find_map(known);
        if let Some(verdict) = inner {
            return verdict;
        }
    }
    TEXTS.iter().find(|(text, _)| detail.contains(text)).map_or(Verdict::Later, |(_, verdict)| *verdict)
}

/// Why a call did not get through, or what the server said to it.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error("could not connect")]
    Connect(#[source] std::io::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    NoAnswer(Duration),
    #[error("the connection broke")]
    Broken(#[source] RedisError),
    #[error("the server answered \"{0}\"")]
    Said(Said),
}

/// An error the server answered with.
#[derive(Debug)]
pub(super) struct Said {
    code: String,
    detail: String,
}

impl Said {
    /// Whether this is its code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether its text has this in it.
    pub(super) fn tells(&self, text: &str) -> bool {
        self.detail.contains(text)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.detail)
    }
}

impl Trouble {
    /// Sorts what the client reports: an error in a reply, or no usable reply at all.
    pub(super) fn from_client(error: RedisError) -> Self {
        match error.code() {
            Some(code) => {
                let (code, detail) = (code.to_owned(), error.detail().unwrap_or_default().to_owned());
                Self::Said(Said { code, detail })
            }
            None => Self::Broken(error),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Said(said) => verdict(&said.code, &said.detail),
            Self::Connect(_) | Self::NoAnswer(_) | Self::Broken(_) => Verdict::Away,
        }
    }

    /// The error as the store's callers get it.
    pub(super) fn into_store(self, place: &str, doing: &'static str) -> StoreError {
        let place = place.to_owned();
        match self.verdict() {
            Verdict::Away | Verdict::Later | Verdict::Load => {
                StoreError::Unavailable { place, doing, source: Box::new(self) }
            }
            Verdict::Full => StoreError::Full {
                place,
                detail: "it has reached its `maxmemory`: let the masters work, clear what is not needed, or raise the limit"
                    .into(),
            },
            Verdict::Refused(remedy) => StoreError::Refused { place, detail: remedy.into() },
            Verdict::Foreign => StoreError::Corrupt {
                place,
                detail: format!("{self}: something else writes to keys that begin with \"aint-queue:\"; remove what is not ours, or use another `database`"),
            },
            Verdict::OtherSchema => StoreError::Corrupt {
                place,
                detail: format!("{self}: the channel was written by another version of aint-queue; use that version, or another `database`"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_error(code: &str, detail: &str) -> StoreError {
        let said = Said { code: code.into(), detail: detail.into() };
        Trouble::Said(said).into_store("redis://h:1/0", "testing")
    }

    #[test]
    fn what_passes_by_itself_is_unavailable() {
        for code in [
            "READONLY",
            "MASTERDOWN",
            "LOADING",
            "CLUSTERDOWN",
            "TRYAGAIN",
            "MOVED",
            "ASK",
            "NOREPLICAS",
            "MISCONF",
            "BUSY",
            "NOSCRIPT",
            "EXECABORT",
            "UNBLOCKED",
            "UNKILLABLE",
        ] {
            assert!(matches!(store_error(code, "x"), StoreError::Unavailable { .. }), "{code}");
        }
        let clients = store_error("ERR", "max number of clients reached");
        assert!(matches!(clients, StoreError::Unavailable { .. }));
    }

    #[test]
    fn a_server_that_may_not_be_the_right_one_any_more_is_left() {
        for code in ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "UNBLOCKED"] {
            assert_eq!(verdict(code, ""), Verdict::Away, "{code}");
        }
        for code in ["LOADING", "TRYAGAIN", "NOREPLICAS", "MISCONF", "BUSY", "EXECABORT"] {
            assert_eq!(verdict(code, ""), Verdict::Later, "{code}");
        }
    }

    #[test]
    fn an_unknown_script_is_loaded() {
        assert_eq!(verdict("NOSCRIPT", "No matching script."), Verdict::Load);
    }

    #[test]
    fn a_full_server_is_full() {
        assert!(matches!(store_error("OOM", "command not allowed"), StoreError::Full { .. }));
    }

    #[test]
    fn what_somebody_must_change_is_refused_and_says_what() {
        let rows = [
            ("NOAUTH", "Authentication required.", "`password`"),
            ("WRONGPASS", "invalid username-password pair", "`password`"),
            ("NOPERM", "this user has no permissions", "grant"),
            ("DENIED", "Redis is running in protected mode", "protected mode"),
            ("CROSSSLOT", "Keys in request", "together"),
            ("ERR", "DB index is out of range", "`database`"),
            ("ERR", "invalid DB index", "`database`"),
            ("ERR", "SELECT is not allowed in cluster mode", "`database`"),
            ("ERR", "AUTH <password> called without any password configured", "remove `password`"),
            ("ERR", "Client sent AUTH, but no password is set", "remove `password`"),
            ("ERR", "invalid password", "`password`"),
            ("ERR", "unknown command 'EVALSHA'", "6.2"),
        ];
        for (code, detail, remedy) in rows {
            let StoreError::Refused { detail: says, .. } = store_error(code, detail) else {
                panic!("{code} {detail}")
            };
            assert!(says.contains(remedy), "{code} {detail}: {says}");
        }
    }

    #[test]
    fn what_is_not_ours_is_corrupt_and_named() {
        for (code, detail) in [
            ("WRONGTYPE", "Operation against a key"),
            ("AINTKEY", "a:b is a set where a hash belongs"),
            ("AINTSCHEMA", "9"),
            ("ERR", "hash value is not an integer"),
            ("ERR", "min or max is not a valid float"),
        ] {
            let StoreError::Corrupt { detail: says, .. } = store_error(code, detail) else {
                panic!("{code} {detail}")
            };
            assert!(says.contains(detail), "{says}");
        }
    }

    #[test]
    fn an_error_inside_a_script_of_an_older_server_keeps_its_meaning() {
        let text =
            |inner: &str| format!("Error running script (call to f_ab): @user_script:12: {inner} text.");
        assert_eq!(verdict("ERR", &text("-OOM command not allowed")), Verdict::Full);
        assert_eq!(verdict("ERR", &text("WRONGTYPE Operation")), Verdict::Foreign);
        assert_eq!(verdict("ERR", &text("-READONLY You can't write")), Verdict::Away);
        assert_eq!(verdict("ERR", &text("something else")), Verdict::Later);
    }

    #[test]
    fn what_is_not_understood_passes_and_keeps_the_connection() {
        assert_eq!(verdict("NEWCODE", "x"), Verdict::Later);
        assert_eq!(verdict("ERR", "something new"), Verdict::Later);
        let unknown = store_error("NEWCODE", "of 2031");
        let source = std::error::Error::source(&unknown).unwrap().to_string();
        assert!(source.contains("NEWCODE of 2031"), "{source}");
    }
}
