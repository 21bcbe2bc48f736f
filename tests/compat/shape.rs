//! The part of a JSON document that programs rely on.

use std::collections::BTreeSet;

use serde_json::Value;

/// Keys whose value is a number at one time and absent at another, in the same situation.
const SOMETIMES_NULL: &[&str] = &[
    // Absent between two boots of a crash loop.
    "next_boot_ms",
    // Absent until the first sample.
    "memory",
];

/// Every key path of a document with the type of its value, one per line. Words such as `no_slot` count as types of their own.
pub fn shape(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect("", value, &mut found);
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    let key = path.rsplit('.').next().unwrap_or_default();
    let kind = match value {
        Value::Null | Value::Number(_) if SOMETIMES_NULL.contains(&key) => "number or null".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if number.is_f64() => "fraction".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(text) if is_word(text) => format!("\"{text}\""),
        Value::String(_) => "string".to_owned(),
        Value::Array(items) => {
            items.iter().for_each(|item| collect(&format!("{path}[]"), item, found));
            "array".to_owned()
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                collect(&format!("{path}{dot}{key}"), value, found);
            }
            "object".to_owned()
        }
    };
    found.insert(format!("{path}: {kind}"));
}

/// Whether a text is one of a fixed set, as far as its form tells.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || "_-".contains(c))
}

/// The differences between two documents, as a text for the failure of a test; empty when there are none. A later version may
/// add keys.
pub fn differences(recorded: &Value, now: &Value) -> String {
    let (recorded, now) = (shape(recorded), shape(now));
    let path = |line: &str| line.split(": ").next().unwrap_or_default().to_owned();
    let known: BTreeSet<_> = recorded.iter().map(|line| path(line)).collect();
    let missing = recorded.difference(&now).map(|line| format!("  - {line}\n"));
    let changed = now.difference(&recorded).filter(|line| known.contains(&path(line)));
    missing.chain(changed.map(|line| format!("  + {line}\n"))).collect()
}

#[test]
fn differences_name_the_key_path() {
    let recorded = serde_json::json!({ "jobs": [{ "id": 1, "state": "busy", "error": "no route" }] });
    let same = serde_json::json!({ "jobs": [{ "id": 2, "state": "busy", "error": "another text" }] });
    assert_eq!(differences(&recorded, &same), "");
    let more = serde_json::json!({ "jobs": [{ "id": 1, "state": "busy", "error": "no route", "new": 1 }] });
    assert_eq!(differences(&recorded, &more), "");
    let other = serde_json::json!({ "jobs": [{ "id": "1", "state": "idle" }] });
    assert_eq!(
        differences(&recorded, &other),
        "  - jobs[].error: string\n  - jobs[].id: number\n  - jobs[].state: \"busy\"\n  + jobs[].id: string\n  \
         + jobs[].state: \"idle\"\n"
    );
}
