//! Dependencies between modules point one way. This test reads the sources and fails at the first `use` that does not.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of ours each module may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("job", &[]),
    ("log_macros", &[]),
    ("fd", &[]),
    ("metrics", &[]),
    ("wire", &["job"]),
    ("guardian", &["fd"]),
    ("pool", &["job", "config::plan", "wire", "guardian"]),
    ("config", &["job", "webhook::settings"]),
    ("store", &["job", "config", "log_macros"]),
    ("queue", &["job", "config", "store"]),
    ("queue_set", &["job", "config", "store", "queue"]),
    ("limits", &["job", "store"]),
    ("retry", &["job", "config", "store"]),
    ("executor", &["job"]),
    (
        "in_process",
        &["job", "config", "store", "queue", "queue_set", "limits", "retry", "executor", "log_macros"],
    ),
    ("testing", &["job", "config", "store", "queue", "retry", "in_process", "app"]),
    ("job_json", &["job"]),
    ("snapshot", &["job", "config", "store", "guardian", "metrics"]),
    ("channel", &["job", "job_json", "wire", "config", "store", "limits", "retry", "pool", "metrics"]),
    ("http", &["job", "config", "store", "queue", "queue_set", "job_json"]),
    (
        "master",
        &[
            "job",
            "fd",
            "config",
            "store",
            "retry",
            "pool",
            "guardian",
            "channel",
            "snapshot",
            "metrics",
            "http",
            "queue_set",
            "webhook",
        ],
    ),
    ("webhook", &["job", "worker"]),
    ("worker", &["job", "job_json", "wire", "fd", "executor"]),
    (
        "cli",
        &[
            "job",
            "config",
            "store",
            "queue",
            "in_process",
            "job_json",
            "channel",
            "pool",
            "master",
            "snapshot",
            "metrics",
        ],
    ),
    ("middleware", &["job"]),
    ("app", &["job", "config", "queue", "in_process", "cli", "worker", "webhook", "guardian"]),
    ("demo_jobs", &["job", "app"]),
];

/// The modules that may talk to the operating system by themselves.
const SYSTEM: &[&str] = &["guardian", "master", "fd"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The module a file belongs to: `src/store/mod.rs` and `src/store/error.rs` are `store`.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Lines of code with their numbers: no comments, no unit tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(i, line)| (i + 1, line.split(" // ").next().unwrap_or(line)))
}

/// Every path behind `crate::` in a line, as text: `store::Store`, `{job, wire}`.
fn own_paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, found)| &line[at + found.len()..])
}

fn violations(files: &[(String, String, String)]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, file, text) in files {
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!("{file}: the module \"{module}\" has no line in this test"));
            continue;
        };
        for (number, line) in code(text) {
            for path in own_paths(line) {
                let own = path.split(|c: char| !c.is_alphanumeric() && c != '_').next() == Some(module);
                // Types that stand at the crate root are the doors of the library, not a layer.
                let at_root = path.starts_with(char::is_uppercase);
                let fits = may.iter().any(|m| {
                    path.strip_prefix(m)
                        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                });
                if !own && !at_root && !fits {
                    wrong.push(format!("{file}:{number}: \"{module}\" may not use crate::{path}"));
                }
            }
            let system = line.contains("std::process::Command") || line.contains("nix::unistd::fork");
            if system && !SYSTEM.contains(&module.as_str()) {
                wrong.push(format!("{file}:{number}: only {SYSTEM:?} start processes"));
            }
        }
    }
    wrong
}

#[test]
fn modules_use_only_lower_layers() {
    let mut paths = Vec::new();
    sources(Path::new("src"), &mut paths);
    assert!(paths.len() > 20, "the sources are where this test looks");
    let files: Vec<_> = paths
        .iter()
        .map(|path| (module_of(path), path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    let wrong = violations(&files);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn forbidden_use_is_found() {
    let file = |module: &str, text: &str| (module.to_owned(), format!("src/{module}.rs"), text.to_owned());
    let wrong = |module, text| !violations(&[file(module, text)]).is_empty();
    assert!(wrong("store", "use crate::pool::Pool;"));
    assert!(wrong("pool", "let x = crate::store::open();"));
    assert!(wrong("job", "use crate::wire;"));
    assert!(wrong("config", "use crate::pool::Pool;"));
    assert!(wrong("unheard_of", "fn main() {}"));
    assert!(wrong("channel", "let c = std::process::Command::new(\"ls\");"));
    assert!(!wrong("pool", "use crate::config::plan::Plan;"));
    assert!(wrong("pool", "use crate::config::Config;"));
    assert!(!wrong("store", "use crate::job::JobId; // crate::pool"));
}
