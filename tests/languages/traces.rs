//! The trace context of a job reaches its worker, its log lines and the jobs that it pushes.

use serde_json::Value;

use crate::fixture::{Fixture, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OWN: &str = "00-11111111111111111111111111111111-2222222222222222-00";

fn python() -> Fixture {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 1\n\
         protocol = \"wire\"\ncommand = [\"python3\", \"-u\", \"worker.py\"]\n",
    );
    fixture.write("worker.py", include_str!("pushing_worker.py"));
    fixture
}

/// The message and the trace of each line about a job.
fn traced_lines(log: &str) -> Vec<(String, Option<String>)> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_jobs = lines.filter(|line| line["job"].is_u64());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    of_jobs.map(|line| (text(&line["message"]).unwrap(), text(&line["trace_id"]))).collect()
}

#[test]
fn lines_and_follow_up_of_a_run_belong_to_its_trace() {
    let fixture = python();
    let mut command = fixture.listen_command(&["-v"]);
    command.env("TRACEPARENT", OWN);
    let master = fixture.listening(command);
    let parent = format!("traceparent=00-{TRACE}-b7ad6b7169203331-01");
    fixture.push("order", "{}", &["--header", &parent, "--header", "tracestate=a=1"]);
    fixture.until("default", "both jobs", |c| c.done == 2);
    let wanted = ["job started", "frame of", "job done", "has 00-"].map(|part| [part; 2]).concat();
    let lines = until("their lines", || {
        let lines = traced_lines(&master.log());
        let has_all =
            wanted.iter().all(|part| lines.iter().filter(|(said, _)| said.contains(part)).count() == 2);
        has_all.then_some(lines)
    });
    assert!(lines.iter().all(|(_, trace)| trace.as_deref() == Some(TRACE)), "{lines:#?}");

    // A trace of the job itself is kept; a job without a trace has no field.
    fixture.push("order", &format!("{{\"own_trace\":\"{OWN}\"}}"), &["--header", &parent]);
    fixture.push("follow_up", "{}", &["--header", "traceparent=00-1"]);
    fixture.until("default", "all jobs", |c| c.done == 5);
    let lines = until("their lines", || {
        let lines = traced_lines(&master.log());
        (lines.iter().filter(|(said, _)| said.contains("job done")).count() == 5).then_some(lines)
    });
    let printed = |text: &str| lines.iter().find(|(said, _)| said == text).unwrap().1.clone();
    assert_eq!(
        printed(&format!("follow_up has {OWN}")).as_deref(),
        Some("11111111111111111111111111111111"),
        "{lines:#?}"
    );
    assert_eq!(printed("follow_up has 00-1"), None, "{lines:#?}");
    assert!(master.stop().success());
}

#[test]
fn text_log_names_the_trace() {
    let fixture = python();
    let master = fixture.start(fixture.command(&["queue:listen"]));
    fixture.push("follow_up", "{}", &["--header", &format!("traceparent=00-{TRACE}-b7ad6b7169203331-01")]);
    fixture.push("follow_up", "{}", &[]);
    fixture.until("default", "both jobs", |c| c.done == 2);
    let log = until("their lines", || Some(master.log()).filter(|log| log.matches("job done").count() == 2));
    // Two lines of the worker and the end of its run.
    assert_eq!(log.matches(&format!("trace_id={TRACE}")).count(), 3, "{log}");
    assert!(master.stop().success());
}
