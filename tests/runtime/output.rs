//! The output of workers is logged and delays no job.

use std::time::{Duration, Instant};

use crate::fixture::{Fixture, until};

#[test]
fn worker_that_prints_megabytes_stalls_nothing() {
    let fixture = Fixture::sqlite(
        r#"
[channels.loud.worker]
type = "process-pool"
max_execute_seconds = 120
min_worker_number = 1
[channels.quiet.worker]
type = "process-pool"
min_worker_number = 1
"#,
    );
    let master = fixture.listen(&["--all"]);
    fixture.ok(&["queue:push", "print", "--data", r#"{"kib":4096}"#, "-t", "loud"]);
    let begun = Instant::now();
    fixture.push_lines("quiet", (0..200).map(|_| r#"{"job":"noop"}"#.to_owned()));
    fixture.until("quiet", "the quiet jobs", |c| c.done == 200);
    assert!(begun.elapsed() < Duration::from_secs(10));
    fixture.until("loud", "the loud job", |c| c.done == 1);
    assert!(master.log().contains("print ---"));
    assert!(master.stop().success());
}

#[test]
fn first_lines_of_a_worker_name_its_process() {
    let fixture = Fixture::sqlite(
        r#"
[channels.default.worker]
type = "process-pool"
command = ["sh", "-c", "echo one; echo two >&2; exec sleep 600"]
min_worker_number = 8
max_worker_number = 8
boot_timeout_seconds = 600
"#,
    );
    let master = fixture.listen(&[]);
    let lines = until("the lines of all workers", || {
        let log = master.log();
        let lines: Vec<serde_json::Value> = log
            .lines()
            .filter(|line| line.contains("\"stream\""))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (lines.len() >= 16).then_some(lines)
    });
    for line in lines {
        assert!(line["pid"].as_u64().is_some(), "{line}");
    }
    master.force_stop();
}

#[test]
fn job_output_is_logged_with_channel_worker_and_id() {
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let master = fixture.listen(&[]);
    let ids: Vec<_> =
        (0..20).map(|_| fixture.push("echo", r#"{"message":"hello from \u001b[31mthe job"}"#, &[])).collect();
    fixture.until("default", "all to be done", |c| c.done == 20);
    let mut jobs = until("all lines to be logged", || {
        let log = master.log();
        let lines = log.lines().filter(|line| line.contains("hello from"));
        let lines: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            assert_eq!((&line["channel"], &line["stream"]), (&"default".into(), &"stdout".into()), "{line}");
            assert!(line["pid"].as_u64().is_some());
        }
        (lines.len() == 20).then(|| {
            lines
                .iter()
                .map(|line| line["job"].as_u64().unwrap_or_else(|| panic!("no job in {line}\n{log}")))
                .collect::<Vec<_>>()
        })
    });
    // Lines of a job have its id, although its end arrives on another descriptor.
    jobs.sort_unstable();
    assert_eq!(jobs, ids);
    assert!(master.stop().success());
}

#[test]
fn endless_snapshot_handler_is_ended_in_time() {
    let fixture = Fixture::sqlite(
        r#"
[channels.default.job_snapshot]
interval = 1
handler = [ { type = "command", command = ["yes"], timeout_seconds = 2 } ]
[channels.default.worker]
type = "process-pool"
min_worker_number = 1
"#,
    );
    let master = fixture.listen(&[]);
    crate::fixture::until("the handler to run", || {
        (!crate::fixture::with_command("yes").is_empty()).then_some(())
    });
    let begun = Instant::now();
    fixture.push_lines("default", (0..20).map(|_| r#"{"job":"noop"}"#.to_owned()));
    fixture.until("default", "the jobs", |c| c.done == 20);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    crate::fixture::until("the handler's end", || {
        master.log().contains("killed after the time limit of 2s").then_some(())
    });
    assert!(master.stop().success());
}

#[test]
fn killed_programs_last_output_is_one_log_line() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process\"\n\
         command = [\"sh\", \"-c\", \"printf 'one\\ntwo\\n' >&2; kill -KILL $$\"]\n",
    );
    let master = fixture.start(fixture.command(&["queue:listen"]));
    fixture.push("x", "{}", &[]);
    fixture.until("default", "it to fail", |c| c.failed == 1);
    let log = until("the death to be logged", || Some(master.log()).filter(|log| log.contains("SIGKILL")));
    let line = log.lines().find(|line| line.contains("SIGKILL")).unwrap();
    assert!(line.contains(r"was killed by SIGKILL: one\ntwo") && line.contains("next="), "{log}");
    assert!(master.stop().success());
}

#[test]
fn output_cannot_forge_lines_or_reorder_text() {
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process\"\ncommand = [\"./forger.sh\"]\n");
    fixture.write(
        "forger.sh",
        "#!/bin/sh\nprintf 'one\\rERROR forged\\n'\n\
         printf 'rtl \\342\\200\\256 zero \\342\\200\\213 width\\n'\nprintf 'last\\rERROR forged too' >&2\n",
    );
    for format in ["text", "json"] {
        let master = fixture.start(fixture.command(&["queue:listen", "--log-format", format]));
        fixture.push("x", "{}", &[]);
        let log = until("the output", || Some(master.log()).filter(|log| log.contains("forged too")));
        assert!(!log.contains(['\r', '\u{202e}', '\u{200b}']), "{log:?}");
        assert!(log.contains("u{202e}") && log.contains("u{200b}"), "{log:?}");
        assert!(master.stop().success());
    }
}

#[test]
fn worker_that_prints_without_end_fills_no_disk() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process\"\n\
         max_execute_seconds = 3\nlog_bytes_per_second = 20000\ncommand = [\"yes\", \"a noisy worker\"]\n",
    );
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    fixture.until("default", "the time limit", |c| c.failed == 1);
    let log = master.log();
    let noise = log.lines().filter(|line| line.contains("\"a noisy worker\"")).count();
    // Four seconds' worth at once, then the rate for a few seconds, at 180 bytes a line.
    assert!((100..=4000).contains(&noise), "{noise} lines");
    assert_eq!(log.matches("worker prints too much").count(), 1, "one report a minute");
    let metrics = fixture.ok(&["queue:status", "--metrics"]);
    let dropped = metrics.lines().find_map(|line| {
        line.strip_prefix(r#"aint_queue_worker_lines_dropped_total{channel="default",reason="rate"} "#)
    });
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 1000, "{metrics}");
    assert!(metrics.contains("aint_queue_master_lines_dropped_total 0"), "{metrics}");
    assert!(master.stop().success());
}
