//! Classification of server errors: one table from the error code to the caller's next step.

use std::fmt;
use std::time::Duration;

use redis::RedisError;
use thiserror::Error;

use crate::store::StoreError;

/// The next step after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// Back off and retry on a new connection: this server may no longer be the right one.
    Reconnect,
    /// Back off and retry; the connection is sound.
    Retry,
    /// Load the script and repeat the call: the server did not know it and ran nothing.
    LoadScript,
    /// The server has no memory for new jobs.
    Full,
    /// The configuration must change; the text is the remedy.
    Refused(&'static str),
    /// A key or value belongs to another program.
    Foreign,
    /// The channel has another layout version.
    OtherSchema,
}

use ErrorClass::{Foreign, Full, LoadScript, OtherSchema, Reconnect, Refused, Retry};

/// Classes by error code. An unlisted code is a temporary error on a sound connection.
const CODES: &[(&str, ErrorClass)] = &[
    // The server is a replica, or was demoted.
    ("READONLY", Reconnect),
    ("MASTERDOWN", Reconnect),
    // The server is starting, or cannot write safely at the moment.
    ("LOADING", Retry),
    ("NOREPLICAS", Retry),
    ("MISCONF", Retry),
    ("BUSY", Retry),
    // The channel's slot is on another node or moving.
    ("CLUSTERDOWN", Reconnect),
    ("MOVED", Reconnect),
    ("ASK", Reconnect),
    ("TRYAGAIN", Retry),
    // The server cut the call off.
    ("UNBLOCKED", Reconnect),
    ("EXECABORT", Retry),
    ("UNKILLABLE", Retry),
    ("NOSCRIPT", LoadScript),
    ("OOM", Full),
    ("NOAUTH", Refused("the server requires a password: set `password` under `driver.connection`")),
    (
        "WRONGPASS",
        Refused("the server refuses the password: check `username` and `password` under `driver.connection`"),
    ),
    (
        "NOPERM",
        Refused(
            "its user lacks a permission: grant it the commands and the keys `aint-queue:*` and `aint-queue-fleet:*` named in the documentation",
        ),
    ),
    (
        "DENIED",
        Refused("the server runs in protected mode: give it a password or bind it to the right address"),
    ),
    (
        "CROSSSLOT",
        Refused("the server does not keep the keys of one channel together: connect to a server that does"),
    ),
    ("WRONGTYPE", Foreign),
    ("AINTKEY", Foreign),
    ("AINTSCHEMA", OtherSchema),
];

/// Classes of errors with the general code `ERR`, by text.
const TEXTS: &[(&str, ErrorClass)] = &[
    ("max number of clients", Reconnect),
    ("DB index is out of range", Refused("the server has no database of this number: check `database`")),
    ("invalid DB index", Refused("the server has no database of this number: check `database`")),
    ("SELECT is not allowed", Refused("the server has one database only: set `database` to 0")),
    (
        "without any password configured",
        Refused(
            "the server has no password: remove `password` under `driver.connection`, or set one on the server",
        ),
    ),
    (
        "no password is set",
        Refused(
            "the server has no password: remove `password` under `driver.connection`, or set one on the server",
        ),
    ),
    (
        "invalid password",
        Refused("the server refuses the password: check `password` under `driver.connection`"),
    ),
    ("unknown command", Refused("the server lacks a required command: use Redis 6.2 or newer, or Valkey")),
    ("is not an integer", Foreign),
    ("is not a valid float", Foreign),
];

/// The class of an error, by its code and text.
pub(super) fn class(code: &str, detail: &str) -> ErrorClass {
    let known = |code: &str| CODES.iter().find(|(known, _)| *known == code).map(|(_, class)| *class);
    if let Some(class) = known(code) {
        return class;
    }
    if code != "ERR" {
        return Retry;
    }
    // Before Redis 7 an error inside a script is reported as ERR, with the original code inside the text.
    if detail.contains("running script") {
        let inner = detail.split(|c: char| !c.is_ascii_uppercase()).find_map(known);
        if let Some(class) = inner {
            return class;
        }
    }
    TEXTS.iter().find(|(text, _)| detail.contains(text)).map_or(Retry, |(_, class)| *class)
}

/// Failure of a call: no reply, or an error reply.
#[derive(Debug, Error)]
pub(super) enum CallError {
    #[error("could not connect")]
    Connect(#[source] std::io::Error),
    #[error("no answer within {} ms", .0.as_millis())]
    NoAnswer(Duration),
    #[error("the connection broke")]
    Broken(#[source] RedisError),
    #[error("the server answered \"{0}\"")]
    ServerError(ServerError),
}

/// An error reply of the server.
#[derive(Debug)]
pub(super) struct ServerError {
    code: String,
    detail: String,
}

impl ServerError {
    /// Whether the error has this code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether the text contains this.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.detail.contains(text)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.detail)
    }
}

impl CallError {
    /// Converts the client's error: an error reply, or no usable reply at all.
    pub(super) fn from_client(error: RedisError) -> Self {
        match error.code() {
            Some(code) => {
                let (code, detail) = (code.to_owned(), error.detail().unwrap_or_default().to_owned());
                Self::ServerError(ServerError { code, detail })
            }
            None => Self::Broken(error),
        }
    }

    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::ServerError(error) => class(&error.code, &error.detail),
            Self::Connect(_) | Self::NoAnswer(_) | Self::Broken(_) => Reconnect,
        }
    }

    /// Whether the server refuses the keys of the call to this user: the call has run nothing.
    pub(super) fn denies_a_key(&self) -> bool {
        matches!(self, Self::ServerError(error) if error.is("NOPERM") && error.contains("key"))
    }

    /// The error for the caller of the store.
    pub(super) fn into_store(self, place: &str, doing: &'static str) -> StoreError {
        let place = place.to_owned();
        match self.class() {
            Reconnect | Retry | LoadScript => {
                StoreError::Unavailable { place, doing, source: Box::new(self) }
            }
            Full => StoreError::Full {
                place: format!("the store at {place}"),
                detail: "the server has reached its `maxmemory`: let the masters finish jobs, clear unneeded ones, or raise the limit"
                    .into(),
            },
            Refused(remedy) => StoreError::Refused { place, detail: remedy.into() },
            Foreign => StoreError::Corrupt {
                place,
                detail: format!("{self}: another program uses keys that begin with \"aint-queue:\"; remove its keys, or use another `database`"),
            },
            OtherSchema => StoreError::Corrupt {
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
        let error = ServerError { code: code.into(), detail: detail.into() };
        CallError::ServerError(error).into_store("redis://h:1/0", "testing")
    }

    #[test]
    fn transient_errors_are_unavailable() {
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
    fn wrong_role_errors_drop_the_connection() {
        for code in ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "UNBLOCKED"] {
            assert_eq!(class(code, ""), ErrorClass::Reconnect, "{code}");
        }
        for code in ["LOADING", "TRYAGAIN", "NOREPLICAS", "MISCONF", "BUSY", "EXECABORT"] {
            assert_eq!(class(code, ""), ErrorClass::Retry, "{code}");
        }
    }

    #[test]
    fn unknown_script_is_loaded() {
        assert_eq!(class("NOSCRIPT", "No matching script."), ErrorClass::LoadScript);
    }

    #[test]
    fn out_of_memory_is_full() {
        assert!(matches!(store_error("OOM", "command not allowed"), StoreError::Full { .. }));
    }

    #[test]
    fn configuration_errors_are_refused_with_remedy() {
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
    fn foreign_data_is_corrupt_and_named() {
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
    fn script_error_of_older_server_keeps_its_meaning() {
        let text =
            |inner: &str| format!("Error running script (call to f_ab): @user_script:12: {inner} text.");
        assert_eq!(class("ERR", &text("-OOM command not allowed")), ErrorClass::Full);
        assert_eq!(class("ERR", &text("WRONGTYPE Operation")), ErrorClass::Foreign);
        assert_eq!(class("ERR", &text("-READONLY You can't write")), ErrorClass::Reconnect);
        assert_eq!(class("ERR", &text("something else")), ErrorClass::Retry);
    }

    #[test]
    fn unknown_errors_are_transient_and_keep_connection() {
        assert_eq!(class("NEWCODE", "x"), ErrorClass::Retry);
        assert_eq!(class("ERR", "something new"), ErrorClass::Retry);
        let unknown = store_error("NEWCODE", "of 2031");
        let source = std::error::Error::source(&unknown).unwrap().to_string();
        assert!(source.contains("NEWCODE of 2031"), "{source}");
    }
}
