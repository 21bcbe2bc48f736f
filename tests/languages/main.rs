//! The programs of `examples/`, run by the real interpreters under the real binary with the configurations of the examples.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/redis.rs"]
mod redis;

mod drain;
mod example;
mod exec;
mod output;
mod producers;
mod script;
mod traces;
mod wire;

#[test]
fn example_workers_are_short() {
    for file in example::programs() {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines < 70, "{} has {lines} lines", file.display());
    }
}
