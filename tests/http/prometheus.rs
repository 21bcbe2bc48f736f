//! The metrics, rules and dashboard with the real Prometheus.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use aint_queue::engine::metrics::Metrics;

use crate::client::{HttpFixture, Request};
use crate::fixture::{text, until};
use crate::prometheus_server::Prometheus;

/// The names of metrics that a text uses, without the endings of histograms.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_name(c));
    let metric = words.filter(|word| word.starts_with("aint_queue_"));
    let family = |name: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        base.unwrap_or(name).to_owned()
    };
    metric.map(family).collect()
}

fn known() -> BTreeSet<String> {
    Metrics::of_master().names().into_iter().collect()
}

#[test]
fn dashboard_and_rules_use_metrics_that_exist() {
    let known = known();
    for file in ["deploy/grafana.json", "deploy/alerts.yml", "deploy/alerts-test.yml"] {
        let used = names_in(&std::fs::read_to_string(file).unwrap());
        assert!(!used.is_empty(), "{file}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} uses {unknown:?}");
    }
}

#[test]
fn documentation_describes_every_metric() {
    let documented = names_in(&std::fs::read_to_string("docs/monitoring.md").unwrap());
    let known = known();
    assert_eq!(known.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not described");
    assert_eq!(documented.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "does not exist");
}

fn promtool(arguments: &[&str], input: Option<&str>) -> String {
    let mut tool = Command::new("promtool");
    tool.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tool.spawn().expect("promtool: run tests/services.sh");
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, input.unwrap_or_default().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

#[test]
fn promtool_finds_rules_and_their_tests_clean() {
    promtool(&["check", "rules", "deploy/alerts.yml"], None);
    promtool(&["test", "rules", "deploy/alerts-test.yml"], None);
}

#[test]
fn prometheus_scrapes_the_master_and_fires_a_rule() {
    let served = HttpFixture::with("");
    assert_eq!(served.push("default", r#"{"job":"fail","payload":{"final":true}}"#).status, 201);
    served.until("default", "the job to fail", |c| c.failed == 1);
    let scraped = Request::new("GET", "/metrics", "").send(served.address).text;
    promtool(&["check", "metrics"], Some(&scraped));
    served.write(
        "failed.yml",
        "groups: [ { name: test, rules: [ { alert: Failed, expr: 'max by (channel) (aint_queue_jobs{state=\"failed\"}) > 0' } ] } ]\n",
    );
    let shipped = std::env::current_dir().unwrap().join("deploy/alerts.yml");
    let rules = format!("rule_files: [\"{}\", failed.yml]", shipped.display());
    let prometheus = Prometheus::start(served.path(), &served.address.to_string(), "1s", &rules);
    let ask = |path: &str| {
        let response = Request::new("GET", path, "").try_send(prometheus.address).ok()?;
        (response.status == 200).then_some(response.text)
    };
    let alerts = until("the alert", || {
        let alerts = ask("/api/v1/alerts")?;
        alerts.contains("\"alertname\":\"Failed\"").then_some(alerts)
    });
    assert!(
        alerts.contains("\"channel\":\"default\"") && alerts.contains("\"state\":\"firing\""),
        "{alerts}"
    );
    let rules = ask("/api/v1/rules").unwrap();
    assert!(rules.contains("AintQueueStalled") && !rules.contains("\"health\":\"err\""), "{rules}");
    drop(prometheus);
    assert!(served.master.stop().success());
}
