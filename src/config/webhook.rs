//! From `worker.url` and the keys beside it to the settings of webhooks.

use std::path::Path;

use super::read::{Notes, Reader};
use super::tree::{Node, Value};
use crate::webhook::settings::{Allow, Key, Settings, Target};

/// The keys that mean something only beside `worker.url`.
pub(super) const BESIDE_URL: [&str; 5] = ["secret", "headers", "allow_http", "allow_private", "ca_file"];

/// What requests are to be sent; `None` without a usable URL, with the reason noted.
pub(super) fn settings(read: &Reader<'_>, base: &Path, notes: &mut Notes<'_, '_>) -> Option<Settings> {
    let (node, text) = (read.node("worker.url")?, read.text("worker.url")?);
    let allow = Allow { http: read.flag("worker.allow_http"), private: read.flag("worker.allow_private") };
    let keys = keys(read, node, notes);
    let url = match Target::parse(text, node.from_env, allow) {
        Ok(url) => url,
        Err((message, remedy)) => {
            notes.problems.add(node.at, &node.key, message, remedy);
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

/// The secrets to sign with; there must be one.
fn keys(read: &Reader<'_>, url: &Node, notes: &mut Notes<'_, '_>) -> Vec<Key> {
    let items = match read.node("worker.secret") {
        Some(node) => match &node.value {
            Value::Array(items) => items.iter().collect(),
            _ => vec![node],
        },
        None => Vec::new(),
    };
    if items.is_empty() {
        let remedy = "add secret = \"${NAME}\", which holds \"whsec_\" and 32 random bytes in base64, as from openssl rand -base64 32";
        notes.problems.add(
            url.key_at,
            &url.key,
            "has no secret beside it: nobody could verify the requests",
            remedy,
        );
    }
    let mut keys = Vec::new();
    for item in items {
        let Value::Text(text) = &item.value else { continue };
        match Key::parse(text) {
            Ok(key) => keys.push(key),
            Err(message) => {
                let remedy =
                    "write \"whsec_\" and 24 to 64 random bytes in base64, as from openssl rand -base64 32";
                notes.problems.add(item.at, &item.key, message, remedy);
            }
        }
    }
    keys
}
