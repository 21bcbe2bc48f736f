//! Builds the settings of the HTTP listener from the validated table `[http]`.

use std::net::SocketAddr;

use super::base_url::check_base_url;
use super::error::Diagnostics;
use super::keys::HTTP_KEYS;
use super::spanned::{Node, Table};
use super::token_strength::weakness;
use super::typed::TypedTable;
use super::{Http, Secret, dashboard};

/// The listener described by `table`; `None` without an address. `with_token` tells whether the file has a token, even a
/// wrong one that validation removed.
pub(super) fn http(table: &Table, with_token: bool, diagnostics: &mut Diagnostics<'_>) -> Option<Http> {
    let read = TypedTable::new(table, HTTP_KEYS);
    let token = token(&read, diagnostics);
    let Some(node) = read.node("listen") else {
        if let Some(other) = table.values().next() {
            let message = "has no effect: without listen there is no HTTP listener";
            diagnostics.warnings.of_key(other, message, "add listen = \"127.0.0.1:9465\"");
        }
        return None;
    };
    let Ok(listen) = read.text("listen").unwrap_or_default().parse::<SocketAddr>() else {
        let remedy = "write an IP address with a port, such as \"127.0.0.1:9465\" or \"[::1]:9465\"";
        diagnostics.problems.of_value(node, "is not an address to listen on", remedy);
        return None;
    };
    if !listen.ip().is_loopback() && !with_token {
        let message = format!("= \"{listen}\" lets every host on the network push jobs");
        let remedy = "add token = \"${NAME}\", which is taken from the environment, or listen on 127.0.0.1";
        diagnostics.problems.of_value(node, message, remedy);
    }
    Some(Http {
        listen,
        token,
        hosts: hosts(read.node("hosts")),
        max_body: read.integer("max_body_bytes"),
        max_connections: read.integer("max_connections"),
        max_connections_per_peer: per_peer(&read, diagnostics),
        timeout: read.seconds("timeout_seconds"),
        public_url: public_url(&read, diagnostics),
        dashboard: dashboard::dashboard(&read, listen, diagnostics),
    })
}

/// The base of links, without a slash at its end.
fn public_url(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<String> {
    let (node, text) = (read.node("public_url")?, read.text("public_url")?);
    if let Err(why) = check_base_url(text) {
        let remedy =
            "write the URL at which people reach the listener, such as \"https://queue.example.com\"";
        diagnostics.problems.of_value(node, why, remedy);
    } else if let Some(segment) = unusable_segment(text) {
        let message =
            format!("has the path segment \"{}\", which no page can be below", segment.escape_debug());
        let remedy = "use a path of letters, digits and - . _ ~, such as \"https://example.com/queue\"";
        diagnostics.problems.of_value(node, message, remedy);
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// The first segments of paths of the listener itself.
const OWN_SEGMENTS: &[&str] =
    &["api", "assets", "channels", "events", "health", "healthz", "login", "logout", "metrics", "readyz"];

/// A segment of the path of a URL that pages cannot be below: its characters have a meaning in routes or cookies, or it is one of the
/// listener's own.
fn unusable_segment(url: &str) -> Option<&str> {
    let path = url.split_once("://")?.1.split_once('/')?.1.trim_end_matches('/');
    if path.is_empty() {
        return None;
    }
    let is_plain = |segment: &str| {
        let plain = segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        plain && !matches!(segment, "" | "." | "..")
    };
    let mut segments = path.split('/').enumerate();
    let is_wrong = |(index, segment): &(usize, &str)| {
        !is_plain(segment) || (*index == 0 && OWN_SEGMENTS.contains(segment))
    };
    segments.find(is_wrong).map(|(_, segment)| segment)
}

/// The limit of one address; three quarters of all connections by default, so that one client never holds all.
fn per_peer(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> usize {
    let all: usize = read.integer("max_connections");
    let Some(node) = read.node("max_connections_per_peer") else { return (all * 3 / 4).max(1) };
    let one = read.integer("max_connections_per_peer");
    if one > all {
        let message = format!("= {one} contradicts max_connections = {all} of all addresses");
        diagnostics.problems.of_value(node, message, "lower it, or raise max_connections");
    }
    one
}

pub(super) fn token(read: &TypedTable<'_>, diagnostics: &mut Diagnostics<'_>) -> Option<Secret> {
    let (node, text) = (read.node("token")?, read.text("token")?);
    if text.is_empty() {
        diagnostics.problems.of_value(node, "is empty", "write a long random word, or remove it");
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        let remedy = "use letters, digits and punctuation of ASCII without spaces";
        diagnostics.problems.of_value(node, "cannot be sent in a header", remedy);
    } else if let Some(weakness) = weakness(text) {
        let address = read.text("listen").and_then(|listen| listen.parse::<SocketAddr>().ok());
        let reach = match address {
            Some(address) if !address.ip().is_loopback() => " by every host that reaches this address",
            _ => "",
        };
        let message = format!("{weakness} and may be guessed{reach}");
        diagnostics.warnings.of_value(node, message, "use a long random one, as from openssl rand -hex 32");
    }
    Some(Secret::new(text))
}

/// The host names in lower case, as requests are compared.
pub(super) fn hosts(node: Option<&Node>) -> Vec<String> {
    let items = node.map_or(&[][..], |node| node.value.items());
    items.iter().filter_map(|item| Some(item.value.as_text()?.to_ascii_lowercase())).collect()
}
