//! Builds the settings of the dashboard from the validated keys `http.dashboard`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::error::Diagnostics;
use super::http::weakness;
use super::keys::HTTP_KEYS;
use super::schema::known;
use super::typed::TypedTable;
use super::{Dashboard, Secret};

/// Longest name of a holder of a token, in bytes.
const MAX_NAME: usize = 64;

/// The dashboard of a listener; `None` while it is off.
pub(super) fn dashboard(
    read: &TypedTable<'_>,
    listen: SocketAddr,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Dashboard> {
    let mut seen = BTreeMap::new();
    if let Some(push) = read.text("token") {
        seen.insert(push, "http.token".to_owned());
    }
    for list in ["dashboard.viewers", "dashboard.operators"] {
        check_tokens(read, list, &mut seen, diagnostics);
    }
    if !read.flag("dashboard.enabled") {
        if let Some(node) = read.node("dashboard")
            && read.node("dashboard.enabled").is_none()
        {
            let message = "has no effect: the dashboard is off";
            diagnostics.warnings.of_key(node, message, "add enabled = true to it");
        }
        return None;
    }
    let (viewers, operators) = (tokens(read, "dashboard.viewers"), tokens(read, "dashboard.operators"));
    let has_tokens = !viewers.is_empty() || !operators.is_empty();
    let is_loopback = listen.ip().is_loopback();
    let anonymous = match read.text("dashboard.anonymous") {
        Some(word) => word == "viewer",
        None => is_loopback && !has_tokens,
    };
    if let Some(node) = read.node("dashboard.enabled")
        && !anonymous
        && !has_tokens
    {
        let remedy = "add operators = { ann = \"${ANN_TOKEN}\" } to [http.dashboard], with a token from openssl rand -hex 32";
        diagnostics.problems.of_value(node, "needs a token to sign in with", remedy);
    }
    if let Some(node) = read.node("dashboard.anonymous")
        && anonymous
        && !is_loopback
    {
        let remedy = "listen on 127.0.0.1, or remove it and add viewers = { team = \"${TEAM_TOKEN}\" }";
        diagnostics.problems.of_value(node, "shows the queue to every host on the network", remedy);
    }
    Some(Dashboard {
        title: read.text("dashboard.title").map(str::to_owned),
        viewers,
        operators,
        anonymous,
        anonymous_sees_payloads: read.flag("dashboard.viewer_sees_payloads"),
        hide: read
            .names("dashboard.hide")
            .map_or_else(default_hide, |names| names.map(|name| name.to_ascii_lowercase()).collect()),
    })
}

fn tokens(read: &TypedTable<'_>, path: &str) -> BTreeMap<String, Secret> {
    read.variables(path).into_iter().map(|(name, token)| (name, Secret::new(token))).collect()
}

/// Checks the names and tokens of a list. A token that two names share would not tell who did what.
fn check_tokens<'a>(
    read: &TypedTable<'a>,
    path: &str,
    seen: &mut BTreeMap<&'a str, String>,
    diagnostics: &mut Diagnostics<'_>,
) {
    let table = read.node(path).and_then(|node| node.value.as_table());
    let problems = &mut diagnostics.problems;
    for (name, node) in table.into_iter().flatten() {
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|b| b.is_ascii_graphic()) {
            let remedy = "use 1 to 64 letters, digits and punctuation of ASCII without spaces";
            problems.of_key(node, "cannot be the name of a person or team", remedy);
        }
        let Some(token) = node.value.as_text() else { continue };
        if let Some(message) = wrong_token(token) {
            problems.of_value(node, message, "use a long random one, as from openssl rand -hex 32");
        } else if let Some(other) = seen.insert(token, format!("http.{path}.{name}")) {
            problems.of_value(node, format!("is the same as {other}"), "give each its own token");
        }
    }
}

fn wrong_token(token: &str) -> Option<String> {
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Some("cannot be sent in a header".to_owned());
    }
    weakness(token).map(|weakness| format!("{weakness} and may be guessed"))
}

fn default_hide() -> Vec<String> {
    let items = known(HTTP_KEYS, "dashboard.hide").default.trim_matches(['[', ']']).split(", ");
    items.map(|item| item.trim_matches('"').to_owned()).collect()
}
