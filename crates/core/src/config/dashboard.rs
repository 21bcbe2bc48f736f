//! Builds the settings of the dashboard from the validated keys `http.dashboard`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::error::Diagnostics;
use super::keys::HTTP_KEYS;
use super::schema::known;
use super::token_strength::weakness;
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
        None => is_loopback && !has_tokens && read.node("public_url").is_none(),
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

impl Dashboard {
    /// The names that `hide` has by default.
    #[must_use]
    pub fn usual_hide() -> Vec<String> {
        default_hide()
    }
}

fn default_hide() -> Vec<String> {
    let items = known(HTTP_KEYS, "dashboard.hide").default.trim_matches(['[', ']']).split(", ");
    items.map(|item| item.trim_matches('"').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    const TOKEN: &str = "a-token-of-ann-0123456789";

    fn parse(listen: &str, dashboard: &str) -> Result<Config, ConfigError> {
        let text = format!(
            "[http]\nlisten = \"{listen}\"\ntoken = \"a-token-of-producers-01\"\n[http.dashboard]\n{dashboard}\n[channels.mail]\n"
        );
        Config::parse(&text, "/etc/app/aint-queue.toml")
    }

    fn settings(listen: &str, dashboard: &str) -> Option<Dashboard> {
        parse(listen, dashboard).unwrap().http.unwrap().dashboard
    }

    /// All mistakes, without their places.
    fn wrong(listen: &str, dashboard: &str) -> String {
        let Err(ConfigError::Invalid(problems)) = parse(listen, dashboard) else {
            panic!("no mistake in {dashboard}")
        };
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn visitors_without_a_token_are_for_loopback_without_tokens() {
        let loopback = "127.0.0.1:9465";
        assert_eq!(settings(loopback, ""), None);
        let open = settings(loopback, "enabled = true").unwrap();
        assert!(open.anonymous && !open.anonymous_sees_payloads);
        assert!(open.hide.contains(&"password".to_owned()) && open.hide.contains(&"card".to_owned()));
        let operators = format!("enabled = true\noperators = {{ ann = \"{TOKEN}\" }}");
        let guarded = settings(loopback, &operators).unwrap();
        assert!(!guarded.anonymous && guarded.operators["ann"].reveal() == TOKEN);
        assert!(settings(loopback, &format!("{operators}\nanonymous = \"viewer\"")).unwrap().anonymous);
        assert!(settings("10.0.0.7:9465", &operators).is_some());
        assert_eq!(settings(loopback, "enabled = true\nhide = [\"PIN\"]").unwrap().hide, ["pin"]);
    }

    #[test]
    fn public_url_ends_the_rights_of_visitors_without_a_token() {
        let parse = |http: &str, dashboard: &str| {
            let text = format!(
                "[http]\nlisten = \"127.0.0.1:9465\"\n{http}\n[http.dashboard]\nenabled = true\n{dashboard}\n[channels.mail]\n"
            );
            Config::parse(&text, "/etc/app/aint-queue.toml")
        };
        assert!(parse("public_url = \"https://example.com/queue\"", "").is_err());
        let viewers = "viewers = { team = \"0123456789abcdefgh\" }";
        let config = parse("public_url = \"https://example.com/queue\"", viewers).unwrap();
        assert!(!config.http.unwrap().dashboard.unwrap().anonymous);
        for path in ["/login", "/:a", "/{*x}", "//evil", "/a;b", "/a/../b", "/metrics/x"] {
            let url = format!("public_url = \"https://example.com{path}\"");
            let Err(ConfigError::Invalid(problems)) = parse(&url, viewers) else {
                panic!("{path} is accepted")
            };
            assert!(problems[0].to_string().contains("has the path segment"), "{problems:?}");
        }
        assert!(parse("public_url = \"https://example.com/a-b/c.d/login\"", viewers).is_ok());
    }

    #[test]
    fn open_or_unreachable_dashboard_is_a_mistake() {
        let network = "0.0.0.0:9465";
        assert!(wrong(network, "enabled = true").contains("needs a token to sign in with"));
        let open = wrong(network, "enabled = true\nanonymous = \"viewer\"");
        assert!(open.contains("shows the queue to every host on the network"), "{open}");
        let closed = wrong("127.0.0.1:9465", "enabled = true\nanonymous = \"none\"");
        assert!(closed.contains("needs a token to sign in with"), "{closed}");
    }

    #[test]
    fn token_is_long_and_of_one_person() {
        for (dashboard, expected) in [
            ("viewers = { ann = \"short\" }", "has fewer than 16 characters"),
            ("viewers = { ann = \"aaaaaaaaaaaaaaaaaaaa\" }", "different characters"),
            ("viewers = { ann = \"0123456789 abcdefgh\" }", "cannot be sent in a header"),
            ("viewers = { \"a b\" = \"0123456789abcdefgh\" }", "cannot be the name"),
            ("viewers = { ann = 7 }", "such as { ann ="),
            ("viewers = { ann = \"a-token-of-producers-01\" }", "is the same as http.token"),
            (
                "viewers = { a = \"0123456789abcdefgh\", b = \"0123456789abcdefgh\" }",
                "is the same as http.dashboard.viewers.a",
            ),
            (
                "viewers = { a = \"0123456789abcdefgh\" }\noperators = { a = \"0123456789abcdefgh\" }",
                "is the same as http.dashboard.viewers.a",
            ),
        ] {
            let found = wrong("127.0.0.1:9465", &format!("enabled = true\n{dashboard}"));
            assert!(found.contains(expected), "{dashboard}: {found}");
            assert!(!found.contains("0123456789abcdefgh"), "{found}");
        }
    }

    #[test]
    fn settings_of_a_dashboard_that_is_off_are_a_warning() {
        let config = parse("127.0.0.1:9465", "title = \"prod\"").unwrap();
        assert!(config.warnings[0].message.contains("the dashboard is off"), "{:?}", config.warnings);
        assert!(parse("127.0.0.1:9465", "enabled = false\ntitle = \"prod\"").unwrap().warnings.is_empty());
    }
}
