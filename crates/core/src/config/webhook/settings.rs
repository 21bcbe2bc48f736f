//! Target and contents of webhook requests, checked when the configuration is read.

use std::fmt;
use std::path::PathBuf;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::public_ip;
use super::signing_key::SigningKey;

/// Target and contents of webhook requests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The target.
    pub url: WebhookUrl,
    /// The signing secrets; each makes a signature of its own.
    pub keys: Vec<SigningKey>,
    /// Additional headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether addresses outside the public internet are allowed as targets.
    pub allow_private: bool,
    /// Whether `http://` is allowed.
    pub allow_http: bool,
    /// Certificate authorities that replace those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Headers that aint-queue sets itself, and headers of the connection.
const RESERVED_HEADERS: &[&str] = &[
    "host",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
];
/// Prefixes of headers that aint-queue sets itself.
const RESERVED_PREFIXES: &[&str] = &["webhook-", "aint-queue-"];

/// A mistake and its remedy.
pub(crate) type Rejection = (String, String);

impl Settings {
    /// The settings, secrets included, as the text of a worker's environment variable.
    #[must_use]
    pub fn to_variable(&self) -> String {
        serde_json::to_string(self).expect("texts and flags are always JSON")
    }

    /// Reads the text of [`Settings::to_variable`].
    pub fn from_variable(text: &str) -> Result<Self, String> {
        // The parser's error could quote a secret value, so it is dropped.
        serde_json::from_str(text)
            .map_err(|_| "its settings were written by another version: restart the master".to_owned())
    }

    /// The words that no log line and no error may show.
    pub fn secrets(&self) -> Vec<String> {
        let mut words: Vec<String> = self.keys.iter().cloned().map(String::from).collect();
        for (_, value) in &self.headers {
            // A receiver may echo the token of "Bearer …" without its scheme.
            words.extend(value.split_whitespace().last().map(str::to_owned));
            words.push(value.clone());
        }
        words.extend(self.url.secret_part().map(str::to_owned));
        words
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("keys", &self.keys)
            .field("headers", &names)
            .field("allow_private", &self.allow_private)
            .field("allow_http", &self.allow_http)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// A checked target URL. `Display` and `Debug` hide the parts that may be secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookUrl {
    #[serde(with = "as_text")]
    uri: Uri,
    /// Whether the path is secret, as it came from the environment.
    secret_path: bool,
}

impl WebhookUrl {
    /// Parses a URL; `secret_path` tells that it came from the environment. Messages never quote the text: it may hold a
    /// password.
    pub fn parse(text: &str, secret_path: bool, allow: AllowedUrls) -> Result<Self, Rejection> {
        let wrong = |message: &str, remedy: &str| Err((message.to_owned(), remedy.to_owned()));
        const FORM: &str =
            "write https://host/path, other characters than those of ASCII as %XX, names as xn--…";
        let text = text.split('#').next().unwrap_or_default();
        let Ok(uri) = text.parse::<Uri>() else { return wrong("is not a URL", FORM) };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return wrong("is not a complete URL", FORM);
        };
        match scheme {
            "https" => {}
            "http" if allow.http => {}
            "http" => {
                let remedy = "write https://, or set worker.allow_http = true on a network you trust";
                return wrong("would be sent without TLS", remedy);
            }
            _ => return wrong("is not an https:// URL", FORM),
        }
        if authority.as_str().contains('@') {
            let remedy = "send it as a header: headers = { authorization = \"${NAME}\" }";
            return wrong("holds a user name or password", remedy);
        }
        let host = authority.host();
        if host.is_empty()
            || public_ip::is_numeric_name(host)
            || (host.starts_with('[') && public_ip::literal_ip(host).is_none())
        {
            return wrong(
                "has no usable host",
                "write a name, or an address such as 203.0.113.7 or [2001:db8::7]",
            );
        }
        // The text behind the host: the parser accepts ports that are not numbers.
        let port = authority.as_str().strip_prefix(host).unwrap_or_default();
        let usable = |port: &str| port.strip_prefix(':')?.parse::<u16>().ok().filter(|port| *port > 0);
        if !port.is_empty() && usable(port).is_none() {
            let remedy = "write a number from 1 to 65535 after the colon, or no colon";
            return wrong("has no usable port", remedy);
        }
        if let (false, Some(kind)) =
            (allow.private, public_ip::literal_ip(host).and_then(public_ip::not_public))
        {
            let remedy = "name a public host, or set worker.allow_private = true if the receiver is in your own network";
            return Err((format!("goes to {kind}"), remedy.to_owned()));
        }
        Ok(Self { uri, secret_path })
    }

    /// The complete URL, for the code that sends the request.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host of the URL, as written.
    #[must_use]
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Scheme, host and port: the part that messages may show.
    pub fn origin(&self) -> String {
        let authority = self.uri.authority().map_or("", |a| a.as_str());
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or_default())
    }

    /// The part that may be secret.
    fn secret_part(&self) -> Option<&str> {
        let all = self.uri.path_and_query().map_or("", |all| all.as_str());
        let part =
            if self.secret_path { all.trim_start_matches('/') } else { self.uri.query().unwrap_or_default() };
        (!part.is_empty()).then_some(part)
    }
}

/// Exceptions from "public and encrypted".
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowedUrls {
    /// Allow `http://`.
    pub http: bool,
    /// Allow addresses outside the public internet.
    pub private: bool,
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())?;
        match (self.secret_path, self.secret_part()) {
            (true, Some(_)) => f.write_str("/[hidden]"),
            (false, Some(_)) => write!(f, "{}?[hidden]", self.uri.path()),
            (_, None) => f.write_str(self.uri.path()),
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The mistake in an additional header, if any. Messages never quote the value.
pub fn header_rejection(name: &str, value: &str) -> Option<Rejection> {
    let wrong = |message: &str, remedy: &str| Some((message.to_owned(), remedy.to_owned()));
    let lower = name.to_ascii_lowercase();
    if HeaderName::try_from(name).is_err() {
        return wrong("cannot be the name of a header", "use letters, digits and -");
    }
    if RESERVED_HEADERS.contains(&lower.as_str())
        || RESERVED_PREFIXES.iter().any(|family| lower.starts_with(family))
    {
        return wrong("is a header that every request already has", "remove it");
    }
    if HeaderValue::try_from(value).is_err() {
        return wrong("cannot be sent in a header", "use characters of ASCII without line breaks");
    }
    None
}

mod as_text {
    use http::Uri;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(uri: &Uri, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(uri)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: AllowedUrls = AllowedUrls { http: true, private: true };

    fn wrong(url: &str, allow: AllowedUrls) -> String {
        WebhookUrl::parse(url, false, allow).map(|t| t.to_string()).unwrap_err().0
    }

    #[test]
    fn only_complete_urls_to_allowed_hosts_are_valid() {
        let strict = AllowedUrls::default();
        assert_eq!(wrong("", strict), "is not a URL");
        assert_eq!(wrong("https://ex ample.com", strict), "is not a URL");
        assert_eq!(wrong("example.com/hook", strict), "is not a URL");
        assert_eq!(wrong("/hook", strict), "is not a complete URL");
        assert_eq!(wrong("ftp://example.com/", strict), "is not an https:// URL");
        assert_eq!(wrong("http://example.com/", strict), "would be sent without TLS");
        assert_eq!(wrong("https://ann:hunter2@example.com/", ALL), "holds a user name or password");
        for url in ["https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://[::1%25lo]/"] {
            let message = wrong(url, ALL);
            assert!(message == "has no usable host" || message == "is not a URL", "{url}: {message}");
        }
        for url in ["https://a:0/", "https://a:/", "https://a:65536/"] {
            let message = wrong(url, ALL);
            assert!(message == "has no usable port" || message == "is not a URL", "{url}: {message}");
        }
        assert_eq!(wrong("https://169.254.169.254/latest", strict), "goes to an address of cloud metadata");
        assert_eq!(wrong("https://[::ffff:10.0.0.1]:8443/", strict), "goes to a private address");
        assert_eq!(
            wrong("http://127.0.0.1/", AllowedUrls { http: true, private: false }),
            "goes to a loopback address"
        );
        for url in ["https://example.com", "https://example.com:8443/a?b=c#d", "https://8.8.8.8/"] {
            assert!(WebhookUrl::parse(url, false, strict).is_ok(), "{url}");
        }
        assert!(WebhookUrl::parse("http://[::1]:80/", false, ALL).is_ok());
    }

    #[test]
    fn url_secrets_are_redacted() {
        let shown = |url, secret| WebhookUrl::parse(url, secret, AllowedUrls::default()).unwrap().to_string();
        assert_eq!(shown("https://a.example/hook?key=hunter2", false), "https://a.example/hook?[hidden]");
        assert_eq!(shown("https://a.example/T0/hunter2", true), "https://a.example/[hidden]");
        assert_eq!(shown("https://a.example/hook", false), "https://a.example/hook");
        assert_eq!(shown("https://a.example", true), "https://a.example/");
    }

    #[test]
    fn reserved_and_invalid_headers_are_refused() {
        for name in [
            "Webhook-Id",
            "webhook-signature",
            "AINT-QUEUE-JOB",
            "Host",
            "content-type",
            "Connection",
            "a b",
            "",
        ] {
            assert!(header_rejection(name, "x").is_some(), "{name}");
        }
        assert!(header_rejection("x-a", "a\nb").is_some());
        assert!(header_rejection("Authorization", "Bearer x").is_none());
    }

    #[test]
    fn settings_reach_their_worker_and_print_no_secret() {
        let settings = Settings {
            url: WebhookUrl::parse("https://a.example/hook?key=hunter2", false, AllowedUrls::default())
                .unwrap(),
            keys: vec![SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()],
            headers: vec![("authorization".to_owned(), "Bearer hunter2".to_owned())],
            allow_private: true,
            allow_http: false,
            ca_file: Some(PathBuf::from("/etc/ca.pem")),
        };
        assert_eq!(Settings::from_variable(&settings.to_variable()).unwrap(), settings);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("MfKQ"), "{shown}");
        let error = Settings::from_variable("{\"url\":\"hunter2\"}").unwrap_err();
        assert!(!error.contains("hunter2"));
    }
}
