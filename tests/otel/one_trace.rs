//! One trace over a producer, a worker in Python and the jobs that follow.

use aint_queue::engine::span_export::SpanExport;
use aint_queue::job::Payload;
use aint_queue::{Config, PushOptions, Queue};
use opentelemetry::context::FutureExt;
use opentelemetry::global;
use opentelemetry::trace::{TraceContextExt, Tracer};

use crate::collector::{CollectedSpan, Collector};
use crate::fixture::{Fixture, until};
use crate::receiver::{CannedResponse, Receiver};

/// A channel of Python workers, one of programs for one job, and one of webhooks.
fn three_channels(collector: &Collector, receiver: &Receiver) -> Fixture {
    let fixture = Fixture::sqlite(&format!(
        r#"
[otel]
endpoint = "{}"
service_name = "shop-jobs"
[channels.default.worker]
type = "process-pool"
min_worker_number = 1
max_worker_number = 1
protocol = "wire"
command = ["python3", "-u", "worker.py"]
[channels.program.worker]
type = "process"
command = ["./program.sh"]
[channels.hook.worker]
type = "coroutine"
url = "http://127.0.0.1:{}/hook"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
allow_http = true
allow_private = true
"#,
        collector.url(),
        receiver.port()
    ));
    fixture.write("worker.py", include_str!("../languages/pushing_worker.py"));
    fixture.write("program.sh", "#!/bin/sh\necho \"$TRACEPARENT\" > traceparent.txt\n");
    fixture
}

fn traceparent(span: &CollectedSpan) -> String {
    format!("00-{}-{}-01", span.trace, span.id)
}

#[tokio::test]
async fn producer_worker_and_follow_up_are_one_trace() {
    let (collector, receiver) =
        (Collector::start(), Receiver::start(|_| CannedResponse::Whole(200, Vec::new(), String::new())));
    let fixture = three_channels(&collector, &receiver);
    let master = fixture.listen(&["--all"]);

    // The producer: a request of a web server, whose span is the current one.
    let config = Config::load(fixture.file("aint-queue.toml")).unwrap();
    let export = SpanExport::start(config.otel.as_ref());
    let queue = Queue::open(&config, "default").await.unwrap();
    let request = opentelemetry::Context::current_with_span(global::tracer("shop").start("request"));
    for (name, to) in [("order", r#"{}"#), ("order", r#"{"to":"program"}"#), ("order", r#"{"to":"hook"}"#)] {
        let payload = Payload::parse(to).unwrap();
        queue.push_raw(name, payload, &PushOptions::new()).with_context(request.clone()).await.unwrap();
    }
    request.span().end();
    export.stop();
    for (channel, done) in [("default", 4), ("program", 1), ("hook", 1)] {
        fixture.until(channel, "its jobs", |counts| counts.done == done);
    }

    let request = &collector.named("request", 1)[0];
    let pushes = collector.named("push default", 4);
    let runs = collector.named("process default", 4);
    let parent_of = |span: &CollectedSpan| {
        let all = collector.spans();
        all.into_iter()
            .find(|other| other.id == span.parent)
            .unwrap_or_else(|| panic!("no parent of {span:?}"))
    };
    let lineage = |span: &CollectedSpan| {
        let mut names = vec![span.name.clone()];
        let mut span = span.clone();
        while !span.parent.is_empty() {
            span = parent_of(&span);
            names.push(span.name.clone());
        }
        names.join(" < ")
    };
    let follow_up = runs.iter().find(|run| run.attribute("aint_queue.job.name") == "follow_up").unwrap();
    assert_eq!(
        lineage(follow_up),
        "process default < push default < process default < push default < request"
    );
    let program = &collector.named("process program", 1)[0];
    assert_eq!(lineage(program), "process program < push program < process default < push default < request");
    let hook = &collector.named("process hook", 1)[0];
    assert_eq!(lineage(hook), "process hook < push hook < process default < push default < request");
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == request.trace), "one trace: {spans:#?}");

    // Each part knows its own span: the worker in Python, the program, the receiver of the webhook, the log.
    let log = until("the line of the follow-up job", || {
        Some(master.log()).filter(|log| log.contains("follow_up has"))
    });
    assert!(log.contains(&format!("follow_up has {}", traceparent(follow_up))), "{log}");
    assert!(log.contains(&format!("\"trace_id\":\"{}\"", request.trace)), "{log}");
    assert_eq!(
        std::fs::read_to_string(fixture.file("traceparent.txt")).unwrap().trim(),
        traceparent(program)
    );
    assert_eq!(receiver.requests()[0].header("traceparent"), traceparent(hook));

    let push = &pushes[0];
    assert_eq!((push.kind, push.service.as_str()), (4, "shop-jobs"));
    for (name, value) in [
        ("messaging.system", "aint_queue"),
        ("messaging.operation.name", "push"),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", "default"),
        ("aint_queue.job.name", "order"),
    ] {
        assert_eq!(push.attribute(name), value, "{push:?}");
    }
    let run = &runs[0];
    assert_eq!((run.kind, run.has_error, run.begin < run.end), (5, false, true), "{run:?}");
    for (name, value) in [
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.message.id", push.attribute("messaging.message.id")),
        ("aint_queue.attempt", "1"),
        ("aint_queue.max_attempts", "3"),
        ("aint_queue.outcome", "done"),
        ("aint_queue.mode", "process-pool"),
    ] {
        assert_eq!(run.attribute(name), value, "{run:?}");
    }
    let pid: i32 = run.attribute("aint_queue.worker.pid").parse().unwrap();
    assert!(master.workers().contains(&pid), "{run:?}");
    assert!(master.stop().success());
}
