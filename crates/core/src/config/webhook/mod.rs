//! Builds the settings of webhooks from `worker.url` and its companion keys.

pub mod public_ip;
mod settings;
mod signing_key;

use std::path::Path;

use super::error::Diagnostics;
use super::spanned::{Node, Value};
use super::typed::TypedTable;
pub use settings::{AllowedUrls, Settings, WebhookUrl, header_rejection};
pub use signing_key::SigningKey;

/// The webhook settings; `None` without a usable URL, whose mistake is then reported.
pub(super) fn settings(
    read: &TypedTable<'_>,
    base: &Path,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Settings> {
    let (node, text) = (read.node("worker.url")?, read.text("worker.url")?);
    let allow =
        AllowedUrls { http: read.flag("worker.allow_http"), private: read.flag("worker.allow_private") };
    let keys = keys(read, node, diagnostics);
    let url = match WebhookUrl::parse(text, node.is_interpolated(), allow) {
        Ok(url) => url,
        Err((message, remedy)) => {
            diagnostics.problems.of_value(node, message, remedy);
            return None;
        }
    };
    Some(Settings {
        url,
        keys,
        headers: read
            .variables("worker.headers")
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect(),
        allow_private: allow.private,
        allow_http: allow.http,
        ca_file: read.path("worker.ca_file", base),
    })
}

/// The signing secrets; at least one is required.
fn keys(read: &TypedTable<'_>, url: &Node, diagnostics: &mut Diagnostics<'_>) -> Vec<SigningKey> {
    let items = match read.node("worker.secret") {
        Some(node) => match &node.value {
            Value::Array(items) => items.iter().collect(),
            _ => vec![node],
        },
        None => Vec::new(),
    };
    if items.is_empty() {
        let remedy = "add secret = \"${NAME}\", which holds \"whsec_\" and 32 random bytes in base64, as from openssl rand -base64 32";
        diagnostics.problems.of_key(
            url,
            "has no secret beside it: the receiver could not verify the requests",
            remedy,
        );
    }
    let mut keys = Vec::new();
    for item in items {
        let Value::Text(text) = &item.value else { continue };
        match SigningKey::parse(text) {
            Ok(key) => keys.push(key),
            Err(message) => {
                let remedy =
                    "write \"whsec_\" and 24 to 64 random bytes in base64, as from openssl rand -base64 32";
                diagnostics.problems.of_value(item, message, remedy);
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError, Handler};

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, "/etc/app/aint-queue.toml")
    }

    fn worker(lines: &str) -> String {
        format!("[channels.default.worker]\ntype = \"coroutine\"\n{lines}")
    }

    fn sending(more: &str) -> String {
        worker(&format!("url = \"https://a.example/hook\"\nsecret = \"{SECRET}\"\n{more}"))
    }

    fn wrong(text: &str) -> Vec<String> {
        let Err(ConfigError::Invalid(problems)) = parse(text) else { panic!("no mistake in {text}") };
        let shown = |p: &crate::config::Problem| {
            format!("{} {}: {}", p.key.trim_start_matches("channels.default."), p.message, p.remedy)
        };
        problems.iter().map(shown).collect()
    }

    fn has(text: &str, part: &str) {
        let wrong = wrong(text);
        assert!(wrong.len() == 1 && wrong[0].contains(part), "{text}\n{wrong:#?}");
    }

    #[test]
    fn url_with_secret_suffices() {
        let config = parse(&sending("headers = { X-A = \"b\" }\nca_file = \"ca.pem\"")).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let Handler::Webhook(settings) = &config.channels["default"].worker.handler else { panic!() };
        assert_eq!(settings.url.to_string(), "https://a.example/hook");
        assert_eq!(settings.keys.len(), 1);
        assert_eq!(settings.headers, [("x-a".to_owned(), "b".to_owned())]);
        assert_eq!(settings.ca_file.as_deref(), Some(std::path::Path::new("/etc/app/ca.pem")));
        assert!(!settings.allow_http && !settings.allow_private);
        let two = sending("").replace(&format!("\"{SECRET}\""), &format!("[\"{SECRET}\", \"{SECRET}\"]"));
        let config = parse(&two).unwrap();
        let Handler::Webhook(settings) = &config.channels["default"].worker.handler else { panic!() };
        assert_eq!(settings.keys.len(), 2);
    }

    #[test]
    fn conflicting_keys_are_refused_with_remedy() {
        has(&sending("").replace("coroutine", "process-pool"), "write type = \"coroutine\"");
        has(
            &sending("command = [\"true\"]"),
            "url contradicts command: only one of the two can run the jobs",
        );
        has(&sending("protocol = \"wire\"\ncommand = [\"true\"]"), "url contradicts command");
        has(&worker("url = \"https://a.example/\""), "has no secret beside it");
        has(
            &worker(&format!("url = \"http://a.example/\"\nsecret = \"{SECRET}\"")),
            "worker.allow_http = true",
        );
        has(
            &worker(&format!("url = \"https://10.0.0.1/\"\nsecret = \"{SECRET}\"")),
            "worker.allow_private = true",
        );
        has(
            &sending("headers = { Host = \"x\" }"),
            "headers.Host is a header that every request already has",
        );
        has(&sending("headers = { a = \"x\", A = \"y\" }"), "is set twice");
    }

    #[test]
    fn invalid_secret_is_not_quoted_or_called_missing() {
        let secret = |value: &str| worker(&format!("url = \"https://a.example/\"\nsecret = {value}"));
        has(
            &secret("\"hunter2\""),
            "worker.secret does not begin with \"whsec_\": write \"whsec_\" and 24 to 64",
        );
        has(&secret("[\"whsec_aHVudGVyMg==\"]"), "worker.secret[0] has fewer than 24 bytes");
        has(&secret("7"), "worker.secret is an integer: write a string or an array of strings");
        has(&secret("[]"), "worker.secret is empty");
        has(&secret("[1]"), "worker.secret holds an integer");
        has(&secret("\"${NO_SUCH_VARIABLE_HERE}\""), "needs the environment variable NO_SUCH_VARIABLE_HERE");
    }

    #[test]
    fn nearer_of_url_and_command_wins() {
        let text = format!(
            "[defaults.worker]\ntype = \"coroutine\"\nsecret = \"{SECRET}\"\ncommand = [\"true\"]\nprotocol = \"wire\"\n\
             [channels.a.worker]\nurl = \"https://a.example/\"\n[channels.b]\n"
        );
        let config = parse(&text).unwrap();
        let handler = |name: &str| &config.channels[name].worker.handler;
        assert!(matches!(handler("a"), Handler::Webhook(_)) && matches!(handler("b"), Handler::Wire { .. }));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let text = format!(
            "[defaults.worker]\ntype = \"coroutine\"\nsecret = \"{SECRET}\"\nurl = \"https://a.example/\"\n\
             [channels.a.worker]\ncommand = [\"true\"]\n"
        );
        assert!(matches!(parse(&text).unwrap().channels["a"].worker.handler, Handler::Wire { .. }));
    }

    #[test]
    fn webhook_keys_without_url_are_a_warning() {
        let warnings = parse(&worker("allow_http = true")).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].message, "has no effect without url");
    }

    #[test]
    fn secrets_are_not_shown() {
        let text =
            sending("headers = { authorization = \"Bearer hunter2\" }").replace("/hook", "/hook?key=hunter2");
        let config = parse(&text).unwrap();
        for shown in [config.to_toml(), config.to_json().to_string(), format!("{config:?}")] {
            assert!(!shown.contains("hunter2") && !shown.contains("MDEyMzQ1"), "{shown}");
            assert!(shown.contains("https://a.example/hook?[hidden]"), "{shown}");
        }
    }
}
