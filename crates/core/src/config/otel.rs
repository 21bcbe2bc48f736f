//! Builds the settings of traces from the validated table `[otel]`.

use super::base_url::check_base_url;
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
        && let Err(why) = check_base_url(otel.endpoint.as_deref().unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

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
