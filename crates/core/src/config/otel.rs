//! Builds the settings of traces from the validated table `[otel]`.

use super::error::Diagnostics;
use super::keys::OTEL_KEYS;
use super::spanned::Table;
use super::typed::{TypedTable, as_number};
use super::{Otel, RunParent};

/// The collector's usual address on this machine.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// Where traces go below an endpoint.
const TRACES_PATH: &str = "/v1/traces";

/// The settings described by `table`.
pub(super) fn otel(table: &Table, diagnostics: &mut Diagnostics<'_>) -> Otel {
    let read = TypedTable::new(table, OTEL_KEYS);
    let otel = Otel {
        enabled: read.flag("enabled"),
        endpoint: read.text("endpoint").map(str::to_owned),
        service_name: read.text("service_name").map(str::to_owned),
        sample_ratio: read.node("sample_ratio").map(as_number),
        parent: match read.word("parent").as_str() {
            "child" => RunParent::Child,
            "link" => RunParent::Link,
            _ => RunParent::Auto,
        },
        turns: read.flag("turns"),
    };
    if let Some(node) = read.node("endpoint")
        && let Err(why) = check_endpoint(otel.endpoint.as_deref().unwrap_or_default())
    {
        let remedy = "write the base URL of an OTLP/HTTP collector, such as \"http://127.0.0.1:4318\"";
        diagnostics.problems.of_value(node, why, remedy);
    }
    // A producer that shares the file sends no spans of its own accord, and needs no warning.
    if cfg!(all(feature = "server", not(feature = "otel")))
        && otel.enabled
        && let Some(first) = table.values().next()
    {
        let message = "has no effect: this program was built without traces";
        let remedy = "build it with the feature \"otel\", as in cargo build --release --features otel, or write enabled = false";
        diagnostics.warnings.of_key(first, message, remedy);
    }
    otel
}

/// The URL that spans go to, from the table and the environment; `None` when neither asks for traces.
#[doc(hidden)]
pub fn traces_endpoint(config: Option<&Otel>, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let is_off =
        |name: &str, word: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let is_disabled = config.is_some_and(|config| !config.enabled);
    if is_disabled || is_off("OTEL_SDK_DISABLED", "true") || is_off("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let below = |base: &str| match base.trim_end_matches('/') {
        whole if whole.ends_with(TRACES_PATH) => whole.to_owned(),
        base => format!("{base}{TRACES_PATH}"),
    };
    let written = config.and_then(|config| config.endpoint.as_deref()).map(below);
    let of_traces = || variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let of_all = || variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base));
    let default = config.map(|_| below(DEFAULT_ENDPOINT));
    written.or_else(of_traces).or_else(of_all).or(default)
}

/// Checks the URL of an endpoint: scheme, host, port and path. The error completes "the value ...".
fn check_endpoint(text: &str) -> Result<(), &'static str> {
    const FORM: &str = "is not a URL with http:// or https:// and a host";
    let behind = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).ok_or(FORM)?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FORM);
    }
    if text.contains(['?', '#']) {
        return Err("has a query or a fragment, which an endpoint cannot have");
    }
    let authority = behind.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("names a user, which is not sent to a collector");
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
    fn endpoint_is_a_url_of_http() {
        for good in [
            "http://127.0.0.1:4318",
            "https://otel.example/base/",
            "http://[::1]:4318",
            "http://[::1]",
            "http://c:1/v1/traces",
        ] {
            assert_eq!(check_endpoint(good), Ok(()), "{good}");
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
            assert!(check_endpoint(wrong).is_err(), "{wrong}");
        }
    }

    fn settings(enabled: bool, endpoint: Option<&str>) -> Otel {
        let endpoint = endpoint.map(str::to_owned);
        let parent = RunParent::Auto;
        Otel { enabled, endpoint, service_name: None, sample_ratio: None, parent, turns: false }
    }

    #[test]
    fn endpoint_comes_from_the_table_then_the_environment() {
        let of = |config: Option<Otel>, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            traces_endpoint(config.as_ref(), &variable)
        };
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1/"), ("OTEL_SDK_DISABLED", "true")];
        assert_eq!(of(None, &[]), None, "neither table nor environment asks for traces");
        assert_eq!(of(None, &env[..1]).as_deref(), Some("http://a:1/v1/traces"));
        assert_eq!(
            of(Some(settings(true, Some("http://b:1"))), &env[..1]).as_deref(),
            Some("http://b:1/v1/traces")
        );
        assert_eq!(of(Some(settings(true, None)), &[]).as_deref(), Some("http://localhost:4318/v1/traces"));
        assert_eq!(of(Some(settings(false, Some("http://b:1"))), &env[..1]), None);
        assert_eq!(of(Some(settings(true, None)), &env), None, "the SDK is disabled");
        let exact = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1/x"), env[0]];
        assert_eq!(of(None, &exact).as_deref(), Some("http://c:1/x"));
    }
}
