//! Limits on descriptors: raised for the master, given back to jobs, and no failure of a program when they are reached.

use std::process::Command;

use crate::fixture::{Fixture, Master, until};

/// Starts a master whose descriptors are limited to `soft` and `hard`, and waits until it serves.
fn listen_with(fixture: &Fixture, soft: u32, hard: u32) -> Master {
    let command = fixture.listen_command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args()).current_dir(fixture.path());
    fixture.listening(shell)
}

fn open_files(pid: i32) -> (u64, u64) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Lines that are not about a job that is done.
fn other_lines(log: &str) -> usize {
    log.lines().filter(|line| !line.contains("\"job done\"")).count()
}

/// The processes that the line about an outage counts.
fn running_in_outage(log: &str) -> u64 {
    let line = log.lines().find(|line| line.contains("no room for another process")).unwrap();
    serde_json::from_str::<serde_json::Value>(line).unwrap()["running"].as_u64().unwrap()
}

#[test]
fn master_raises_its_limit_and_jobs_keep_theirs() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 30\nmax_worker_number = 30\n",
    );
    let master = listen_with(&fixture, 96, 2048);
    // Thirty workers need 90 descriptors, beside those of the master itself.
    until("all workers", || (master.workers().len() >= 30).then_some(()));
    assert_eq!(open_files(master.pid()), (2048, 2048));
    assert_eq!(open_files(master.guardian()), (2048, 2048));
    for worker in master.workers() {
        assert_eq!(open_files(worker), (96, 2048), "a worker has the limit that the master was started with");
    }
    assert!(!master.log().contains("open-files limit too low"), "{}", master.log());
    assert!(master.stop().success());
}

#[test]
fn full_descriptors_fail_no_boot_and_no_job() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process-pool\"\n\
         protocol = \"exec\"\ncommand = [\"sleep\", \"0.3\"]\nmax_worker_number = 60\ntarget_wait_seconds = 0.1\n\
         max_execute_seconds = 120\n",
    );
    let master = listen_with(&fixture, 96, 96);
    assert!(master.log().contains("open-files limit too low for the configured workers"), "{}", master.log());
    fixture.push_lines("default", (0..200).map(|_| r#"{"job":"x"}"#.to_owned()));
    let counts = fixture.until("default", "all jobs", |c| c.done + c.failed == 200);
    let log = master.log();
    assert_eq!(counts.done, 200, "{log}");
    assert_eq!(log.matches("no room for another process").count(), 1, "one line for the outage:\n{log}");
    assert!(!log.contains("degraded") && other_lines(&log) < 60, "{log}");
    // A refused start is no run: no job has more than one, and the line about the outage counts processes.
    let metrics = fixture.ok(&["queue:status", "--metrics"]);
    let runs = |outcome: &str| {
        let line = format!("aint_queue_runs_total{{channel=\"default\",outcome=\"{outcome}\"}} ");
        metrics.lines().find_map(|text| text.strip_prefix(&line)?.parse::<u64>().ok())
    };
    assert_eq!((runs("done"), runs("interrupted")), (Some(200), Some(0)), "{metrics}");
    assert!(metrics.contains("aint_queue_wait_seconds_count{channel=\"default\"} 200"), "{metrics}");
    assert!((10..32).contains(&running_in_outage(&log)), "96 descriptors are no 32 programs: {log}");
    // The last descriptors are kept for commands and the store.
    assert_eq!(fixture.json(&["queue:status"])["pid"], master.pid());
    assert!(master.stop().success());
}

#[test]
fn long_lived_workers_serve_with_the_descriptors_there_are() {
    let fixture = Fixture::sqlite(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\ntype = \"process-pool\"\n\
         min_worker_number = 60\nmax_worker_number = 60\n",
    );
    let master = listen_with(&fixture, 96, 96);
    until("the limit", || master.log().contains("no room for another process").then_some(()));
    assert!((10..32).contains(&running_in_outage(&master.log())), "{}", master.log());
    fixture.push_lines("default", (0..100).map(|_| r#"{"job":"noop"}"#.to_owned()));
    let counts = fixture.until("default", "all jobs", |c| c.done + c.failed == 100);
    let log = master.log();
    assert_eq!(counts.done, 100, "{log}");
    assert!(!log.contains("degraded") && other_lines(&log) < 60, "{log}");
    assert!(master.stop().success());
}
