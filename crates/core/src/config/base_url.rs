//! Checks URLs that others are built from: that of a collector, that of links.

/// Checks a URL that others are built from: scheme, host, port and path. The error completes "the value ...".
pub(super) fn check_base_url(text: &str) -> Result<(), &'static str> {
    const FORM: &str = "is not a URL with http:// or https:// and a host";
    let behind = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or(FORM)?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FORM);
    }
    if text.contains(['?', '#']) {
        return Err("has a query or a fragment, which a base URL cannot have");
    }
    let authority = behind.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("names a user, which a base URL cannot have");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(address) => {
            let (address, port) = address.split_once(']').ok_or(FORM)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| FORM)?;
            (address, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port {
        "" => Ok(1),
        port => port.strip_prefix(':').unwrap_or_default().parse::<u16>(),
    };
    match (host, port) {
        ("", _) => Err(FORM),
        (_, Ok(1..)) => Ok(()),
        _ => Err("has no port from 1 to 65535 behind its host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_url_is_a_url_of_http() {
        for good in [
            "http://127.0.0.1:4318",
            "https://otel.example/base/",
            "http://[::1]:4318",
            "http://[::1]",
            "http://c:1/v1/traces",
        ] {
            assert_eq!(check_base_url(good), Ok(()), "{good}");
        }
        for wrong in [
            "127.0.0.1:4318",
            "http://",
            "grpc://x",
            "http://:4318",
            "http://a@b",
            "http://x?y",
            "http://a b",
            "http://a:",
            "http://a:99999",
            "http://a:0",
            "http://[::1",
            "http://[x]",
            "http://[::1]9",
        ] {
            assert!(check_base_url(wrong).is_err(), "{wrong}");
        }
    }
}
