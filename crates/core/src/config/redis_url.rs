//! Parses `redis://user:password@host:port/database`. Messages never quote the text: it may hold a password.

/// The parts of a URL; absent ones are `None`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) database: Option<i64>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
}

/// Parses `url`; the error is a message and its remedy.
pub(super) fn parse(url: &str) -> Result<Parts, (&'static str, &'static str)> {
    const FORM: &str = "write redis://user:password@host:port/database";
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(("is not a URL", FORM));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => {}
        "rediss" | "valkeys" => {
            return Err((
                "asks for TLS, which is not available in this version",
                "use redis:// on a network you trust",
            ));
        }
        "redis-sentinel" | "redis+sentinel" | "redis-cluster" | "redis+cluster" => {
            return Err((
                "asks for Sentinel or Cluster, which is not available in this version",
                "name one server with redis://",
            ));
        }
        "unix" | "redis+unix" | "redis+socket" => {
            return Err((
                "asks for a Unix socket, which is not available in this version",
                "use redis:// with host and port",
            ));
        }
        _ => return Err(("is not a redis:// URL", FORM)),
    }
    if rest.contains(['?', '#']) {
        return Err(("has a part after \"?\" or \"#\"", "write these settings as keys of connection"));
    }
    // A password may contain "/" and "@" as %2F and %40; the last "@" before the path ends the user part.
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let (host, port) = host_and_port(place).ok_or(("has no usable host and port", FORM))?;
    let database = match path.trim_end_matches('/') {
        "" => None,
        text => Some(
            text.parse()
                .ok()
                .filter(|n| *n >= 0)
                .ok_or(("has a database that is not a number", "end it with /0 or another number"))?,
        ),
    };
    let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        None => (None, None),
        Some((name, password)) => (decoded(name)?, decoded(password)?),
    };
    Ok(Parts { host, port, database, username, password })
}

pub(super) fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let port = match port {
        None => None,
        Some(digits) => Some(digits.parse().ok().filter(|port| *port > 0)?),
    };
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    is_host.then(|| (host.to_owned(), port))
}

/// Percent-decodes text; `None` for an empty one.
pub(super) fn decoded(text: &str) -> Result<Option<String>, (&'static str, &'static str)> {
    const WRONG: (&str, &str) = ("has a broken %-escape in its user part", "write % itself as %25");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok()).ok_or(WRONG)?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(WRONG);
            }
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| WRONG)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn every_url_part_but_host_is_optional() {
        let parts = parse("redis://ann:p%40ss%2F@db.example:6380/3").unwrap();
        let expected = Parts {
            host: "db.example".to_owned(),
            port: Some(6380),
            database: Some(3),
            username: some("ann"),
            password: some("p@ss/"),
        };
        assert_eq!(parts, expected);
        let parts = parse("redis://localhost").unwrap();
        assert_eq!((parts.port, parts.database, parts.username, parts.password), (None, None, None, None));
        let parts = parse("redis://:secret@[::1]:7000/").unwrap();
        assert_eq!((parts.host.as_str(), parts.port, parts.password), ("::1", Some(7000), some("secret")));
    }

    #[test]
    fn url_errors_do_not_quote_the_url() {
        let wrong = |url: &str| parse(url).unwrap_err().0;
        assert_eq!(wrong("localhost:6379"), "is not a URL");
        assert_eq!(wrong("http://x"), "is not a redis:// URL");
        assert!(wrong("rediss://x").contains("TLS"));
        assert!(wrong("redis+sentinel://x").contains("Sentinel"));
        assert_eq!(wrong("redis://:pw@"), "has no usable host and port");
        assert_eq!(wrong("redis://x:99999"), "has no usable host and port");
        assert!(wrong("redis://x/zero").starts_with("has a database"));
        assert!(wrong("redis://a%zz@x").starts_with("has a broken"));
        assert!(wrong("redis://x?tls=1").starts_with("has a part after"));
    }
}
