//! The spans of runs and pushes: retries, errors, parents, samples, and what a program without a collector does.

use crate::collector::Collector;
use crate::fixture::{Fixture, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A channel of programs that fail in their first attempt.
fn failing_once(otel: &str) -> Fixture {
    let fixture = Fixture::sqlite(&format!(
        "{otel}\n[channels.default.backoff]\nbase = 0\n[channels.default.worker]\ntype = \"process\"\n\
         command = [\"./program.sh\"]\n"
    ));
    fixture.write(
        "program.sh",
        "#!/bin/sh\necho \"has:$TRACEPARENT\"\ntest \"$AINT_QUEUE_ATTEMPT\" != 1 || exit 3\n",
    );
    fixture
}

fn with_parent() -> [String; 2] {
    ["--header".to_owned(), format!("traceparent=00-{TRACE}-{PARENT}-01")]
}

#[test]
fn each_attempt_has_a_span_and_a_retry_links_to_the_push() {
    let collector = Collector::start();
    let fixture = failing_once(&format!("[otel]\nendpoint = \"{}\"\nturns = true\n", collector.url()));
    let master = fixture.listen(&[]);
    let [option, header] = with_parent();
    fixture.push("job", "{}", &[&option, &header]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    let runs = collector.named("process default", 2);
    for (run, attempt, outcome) in [(&runs[0], "1", "failed"), (&runs[1], "2", "done")] {
        assert_eq!((run.trace.as_str(), run.parent.as_str()), (TRACE, PARENT), "{run:?}");
        assert_eq!(
            (run.attribute("aint_queue.attempt"), run.attribute("aint_queue.outcome")),
            (attempt, outcome)
        );
    }
    assert_eq!((runs[0].attribute("error.type"), runs[0].has_error), ("exit:3", true), "{:?}", runs[0]);
    assert_eq!((runs[0].links.len(), runs[1].has_error), (0, false));
    let (linked, attributes) = &runs[1].links[0];
    assert_eq!((linked.as_str(), attributes["aint_queue.retry_of"].as_str()), (PARENT, "1"));
    // The push keeps the context that its user gave: its span is a child of that one.
    let push = &collector.named("push default", 1)[0];
    assert_eq!((push.trace.as_str(), push.parent.as_str()), (TRACE, PARENT));
    // The turns, which are off by default.
    assert_eq!(collector.named("lease default", 2)[0].attribute("messaging.operation.type"), "receive");
    assert!(master.stop().success());
    collector.named("settle default", 2);
}

#[test]
fn run_links_to_the_push_where_that_is_asked_for() {
    let collector = Collector::start();
    let fixture = failing_once(&format!("[otel]\nendpoint = \"{}\"\nparent = \"link\"\n", collector.url()));
    let master = fixture.listen(&[]);
    let [option, header] = with_parent();
    fixture.push("job", "{}", &[&option, &header]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    let run = &collector.named("process default", 2)[0];
    assert_eq!((run.parent.as_str(), run.links[0].0.as_str()), ("", PARENT), "{run:?}");
    assert_ne!(run.trace, TRACE);
    assert!(master.log().contains(&format!("\"trace_id\":\"{}\"", run.trace)), "{}", master.log());
    assert!(master.stop().success());
    assert!(collector.spans().iter().all(|span| span.kind != 3), "turns are off by default");
}

#[test]
fn environment_alone_switches_traces_on() {
    let collector = Collector::start();
    let fixture = failing_once("").with_environment([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_SERVICE_NAME", "from-the-environment".to_owned()),
    ]);
    let master = fixture.listen(&[]);
    fixture.push("job", "{}", &[]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    let runs = collector.named("process default", 2);
    assert_eq!((runs[0].service.as_str(), &runs[0].trace), ("from-the-environment", &runs[1].trace));
    assert!(master.stop().success());
}

#[test]
fn trace_that_is_not_recorded_sends_no_span() {
    let collector = Collector::start();
    let fixture = failing_once(&format!("[otel]\nendpoint = \"{}\"\nsample_ratio = 0\n", collector.url()));
    let master = fixture.listen(&[]);
    fixture.push("job", "{}", &[]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    // The program learns that its trace is not recorded.
    let log = until("its line", || Some(master.log()).filter(|log| log.contains("has:00-")));
    assert!(log.contains("-00\""), "{log}");
    // Recorded is a trace that its producer records.
    let [option, header] = with_parent();
    fixture.push("job", "{}", &[&option, &header]);
    collector.named("process default", 2);
    assert!(master.stop().success());
    assert!(collector.spans().iter().all(|span| span.trace == TRACE));
}

#[test]
fn program_without_a_collector_adds_nothing() {
    let fixture = failing_once("");
    let master = fixture.listen(&[]);
    let id = fixture.push("job", "{}", &[]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    let log = until("its lines", || Some(master.log()).filter(|log| log.matches("\"has:\"").count() == 2));
    assert!(!log.contains("trace_id") && !log.contains("has:00") && !log.contains("traces on"), "{log}");
    let threads = std::fs::read_dir(format!("/proc/{}/task", master.pid())).unwrap().flatten();
    let names = threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
    assert!(names.into_iter().all(|name| name.trim() != "spans"), "no thread without traces");
    assert!(id > 0 && master.stop().success());
}
