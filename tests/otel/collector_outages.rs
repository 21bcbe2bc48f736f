//! A collector that is down or stuck delays neither jobs nor the stop; lost spans are counted in the log.

use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::fixture::{Fixture, until};

fn sending_to(endpoint: &str) -> Fixture {
    Fixture::sqlite(&format!(
        "[otel]\nendpoint = \"{endpoint}\"\n[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 50\n"
    ))
}

/// Runs more jobs than the queue holds spans, and stops.
fn loses_spans_only(endpoint: &str, complaint: &str) {
    const JOBS: u64 = 4_000;
    let fixture = sending_to(endpoint);
    let master = fixture.listen(&[]);
    fixture.push_lines("default", (0..JOBS).map(|_| r#"{"job":"noop"}"#.to_owned()));
    fixture.until("default", "all jobs", |counts| counts.done == JOBS);
    until("the warning", || master.log().contains("spans not sent: trying again"));
    let log_path = master.log_path();
    let begun = Instant::now();
    assert!(master.stop().success());
    // The stop itself takes a moment; the spans add a second at most.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let log = std::fs::read_to_string(log_path).unwrap();
    assert!(log.contains(complaint), "{log}");
    let dropped =
        log.lines().filter(|line| line.contains("spans dropped") || line.contains("spans not sent before"));
    let dropped: u64 = dropped
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["spans"].as_u64().unwrap())
        .sum();
    assert!(dropped >= JOBS - 100, "{dropped} spans are told of: {log}");
}

#[test]
fn collector_that_is_down_costs_spans_only() {
    loses_spans_only("http://127.0.0.1:1", "spans dropped");
}

#[test]
fn stuck_collector_costs_spans_only() {
    let collector = Collector::stuck();
    loses_spans_only(&collector.url(), "no response within");
}
