//! The script for producers in other languages, `examples/redis/push.lua`: built from the parts of the driver's own push, so
//! that both have the same effect.

use std::fmt::Write;
use std::fs;

use super::{CHANNEL_KEYS, PARTS, PRELUDE, Script};
use crate::job::{
    MAX_DELAY, MAX_HEADER_BYTES, MAX_HEADERS, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, MAX_UNIQUE_KEY_BYTES,
};
use crate::store::driver_rules::MAX_ID_LEAD;
use crate::store::redis::keys::Keys;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/redis/push.lua");

fn put_together() -> String {
    let keys = Keys::of("", "x");
    let names: Vec<_> = keys
        .fixed()
        .iter()
        .map(|key| format!("'{}'", key.strip_prefix("aint-queue:{x}:").unwrap()))
        .collect();
    let limits = [
        ("MAX_DELAY", MAX_DELAY.as_micros()),
        ("MAX_LEAD", MAX_ID_LEAD.into()),
        ("MAX_PAYLOAD", MAX_PAYLOAD_BYTES as u128),
        ("MAX_DEPTH", MAX_PAYLOAD_DEPTH as u128),
        ("MAX_OPTIONS", 64 << 10),
        ("MAX_KEY", MAX_UNIQUE_KEY_BYTES as u128),
        ("MAX_HEADERS", MAX_HEADERS as u128),
        ("MAX_HEADER_BYTES", MAX_HEADER_BYTES as u128),
    ];
    let mut text = include_str!("producer_head.lua").to_owned();
    writeln!(text, "local NAMES = {{\n  {},\n}}", names.join(", ")).unwrap();
    for (name, value) in limits {
        writeln!(text, "local {name} = {value}").unwrap();
    }
    text.push_str(include_str!("producer_keys.lua"));
    text.push_str(CHANNEL_KEYS);
    text.push_str(PRELUDE);
    write!(text, "\nlocal function push(ARGV)\n{}end\n\n", PARTS[Script::Push as usize].text).unwrap();
    text.push_str(include_str!("producer.lua"));
    text
}

#[test]
fn producer_script_is_built_from_own_scripts() {
    let text = put_together();
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    let found = fs::read_to_string(FILE).unwrap();
    assert!(
        found == text,
        "{FILE} differs from the scripts it is built from: review the difference, then run this test with UPDATE_EXAMPLES=1"
    );
}
