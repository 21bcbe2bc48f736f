//! The URL of the server that takes mail: `smtps://user:password@host`, `smtp://host:587?tls=required`.

use std::path::PathBuf;

use crate::config::Secret;
use crate::config::redis_url::{decoded, host_and_port};

/// A server that takes mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The use of TLS.
    pub tls: SmtpTls,
    /// The user, if the server asks for one.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// Certificate authorities that replace those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether addresses outside the public internet are allowed.
    pub allow_private: bool,
}

/// The use of TLS towards a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// From the first byte: `smtps://`.
    Wrapped,
    /// By STARTTLS, without which no mail is sent: `smtp://`.
    StartTls,
    /// None: `smtp://…?tls=none`.
    Off,
}

impl SmtpTls {
    /// The usual port.
    fn port(self) -> u16 {
        match self {
            Self::Wrapped => 465,
            Self::StartTls => 587,
            Self::Off => 25,
        }
    }
}

/// The form of the URL, for remedies.
const FORM: &str = "write smtps://user:password@host, or smtp://user:password@host:587 for STARTTLS";

/// Parses the URL; the error is a message and its remedy, which do not quote the URL.
pub(super) fn parse(url: &str) -> Result<SmtpServer, (&'static str, &'static str)> {
    let (scheme, rest) = url.split_once("://").ok_or(("is not a URL", FORM))?;
    // A password may contain "?", so the query is that behind the host.
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let (place, query) = place.split_once('?').map_or((place, None), |(place, query)| (place, Some(query)));
    let tls = match (scheme.to_ascii_lowercase().as_str(), query) {
        ("smtps", None | Some("" | "tls=required")) => SmtpTls::Wrapped,
        ("smtp", None | Some("" | "tls=required")) => SmtpTls::StartTls,
        ("smtp", Some("tls=none")) => SmtpTls::Off,
        ("smtp" | "smtps", _) => {
            return Err((
                "has an unknown part after \"?\"",
                "write ?tls=required for STARTTLS, or ?tls=none for a relay on this machine",
            ));
        }
        _ => return Err(("is not an smtps:// or smtp:// URL", FORM)),
    };
    let (host, port) =
        host_and_port(place.trim_end_matches('/')).ok_or(("has no usable host and port", FORM))?;
    let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        None => (None, None),
        Some((name, password)) => (decoded(name)?, decoded(password)?),
    };
    Ok(SmtpServer {
        host,
        port: port.unwrap_or(tls.port()),
        tls,
        username,
        password: password.map(Secret::new),
        ca_file: None,
        allow_private: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_and_query_decide_about_tls_and_port() {
        let server = |url: &str| {
            let server = parse(url).unwrap();
            (server.host, server.port, server.tls)
        };
        let host = || "mail.example".to_owned();
        assert_eq!(server("smtps://mail.example"), (host(), 465, SmtpTls::Wrapped));
        assert_eq!(server("smtp://mail.example/"), (host(), 587, SmtpTls::StartTls));
        assert_eq!(server("smtp://mail.example:2525?tls=required"), (host(), 2525, SmtpTls::StartTls));
        assert_eq!(server("SMTP://[::1]?tls=none"), ("::1".to_owned(), 25, SmtpTls::Off));
    }

    #[test]
    fn password_may_have_any_character_or_its_escape() {
        let of = |url: &str| {
            let server = parse(url).unwrap();
            (server.username.unwrap(), server.password.unwrap().reveal().to_owned())
        };
        let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
        assert_eq!(of("smtps://ann:p@ss/?w:d@mail.example:465"), pair("ann", "p@ss/?w:d"));
        assert_eq!(of("smtps://ann%40example.com:p%25@mail.example"), pair("ann@example.com", "p%"));
    }

    #[test]
    fn url_errors_do_not_quote_the_url() {
        let wrong = |url: &str| parse(url).unwrap_err().0;
        assert_eq!(wrong("mail.example:25"), "is not a URL");
        assert_eq!(wrong("http://mail.example"), "is not an smtps:// or smtp:// URL");
        assert_eq!(wrong("smtps://mail.example?tls=none"), "has an unknown part after \"?\"");
        assert_eq!(wrong("smtp://ann:hunter2@"), "has no usable host and port");
        assert_eq!(wrong("smtp://ann:hunter%2@x"), "has a broken %-escape in its user part");
    }
}
