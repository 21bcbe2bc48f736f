//! The cases, by subject. Each runs on every driver.

#![deny(dead_code, reason = "a case that no list names would not run")]

mod alerts;
mod claims;
mod clock;
mod commands;
mod concurrency;
mod delay;
mod expiry;
mod ids;
mod kept;
mod limits;
mod malformed;
mod masters;
mod order;
mod outputs;
mod pause;
mod priority;
mod random;
mod reap;
mod reconcile;
mod settle;
mod stored_bytes;
mod take;
mod unique;
mod wait;

/// A file that no `mod` names would not be compiled.
#[test]
fn every_file_of_cases_is_a_module() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/cases");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        let named = include_str!("mod.rs").lines().any(|line| line == format!("mod {module};"));
        assert!(named || module == "mod", "cases/{name} is no module");
    }
}
