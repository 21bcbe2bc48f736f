//! SIGKILL of every process: no process is left, no job is lost, service continues.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Fixture, until};
use crate::timeouts::{mark, spawned_tree, survivors, tree_script};

const TREE: &str = "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"./tree.sh\"]\nprotocol = \"exec\"\nmin_worker_number = 1\nmax_execute_seconds = 0\n";

fn kill_9(pid: i32) -> Instant {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    Instant::now()
}

/// Waits for the end of a process tree; returns the time.
fn gone(mark: &str, since: Instant) -> Duration {
    until("the end of the tree", || survivors(mark).is_empty().then(|| since.elapsed()))
}

#[test]
fn killed_workers_tree_is_killed() {
    let mark = mark();
    let fixture = Fixture::sqlite(TREE);
    fixture.write("tree.sh", &tree_script(&mark));
    let master = fixture.listen(&[]);
    // The retry of the first crash is delayed, so that only one process tree exists.
    fixture.push("x", "{}", &["--max-attempts", "1"]);
    spawned_tree(&mark);
    let killed = kill_9(master.workers()[0]);
    assert!(gone(&mark, killed) < Duration::from_millis(500));
    fixture.until("default", "the crash to be settled", |c| c.failed == 1);
    assert!(master.stop().success());
}

#[test]
fn killed_guardians_trees_die_and_work_continues() {
    let mark = mark();
    let fixture = Fixture::sqlite(TREE);
    fixture.write("tree.sh", &tree_script(&mark));
    let master = fixture.listen(&[]);
    let id = fixture.push("x", "{}", &[]);
    let before = spawned_tree(&mark);
    let guardian = master.guardian();
    kill_9(guardian);
    until("the end of the old tree", || {
        let left = survivors(&mark);
        before.iter().all(|pid| !left.contains(pid)).then_some(())
    });
    // The job runs again under a new guardian, attempt not counted.
    spawned_tree(&mark);
    assert_ne!(master.guardian(), guardian);
    let shown = fixture.json(&["queue:show", &id.to_string()]);
    assert_eq!((&shown["attempts"], &shown["lost"]), (&0.into(), &1.into()));
    assert!(master.force_stop().success());
    assert_eq!(survivors(&mark), [0i32; 0]);
}

#[test]
fn killed_masters_trees_die_within_100_ms() {
    let mark = mark();
    let fixture = Fixture::sqlite(TREE);
    fixture.write("tree.sh", &tree_script(&mark));
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    spawned_tree(&mark);
    let guardian = master.guardian();
    let killed = kill_9(master.pid());
    // The guardian ends last. Reading all of /proc would take longer than its remaining life.
    let took = until("the end of the guardian", || {
        let alive = kill(Pid::from_raw(guardian), None).is_ok() && !is_zombie(guardian);
        (!alive).then(|| killed.elapsed())
    });
    assert!(took < Duration::from_millis(100), "it took {took:?}");
    assert_eq!(survivors(&mark), [0i32; 0]);
    drop(master);
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

/// Unix time in nanoseconds, as `date +%s%N` prints it.
fn now() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

#[test]
fn killed_workers_job_reruns_within_100_ms() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nprotocol = \"exec\"\ncommand = [\"sh\", \"-c\", \"date +%s%N >> begins; sleep 0.2\"]\nmin_worker_number = 1\n",
    );
    let master = fixture.listen(&[]);
    let begins = || -> Vec<u128> {
        let text = std::fs::read_to_string(fixture.file("begins")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    // Other tests may load the machine, so the fastest of five rounds counts.
    let took = (1..=5).map(|round| {
        fixture.push("x", "{}", &[]);
        until("the run to begin", || (begins().len() == 2 * round - 1).then_some(()));
        let killed = now();
        kill_9(master.workers()[0]);
        let again = until("the run to begin again", || begins().get(2 * round - 1).copied());
        fixture.until("default", "it to be done", |c| c.done == round as u64);
        Duration::from_nanos(u64::try_from(again.saturating_sub(killed)).unwrap())
    });
    let took: Vec<_> = took.collect();
    assert!(took.iter().min().unwrap() < &Duration::from_millis(100), "{took:?}");
    assert!(master.stop().success());
}

#[test]
fn next_master_serves_within_a_second_of_a_kill() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"coroutine\"\n");
    let master = fixture.listen(&[]);
    let lines = (0..500).map(|_| r#"{"job":"sleep","payload":{"ms":200}}"#.to_owned());
    fixture.push_lines("default", lines);
    fixture.until("default", "jobs to run", |c| c.reserved > 0);
    master.kill();
    let begun = Instant::now();
    let next = fixture.listen(&[]);
    assert!(begun.elapsed() < Duration::from_secs(1), "it took {:?}", begun.elapsed());
    let counts = fixture.until("default", "all done", |c| c.done == 500);
    assert_eq!((counts.failed, counts.total), (0, 500));
    assert!(next.stop().success());
}

#[test]
fn jobs_survive_repeated_master_kills() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 3\nmax_worker_number = 3\n",
    );
    fixture.push_lines("default", (0..300).map(|_| r#"{"job":"sleep","payload":{"ms":5}}"#.to_owned()));
    let mut done = 0;
    for round in 1..=4 {
        let master = fixture.listen(&[]);
        done = fixture.until("default", "progress", |c| c.done >= done + 20).done;
        master.kill();
        let counts = fixture.counts("default");
        assert_eq!(counts.total, 300, "round {round}");
    }
    let master = fixture.listen(&[]);
    let counts = fixture.until("default", "all done", |c| c.done + c.failed == 300);
    assert_eq!(counts.failed, 0);
    assert!(master.stop().success());
}

#[test]
fn killed_master_and_guardian_leave_no_process() {
    let mark = mark();
    let fixture = Fixture::sqlite(TREE);
    fixture.write("tree.sh", &tree_script(&mark));
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    let before = spawned_tree(&mark);
    let guardian = master.guardian();
    // SIGSTOP first, so that the guardian cannot clean up between the two kills.
    kill(Pid::from_raw(guardian), Signal::SIGSTOP).unwrap();
    kill_9(master.pid());
    kill_9(guardian);
    master.wait();
    let next = fixture.listen(&[]);
    let left = survivors(&mark);
    assert!(before.iter().all(|pid| !left.contains(pid)), "swept: {before:?} left: {left:?}");
    assert!(next.force_stop().success());
}

/// Two channels: programs that end their parent process, and jobs that take a moment.
const PARENT_KILLER: &str = r#"
[channels.bad.worker]
type = "process"
command = ["./bad.sh"]
[channels.good.worker]
type = "process-pool"
min_worker_number = 4
"#;

#[test]
fn job_that_kills_its_parent_fails_and_other_channels_work() {
    let fixture = Fixture::sqlite(PARENT_KILLER);
    fixture.write("bad.sh", "#!/bin/sh\necho x >> runs\nkill -9 $PPID\nsleep 60\n");
    let master = fixture.listen(&["-t", "bad", "-t", "good"]);
    fixture.push_lines("good", (0..200).map(|_| r#"{"job":"sleep","payload":{"ms":50}}"#.to_owned()));
    let bad = fixture.push("x", "{}", &["-t", "bad", "--max-attempts", "1"]);
    fixture.until("bad", "the culprit to fail", |c| c.failed == 1);
    assert_eq!(fs::read_to_string(fixture.file("runs")).unwrap().lines().count(), 3);
    let shown = fixture.json(&["queue:show", &bad.to_string(), "-t", "bad"]);
    assert_eq!(
        (&shown["reason"], &shown["attempts"], &shown["lost"]),
        (&"lost".into(), &0.into(), &3.into())
    );
    let good = fixture.until("good", "the others to be done", |c| c.done == 200);
    assert_eq!(good.failed, 0);
    assert!(master.log().contains("job lost: the guardian of its worker died while it ran"));
    assert!(master.stop().success());
}

/// Two channels of programs: "killer" ends its parent process after a moment, every other job takes longer than that.
const PARENT_KILLERS: &str = r#"
[defaults.worker]
type = "process-pool"
command = ["./work.sh"]
protocol = "exec"
min_worker_number = 4
max_worker_number = 4
[channels.one]
[channels.two]
"#;

#[test]
fn killers_in_several_channels_fail_no_innocent_job() {
    let fixture = Fixture::sqlite(PARENT_KILLERS);
    fixture.write(
        "work.sh",
        "#!/bin/sh\n[ \"$AINT_QUEUE_JOB\" = killer ] || exec sleep 1\nsleep 0.3\nkill -9 $PPID\nsleep 60\n",
    );
    let master = fixture.listen(&["-t", "one", "-t", "two"]);
    let jobs = |names: [&str; 4]| names.map(|name| format!(r#"{{"job":"{name}","payload":{{}}}}"#));
    fixture.push_lines("one", jobs(["killer", "a", "b", "c"]));
    // The innocent jobs of the first channel are lost twice by now, and have the turn one after the other.
    fixture.until("one", "the first killer to fail", |c| c.failed == 1);
    fixture.push_lines("two", jobs(["killer", "d", "e", "f"]));
    fixture.until("two", "the second killer to fail", |c| c.failed == 1);
    for channel in ["one", "two"] {
        let ended = fixture.until(channel, "the others to be done", |c| c.done + c.failed == 4);
        assert_eq!((ended.done, ended.failed), (3, 1), "{channel}");
        let failed = fixture.json(&["queue:failed", "-t", channel]);
        assert_eq!(
            (&failed["jobs"][0]["job"], &failed["jobs"][0]["reason"]),
            (&"killer".into(), &"lost".into())
        );
    }
    // Each killer twice among the others, and once alone.
    assert_eq!(master.log().matches("guardian died").count(), 6, "{}", master.log());
    // The guardian of lost jobs has ended with the last of them.
    until("one guardian", || (crate::fixture::children(master.pid()).len() == 1).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn new_jobs_run_beside_many_jobs_lost_twice() {
    let fixture = Fixture::sqlite(&PARENT_KILLERS.replace("worker_number = 4", "worker_number = 12"));
    fixture.write(
        "work.sh",
        "#!/bin/sh\ncase \"$AINT_QUEUE_JOB\" in\nkiller) sleep 0.5; kill -9 $PPID; sleep 60;;\nlong) sleep 3;;\nesac\n",
    );
    let master = fixture.listen(&["-t", "one"]);
    let jobs = (0..12).map(|n| if n == 0 { "killer" } else { "long" });
    fixture.push_lines("one", jobs.map(|name| format!(r#"{{"job":"{name}","payload":{{}}}}"#)));
    until("the second guardian to die", || {
        (master.log().matches("guardian died").count() >= 2).then_some(())
    });
    fixture.push("quick", "{}", &["-t", "one"]);
    let counts = fixture.until("one", "the new job to be done", |c| c.done >= 1);
    // The others run for three seconds each, one after the other.
    assert!(counts.done <= 2, "the new job waited for {} others", counts.done - 1);
    // Each job that waits for its turn tells the cause, in whatever state.
    let listed = fixture.json(&["queue:jobs", "-t", "one", "--state", "delayed"]);
    if let Some(id) = listed["jobs"][0]["id"].as_u64() {
        let why = fixture.json(&["queue:why", &id.to_string(), "-t", "one"]);
        assert!(why["sentence"].as_str().unwrap().contains("needs a worker of its own"), "{why}");
    }
    fixture.until("one", "the others to be done", |c| c.done == 12 && c.failed == 1);
    assert!(master.stop().success());
}

#[test]
fn job_that_stops_its_parent_is_reported_and_others_work() {
    let fixture = Fixture::sqlite(PARENT_KILLER);
    fixture.write("bad.sh", "#!/bin/sh\nkill -STOP $PPID\nsleep 1\n");
    let master = fixture.listen(&["-t", "bad", "-t", "good"]);
    let guardian = master.guardian();
    fixture.push("x", "{}", &["-t", "bad"]);
    fixture.push_lines("good", (0..20).map(|_| r#"{"job":"sleep","payload":{"ms":50}}"#.to_owned()));
    fixture.until("bad", "the job", |c| c.done == 1);
    fixture.until("good", "the others", |c| c.done == 20);
    assert!(master.log().contains("guardian stopped by a signal: continuing it"), "{}", master.log());
    assert_eq!(master.guardian(), guardian);
    assert!(master.stop().success());
}

#[test]
fn jobs_of_a_stopped_master_end_after_its_lease() {
    let fixture =
        Fixture::sqlite("[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n");
    let master = fixture.listen(&[]);
    // Shorter than two leases: the second run ends in time.
    let id = fixture.push("sleep", r#"{"ms":45000}"#, &["--timeout", "100", "--max-attempts", "1"]);
    fixture.until("default", "the job to run", |c| c.reserved == 1);
    let worker = master.workers()[0];
    let stopped_at = Instant::now();
    master.signal(Signal::SIGSTOP);
    until("the end of the worker", || (!Path::new(&format!("/proc/{worker}")).exists()).then_some(()));
    let took = stopped_at.elapsed();
    assert!((Duration::from_secs(24)..Duration::from_secs(40)).contains(&took), "{took:?}");
    master.signal(Signal::SIGCONT);
    until("the job to run again", || {
        let status = fixture.json(&["queue:status", "--workers"]);
        let rows = status["workers"]["rows"].as_array()?;
        rows.iter()
            .any(|row| row["job"].is_object() && row["pid"].as_i64() != Some(worker.into()))
            .then_some(())
    });
    let shown = fixture.json(&["queue:show", &id.to_string()]);
    assert_eq!((&shown["attempts"], &shown["lost"]), (&0.into(), &0.into()));
    assert!(master.log().contains("master was silent for"), "{}", master.log());
    assert!(master.force_stop().success());
}
