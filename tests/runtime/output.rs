//! What workers print is logged and holds nothing up.

use std::time::{Duration, Instant};

use crate::site::{Site, until};

#[test]
fn a_worker_that_prints_megabytes_stalls_nothing() {
    let site = Site::sqlite(
        r#"
[channels.loud.worker]
type = "process-pool"
min_worker_number = 1
[channels.quiet.worker]
type = "process-pool"
min_worker_number = 1
"#,
    );
    let master = site.listen(&["--all"]);
    site.ok(&["queue:push", "print", "--data", r#"{"kib":4096}"#, "-t", "loud"]);
    let begun = Instant::now();
    site.push_lines("quiet", (0..200).map(|_| r#"{"job":"noop"}"#.to_owned()));
    site.until("quiet", "the quiet jobs", |c| c.done == 200);
    assert!(begun.elapsed() < Duration::from_secs(10));
    site.until("loud", "the loud job", |c| c.done == 1);
    assert!(master.log().contains("print ---"));
    assert!(master.stop().success());
}

#[test]
fn what_a_job_prints_is_logged_with_its_channel_worker_and_number() {
    let site = Site::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let master = site.listen(&[]);
    let ids: Vec<_> =
        (0..20).map(|_| site.push("echo", r#"{"message":"hello from \u001b[31mthe job"}"#, &[])).collect();
    site.until("default", "all to be done", |c| c.done == 20);
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
    // What a job printed stands under its number, although its end follows on another descriptor.
    jobs.sort_unstable();
    assert_eq!(jobs, ids);
    assert!(master.stop().success());
}

#[test]
fn a_snapshot_handler_that_prints_without_end_is_ended_in_time_and_stalls_nothing() {
    let site = Site::sqlite(
        r#"
[channels.default.job_snapshot]
interval = 1
handler = [ { type = "command", command = ["yes"], timeout_seconds = 2 } ]
[channels.default.worker]
type = "process-pool"
min_worker_number = 1
"#,
    );
    let master = site.listen(&[]);
    crate::site::until("the handler to run", || (!crate::site::with_command("yes").is_empty()).then_some(()));
    let begun = Instant::now();
    site.push_lines("default", (0..20).map(|_| r#"{"job":"noop"}"#.to_owned()));
    site.until("default", "the jobs", |c| c.done == 20);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    crate::site::until("the handler's end", || master.log().contains("did not end within 2s").then_some(()));
    assert!(master.stop().success());
}

#[test]
fn the_last_words_of_a_program_that_was_killed_are_one_line_of_the_log() {
    let site = Site::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process\"\n\
         command = [\"sh\", \"-c\", \"printf 'one\\ntwo\\n' >&2; kill -KILL $$\"]\n",
    );
    let master = site.start(site.command(&["queue:listen"]));
    site.push("x", "{}", &[]);
    site.until("default", "it to fail", |c| c.failed == 1);
    let log = until("the death to be logged", || Some(master.log()).filter(|log| log.contains("SIGKILL")));
    let line = log.lines().find(|line| line.contains("SIGKILL")).unwrap();
    assert!(line.contains(r"was killed by SIGKILL: one\ntwo") && line.contains("next="), "{log}");
    assert!(master.stop().success());
}
