//! Re-exec of a master above its own `memory_limit`: same process, same locks, no job lost.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::fixture::{Fixture, Master, text, until};
use crate::redis::Server;

/// A memory limit below the need of a master with this many channels.
const LIMIT: &str = "memory_limit = 16\n";

fn channels(n: usize) -> String {
    let mut text =
        format!("{LIMIT}[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\n");
    for i in 0..n {
        text.push_str(&program(i));
    }
    text
}

fn program(i: usize) -> String {
    format!("[channels.c{i}.worker]\ntype = \"process\"\ncommand = [\"true\"]\n")
}

/// Removes a channel from the configuration.
fn undeclare(fixture: &Fixture, channel: usize) {
    let config = fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    assert!(config.contains(&program(channel)));
    fixture.write("aint-queue.toml", &config.replace(&program(channel), ""));
}

fn times(master: &Master, words: &str) -> usize {
    master.log().matches(words).count()
}

fn start_time(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(19).unwrap().to_owned()
}

fn resident_mib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[test]
fn reexec_drains_and_keeps_pid_locks_and_jobs() {
    let fixture = Fixture::sqlite(&channels(30));
    let master = fixture.listen(&["--all"]);
    let (pid, born, guardian) = (master.pid(), start_time(master.pid()), master.guardian());
    fixture.push_lines("default", (0..400).map(|_| r#"{"job":"sleep","payload":{"ms":40}}"#.to_owned()));
    // One channel is stopped and removed from the configuration before the re-exec.
    fixture.ok(&["queue:stop", "-t", "c7"]);
    undeclare(&fixture, 7);
    // During the re-exec no other master can start, and the pid file names this one.
    until("the re-exec", || {
        let rival = fixture.run(&["queue:listen", "-t", "default"]);
        assert_eq!(rival.status.code(), Some(3), "{}", text(&rival.stderr));
        let written = fs::read_to_string(fixture.file("run/default-master.pid")).unwrap();
        assert_eq!(written.trim(), pid.to_string());
        (times(&master, "\"message\":\"listening\"") == 2).then_some(())
    });
    assert_eq!(times(&master, "master above its memory_limit"), 1, "the reason in the log");
    assert_eq!(start_time(pid), born, "the same process");
    assert_ne!(master.guardian(), guardian, "a new guardian");
    let counts = fixture.until("default", "all to be done", |c| c.done + c.failed == 400);
    assert_eq!((counts.done, counts.total), (400, 400));
    assert!(!fixture.file("run/c7-master.pid").exists(), "the stopped channel stays stopped");
    assert_eq!(fixture.json(&["queue:status", "-t", "c8"])["pid"], pid);

    // A limit below the need of a fresh master causes no loop.
    until("the warning", || {
        (times(&master, "memory_limit is below the need of a fresh master") == 1).then_some(())
    });
    assert_eq!(times(&master, "\"message\":\"listening\""), 2);
    assert!(master.stop().success());
    let left: Vec<_> = fs::read_dir(fixture.file("run")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().ends_with("-master.lock")), "{left:?}");
}

#[test]
fn stop_during_reexec_drain_finishes_runs() {
    let fixture = Fixture::sqlite(&channels(30));
    let master = fixture.listen(&["--all"]);
    fixture.push("sleep", r#"{"ms":9000}"#, &[]);
    until("the drain", || (times(&master, "re-exec: draining") == 1).then_some(()));
    master.signal(Signal::SIGTERM);
    let log = master.log_path();
    assert!(master.wait().success());
    let log = fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("\"message\":\"listening\"").count(), 1, "{log}");
    let counts = fixture.counts("default");
    assert_eq!(
        (counts.done, counts.reserved),
        (1, 0),
        "the first stop signal of the new program kills no job"
    );
    assert!(!fixture.file("run/default-master.pid").exists());
}

#[test]
fn reexec_is_refused_for_an_invalid_config() {
    let fixture = Fixture::sqlite(&channels(30));
    let master = fixture.listen(&["--all"]);
    let config = fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    fixture.write("aint-queue.toml", "this is no configuration");
    until("the refusal", || (times(&master, "re-exec postponed") == 1).then_some(()));
    fixture.write("aint-queue.toml", &config);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job after the refusal", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn reexec_is_refused_without_a_channels_program() {
    let worker = "[channels.w.worker]\ntype = \"process\"\ncommand = [\"./w.sh\"]\n";
    let fixture = Fixture::sqlite(&format!("{}{worker}", channels(30)));
    let script = "#!/bin/sh\nexit 0\n";
    fixture.write("w.sh", script);
    let master = fixture.listen(&["--all"]);
    fs::remove_file(fixture.file("w.sh")).unwrap();
    until("the refusal", || (times(&master, "re-exec postponed") == 1).then_some(()));
    let log = master.log();
    assert!(log.contains("could not find the program of channel \\\"w\\\"") && log.contains("w.sh"), "{log}");
    fixture.write("w.sh", script);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job after the refusal", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn stopped_undeclared_channel_does_not_block_reexec() {
    let fixture = Fixture::sqlite(&channels(30));
    let names: Vec<_> = (0..30).map(|i| format!("-tc{i}")).collect();
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.push("-tdefault");
    let master = fixture.listen(&names);
    fixture.ok(&["queue:stop", "-t", "c7"]);
    undeclare(&fixture, 7);
    until("the re-exec", || (times(&master, "\"message\":\"listening\"") == 2).then_some(()));
    assert_eq!(fixture.json(&["queue:status", "-t", "c8"])["pid"], master.pid());
    assert!(master.stop().success());
}

/// A fixture whose first channel has its own Redis server.
fn fixture_with_redis_channel(server: &Server) -> Fixture {
    let port = server.config().port;
    let redis =
        format!(r#"driver = {{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    let slow = "[channels.slow.worker]\ntype = \"process\"\ncommand = [\"sleep\", \"8\"]\n";
    Fixture::sqlite(&format!("{}{slow}[channels.default]\n{redis}\n", channels(30)))
}

#[test]
fn reexec_waits_for_store_and_serves_other_channels() {
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let fixture = fixture_with_redis_channel(&server);
    let master = fixture.listen(&["--all"]);
    fixture.push("sleep", r#"{"ms":7000}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    until("the drain", || (times(&master, "re-exec: draining") == 1).then_some(()));
    server.kill();
    until("the re-exec", || (times(&master, "\"message\":\"listening\"") == 2).then_some(()));
    fixture.push("x", "{}", &["-t", "c0"]);
    fixture.until("c0", "a job of another channel", |c| c.done == 1);
    until("the log line about the store", || {
        let log = master.log();
        let again = log.rfind("\"message\":\"listening\"").unwrap();
        log[again..].contains("not available").then_some(())
    });
    let looked = fixture.run(&["queue:status"]);
    assert_eq!(looked.status.code(), Some(5), "{}", text(&looked.stderr));
    let shown = text(&looked.stdout);
    assert!(shown.contains(&format!("is running, pid {}.", master.pid())), "{shown}");
    assert!(shown.contains("Store unavailable to the master for "), "{shown}");

    server.restart();
    let back = Instant::now();
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job after the store is back", |c| c.done >= 1);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    let counts = fixture.until("default", "the job whose end was not settled", |c| c.done == 2);
    assert_eq!((counts.failed, counts.total), (0, 2));
    assert!(master.stop().success());
}

#[test]
fn stop_after_reexec_works_during_store_outage() {
    let mut server = Server::start();
    let fixture = fixture_with_redis_channel(&server);
    let master = fixture.listen(&["--all"]);
    // The other channel drains slowly.
    fixture.push("x", "{}", &["-t", "slow"]);
    until("the drain", || (times(&master, "re-exec: draining") == 1).then_some(()));
    until("the channel to have drained", || {
        let ended = |line: &str| line.contains("channel stopped") && line.contains("\"default\"");
        master.log().lines().any(ended).then_some(())
    });
    server.kill();
    until("the re-exec", || (times(&master, "\"message\":\"listening\"") == 2).then_some(()));
    assert!(master.stop().success());
    let left: Vec<_> = fs::read_dir(fixture.file("run")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().ends_with("-master.lock")), "{left:?}");
    server.restart();
    let next = fixture.listen(&["--all"]);
    assert!(next.stop().success());
}

#[test]
fn drained_channel_can_be_stopped_for_good() {
    let fixture = Fixture::sqlite(&channels(1));
    let master = fixture.listen(&["--all"]);
    fixture.push("sleep", r#"{"ms":8000}"#, &[]);
    until("the drain", || (times(&master, "re-exec: draining") == 1).then_some(()));
    assert_eq!(times(&master, "\"message\":\"listening\""), 1, "the other channel still drains");
    fixture.ok(&["queue:stop", "-t", "c0"]);
    assert_eq!(fixture.json(&["queue:status", "-t", "c0"])["running"], false);
    fixture.until("default", "the job", |c| c.done == 1);
    assert_eq!(fixture.json(&["queue:status"])["pid"], master.pid());
    assert!(master.stop().success());
}

#[test]
fn job_that_does_not_end_postpones_the_reexec() {
    let config =
        |limit: u64| channels(1).replace(LIMIT, &format!("memory_limit = {limit}\nstop_wait_seconds = 4\n"));
    let fixture = Fixture::sqlite(&config(1024));
    let master = fixture.listen(&["--all"]);
    // A limit that the master is above, by less than twice.
    let need = resident_mib(master.pid());
    assert!(master.stop().success());
    let written = fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    assert!(written.contains("memory_limit = 1024"), "{written}");
    let limit = format!("memory_limit = {}", need * 3 / 4);
    fixture.write("aint-queue.toml", &written.replace("memory_limit = 1024", &limit));
    let master = fixture.listen(&["--all"]);
    let long = fixture.push("sleep", r#"{"ms":300000}"#, &[]);
    // The wait before it is explained.
    let waiting = fixture.push("noop", "{}", &["--delay", "1s"]);
    until("the wait of the master", || (times(&master, "re-exec: draining") == 1).then_some(()));
    let why =
        until("the reason", || Some(fixture.json(&["queue:why"])).filter(|why| why["reason"] == "reexec"));
    assert!(why["sentence"].as_str().unwrap().contains("above its memory_limit"), "{why}");
    assert!(fixture.ok(&["queue:status"]).contains("Held back: the master is above its memory_limit"));
    until("the re-exec to be given up", || {
        (times(&master, "re-exec postponed: jobs are still running") == 1).then_some(())
    });
    // The channels serve on, with the same workers and the same run.
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job that was held back, and another one", |c| c.done == 2);
    assert_eq!(fixture.json(&["queue:status"]).get("held_back"), None);
    assert_eq!(fixture.json(&["queue:why", &waiting.to_string()])["reason"], "done");
    let shown = fixture.json(&["queue:show", &long.to_string()]);
    assert_eq!(shown["state"], "reserved", "{shown}");
    let log = master.log();
    assert_eq!(log.matches("\"message\":\"listening\"").count(), 1, "{log}");
    assert!(!log.contains("interrupting running jobs") && !log.contains("channel stopped"), "{log}");
    // The stop of a user still ends the job.
    assert!(master.force_stop().success());
}

#[test]
fn only_main_thread_takes_signals_during_reexec() {
    let fixture = Fixture::sqlite(&format!("{}\n[http]\nlisten = \"127.0.0.1:0\"\n", channels(0)));
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job", |c| c.done == 1);
    let mut threads = Vec::new();
    for thread in fs::read_dir(format!("/proc/{}/task", master.pid())).unwrap().flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let status = read("status");
        let Some(blocked) = status.lines().find_map(|line| line.strip_prefix("SigBlk:")) else { continue };
        let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
        let takes = [Signal::SIGTERM, Signal::SIGUSR1].iter().any(|s| blocked >> (*s as i32 - 1) & 1 == 0);
        if thread.file_name().to_str() != Some(&master.pid().to_string()) {
            threads.push((read("comm").trim().to_owned(), takes));
        }
    }
    for name in ["http", "sqlite-write"] {
        assert!(threads.iter().any(|(thread, _)| thread == name), "no {name} in {threads:?}");
    }
    assert!(threads.iter().all(|(_, takes)| !takes), "{threads:?}");
    assert!(master.stop().success());
}
