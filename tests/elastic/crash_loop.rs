//! Programs that no longer start while there is work, and are repaired.

use std::time::{Duration, Instant};

use aint_queue::config::Driver;
use aint_queue::store::{self, JobState};

use crate::fixture::{BINARY, Fixture, until};
use crate::samples::{Sampler, metric, runs, sample};
use crate::{size, time_limit};

const SECOND: Duration = Duration::from_secs(1);
/// The time in which a degraded channel is sampled.
const PROBE_WINDOW: Duration = Duration::from_secs(3);

/// A fixture whose workers exit at start while the file "broken" exists.
fn fixture(worker: &str) -> Fixture {
    let fixture = Fixture::sqlite(&format!(
        "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"./worker.sh\"]\nprotocol = \"wire\"\nmin_worker_number = 4\nmax_worker_number = 4\n{worker}\n"
    ));
    fixture.write(
        "worker.sh",
        &format!("#!/bin/sh\n[ -e broken ] && exit 7\nexec '{BINARY}' __worker --demo-jobs\n"),
    );
    fixture
}

/// A fixture whose workers send hello and exit this many seconds later while the file "broken" exists.
fn dying_after_hello(seconds: &str) -> Fixture {
    let fixture = fixture("");
    let hello = r#"{"type":"hello","protocol":1,"jobs":["noop"]}"#;
    fixture.write(
        "worker.sh",
        &format!(
            "#!/bin/sh\n[ -e broken ] && {{ echo '{hello}' >&3; sleep {seconds}; exit 7; }}\nexec '{BINARY}' __worker --demo-jobs\n"
        ),
    );
    fixture.write("broken", "");
    fixture
}

/// The number of waiting jobs, and the sum of their attempts, losses and errors.
fn marks_on_waiting_jobs(fixture: &Fixture) -> (usize, u64) {
    let driver = Driver::Sqlite { path: fixture.file("queue.db"), named: true };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = store::open(&driver, "default").await.unwrap();
        let (mut jobs, mut marks, mut after) = (0, 0, None);
        loop {
            let page = store.list(JobState::Waiting, after, 500).await.unwrap();
            jobs += page.jobs.len();
            marks += page
                .jobs
                .iter()
                .map(|j| u64::from(j.meta.attempts + j.meta.lost) + j.meta.errors.len() as u64)
                .sum::<u64>();
            after = page.next;
            if after.is_none() {
                return (jobs, marks);
            }
        }
    })
}

#[test]
fn program_broken_under_load_degrades_until_repair() {
    let jobs = size(1_500, 5_000);
    let fixture = fixture("max_handle_number = 40");
    let master = fixture.listen(&[]);
    fixture.push_lines("default", (0..jobs).map(|_| r#"{"job":"sleep","payload":{"ms":20}}"#.to_owned()));
    fixture.until("default", "some jobs", |c| c.done > 200);

    // Workers are recycled after max_handle_number jobs, and their successors do not start.
    fixture.write("broken", "");
    let broken = Instant::now();
    until("the channel to be degraded", || sample(&fixture).degraded().then_some(()));
    let noticed = broken.elapsed();
    assert!(noticed <= time_limit(30 * SECOND), "it took {noticed:?}");
    fixture.until("default", "the leased jobs to be released", |c| c.reserved == 0);
    let (waiting, marks) = marks_on_waiting_jobs(&fixture);
    assert!(waiting > 100, "{waiting} jobs wait");
    assert_eq!(marks, 0, "no attempt is counted");
    assert_eq!(metric(&fixture, "aint_queue_degraded", ""), 1);
    let shown = fixture.ok(&["queue:status"]);
    assert!(shown.contains("Degraded: workers fail to start") && shown.contains("exited with 7"), "{shown}");
    assert_eq!(fixture.json(&["queue:status"])["degraded"], true);
    assert!(master.log().contains("degraded: workers fail to start"));
    // A degraded channel starts one worker at a time as a probe.
    let sampler = Sampler::start(&fixture);
    std::thread::sleep(PROBE_WINDOW);
    let samples = sampler.stop();
    assert!(samples.iter().all(|sample| sample.all() <= 1), "{samples:?}");
    assert!(!samples.is_empty());

    std::fs::remove_file(fixture.file("broken")).unwrap();
    let repaired = Instant::now();
    until("full speed", || (sample(&fixture).serving() == 4).then_some(()));
    let mended = repaired.elapsed();
    println!("degraded {noticed:?} after it broke, all workers {mended:?} after the repair");
    assert!(mended <= time_limit(10 * SECOND), "it took {mended:?}");
    fixture.until("default", "every job", |c| c.done == jobs);
    assert_eq!((runs(&fixture, "crashed"), runs(&fixture, "failed")), (0, 0));
    assert_eq!(metric(&fixture, "aint_queue_degraded", ""), 0);
    assert!(fixture.json(&["queue:status"])["worker_error"].is_null());
    assert!(master.stop().success());
}

#[test]
fn program_dying_after_hello_gets_no_jobs() {
    let fixture = dying_after_hello("0.1");
    let master = fixture.listen(&[]);
    until("the channel to be degraded", || sample(&fixture).degraded().then_some(()));
    fixture.push_lines("default", (0..50).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    let deaths = || master.log().matches("worker exited with 7 right after its hello").count();
    let before = deaths();
    until("more probes", || {
        assert!(sample(&fixture).degraded(), "a hello alone ends no crash loop");
        (deaths() >= before + 2).then_some(())
    });
    assert_eq!(marks_on_waiting_jobs(&fixture), (50, 0), "no attempt is counted");
    assert_eq!(master.log().matches("recovered: workers start again").count(), 0);

    std::fs::remove_file(fixture.file("broken")).unwrap();
    fixture.until("default", "every job", |c| c.done == 50);
    until("all workers", || (sample(&fixture).serving() == 4).then_some(()));
    assert!(fixture.json(&["queue:status"])["worker_error"].is_null());
    assert!(master.stop().success());
}

#[test]
fn program_dying_unused_counts_as_failed_boot() {
    let fixture = dying_after_hello("1.2");
    let master = fixture.listen(&[]);
    until("the channel to be degraded", || sample(&fixture).degraded().then_some(()));
    // A worker that has survived its probation counts as healthy until it exits.
    until("the log line", || {
        let error = fixture.json(&["queue:status"])["worker_error"].as_str()?.to_owned();
        let says = error.ends_with(" s after its hello, without having had a job");
        (says && error.starts_with("it exited with 7 ")).then_some(())
    });
    until("long pauses", || master.log().contains("boot failed: next boot in 3.2s").then_some(()));

    std::fs::remove_file(fixture.file("broken")).unwrap();
    until("all workers", || (sample(&fixture).serving() == 4).then_some(()));
    fixture.push_lines("default", (0..50).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    fixture.until("default", "every job", |c| c.done == 50);
    assert!(master.stop().success());
}

#[test]
fn program_over_hard_limit_at_boot_gets_no_jobs() {
    let fixture = fixture("memory_limit = 32\nmemory_hard_limit = 64");
    // The worker exceeds the memory limit before it sends hello.
    let worker = "import os, time\n\
        kept = b'x' * (100 << 20)\n\
        os.write(3, b'{\"type\":\"hello\",\"protocol\":1,\"jobs\":[\"noop\"]}\\n')\n\
        time.sleep(600)\n";
    fixture.write("fat.py", worker);
    let script =
        format!("#!/bin/sh\n[ -e broken ] && exec python3 fat.py\nexec '{BINARY}' __worker --demo-jobs\n");
    fixture.write("worker.sh", &script);
    fixture.write("broken", "");
    fixture.push_lines("default", (0..3).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    let master = fixture.listen(&[]);
    until("the channel to be degraded", || sample(&fixture).degraded().then_some(()));
    let killed = || master.log().matches("worker above memory_hard_limit").count();
    let before = killed();
    until("more probes", || (killed() >= before + 2).then_some(()));
    assert_eq!(marks_on_waiting_jobs(&fixture), (3, 0), "no attempt is counted");
    let replaced = metric(&fixture, "aint_queue_workers_recycled_total", ",limit=\"memory_hard\"");
    assert_eq!(replaced, 0, "a worker that never served is not replaced");
    let shown = fixture.ok(&["queue:status"]);
    assert!(
        shown.contains("Degraded: workers fail to start") && shown.contains("MiB before its first job"),
        "{shown}"
    );
    let error = fixture.json(&["queue:status"])["worker_error"].as_str().unwrap().to_owned();
    assert!(error.contains("more than memory_hard_limit = 64 MiB"), "{error}");

    std::fs::remove_file(fixture.file("broken")).unwrap();
    fixture.until("default", "every job", |c| c.done == 3);
    assert!(master.stop().success());
}

#[test]
fn failed_boot_is_retried_without_work() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"./worker.sh\"]\nprotocol = \"wire\"\nmin_worker_number = 0\nmax_worker_number = 2\nflex_interval = 0.05\n",
    );
    fixture.write(
        "worker.sh",
        &format!("#!/bin/sh\n[ -e broken ] && exit 7\nexec '{BINARY}' __worker --demo-jobs\n"),
    );
    fixture.write("broken", "");
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    until("the channel to be degraded", || sample(&fixture).degraded().then_some(()));
    fixture.ok(&["queue:clear", "--yes"]);
    std::fs::remove_file(fixture.file("broken")).unwrap();
    until("the channel to be mended", || (!sample(&fixture).degraded()).then_some(()));
    until("the idle worker to leave", || (sample(&fixture).all() == 0).then_some(()));
    assert!(fixture.json(&["queue:status"])["worker_error"].is_null());
    assert!(master.stop().success());
}

#[test]
fn failed_boot_no_longer_needed_is_ignored() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"./worker.sh\"]\nprotocol = \"wire\"\nmin_worker_number = 1\nmax_worker_number = 3\nflex_interval = 0.05\ncool_down_seconds = 0\n",
    );
    fixture.write(
        "worker.sh",
        &format!("#!/bin/sh\n[ -e broken ] && exit 7\nexec '{BINARY}' __worker --demo-jobs\n"),
    );
    let master = fixture.listen(&[]);
    until("the worker", || (sample(&fixture).serving() == 1).then_some(()));
    fixture.write("broken", "");
    let trouble = || fixture.json(&["queue:status"])["worker_error"].clone();
    fixture.push_lines("default", (0..40).map(|_| r#"{"job":"sleep","payload":{"ms":50}}"#.to_owned()));
    until("others to fail", || trouble().is_string().then_some(()));
    fixture.until("default", "the jobs", |c| c.done == 40);
    until("the error to be cleared", || trouble().is_null().then_some(()));
    assert!(master.stop().success());
}

#[test]
fn healthy_workers_serve_while_replacements_fail() {
    let fixture = fixture("");
    let master = fixture.listen(&[]);
    until("all workers", || (sample(&fixture).serving() == 4).then_some(()));
    fixture.write("broken", "");
    let victim = i32::try_from(sample(&fixture).rows()[0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL).unwrap();
    // More failures than a crash loop needs.
    until("the replacement to fail often", || {
        (master.log().matches("boot failed: next boot in").count() >= 6).then_some(())
    });
    fixture.push_lines("default", (0..50).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    fixture.until("default", "the jobs", |c| c.done == 50);
    let now = sample(&fixture);
    assert_eq!((now.serving(), now.degraded()), (3, false));
    assert!(fixture.ok(&["queue:status"]).contains("Workers fail to start: it exited with 7"));
    std::fs::remove_file(fixture.file("broken")).unwrap();
    until("all workers again", || (sample(&fixture).serving() == 4).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn missing_exec_program_costs_no_attempts() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"./job.sh\"]\nprotocol = \"exec\"\nmax_worker_number = 4\n",
    );
    let script = "#!/bin/sh\nexit 0\n";
    let program = fixture.write("job.sh", script);
    let master = fixture.listen(&[]);
    std::fs::remove_file(&program).unwrap();
    fixture.push_lines("default", (0..40).map(|_| r#"{"job":"x","payload":{}}"#.to_owned()));
    until("the channel to be degraded", || sample(&fixture).degraded().then_some(()));
    let (waiting, marks) = marks_on_waiting_jobs(&fixture);
    assert!(waiting >= 39 && marks == 0, "{waiting} wait with {marks} marks");
    fixture.write("job.sh", script);
    let repaired = Instant::now();
    fixture.until("default", "every job", |c| c.done == 40);
    assert!(repaired.elapsed() <= time_limit(10 * SECOND), "it took {:?}", repaired.elapsed());
    assert!(master.stop().success());
}

#[test]
fn silent_worker_is_reported() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"sleep\", \"600\"]\nboot_timeout_seconds = 0.2\nmin_worker_number = 1\n",
    );
    let master = fixture.listen(&[]);
    let error =
        until("an error", || fixture.json(&["queue:status"])["worker_error"].as_str().map(str::to_owned));
    assert_eq!(error, "it sent no hello within 200ms");
    assert!(master.stop().success());
}
