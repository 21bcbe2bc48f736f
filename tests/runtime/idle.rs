//! The cost of a master without work.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, Master, SQLITE, until};
use crate::redis::Server;

/// Time over which wake-ups are counted: long enough for all timers of a second and more.
const COUNTED_TIME: Duration = Duration::from_secs(6);

/// The number of times that each thread of a process has slept, each of which ended in a wake-up. A loaded machine wakes no
/// thread more often.
fn sleeps(pid: i32) -> HashMap<OsString, u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|thread| thread.unwrap());
    let sleeps = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((thread.file_name(), line.trim().parse::<u64>().ok()?))
    };
    threads.filter_map(sleeps).collect()
}

/// The wake-ups between two readings. A thread that ended in between takes its earlier sleeps with it, so each thread is compared
/// with itself; its end counts as one.
fn wakeups_between(before: &HashMap<OsString, u64>, after: &HashMap<OsString, u64>) -> u64 {
    let ended = before.keys().filter(|thread| !after.contains_key(*thread)).count() as u64;
    let slept =
        |(thread, sleeps): (&OsString, &u64)| sleeps.saturating_sub(before.get(thread).copied().unwrap_or(0));
    ended + after.iter().map(slept).sum::<u64>()
}

/// The wake-ups of master and guardian per second.
fn wakeups(master: &Master) -> (u64, u64) {
    let count = || (sleeps(master.pid()), sleeps(master.guardian()));
    let (before, begin) = (count(), Instant::now());
    std::thread::sleep(COUNTED_TIME);
    let (after, seconds) = (count(), begin.elapsed().as_secs());
    (wakeups_between(&before.0, &after.0) / seconds, wakeups_between(&before.1, &after.1) / seconds)
}

#[test]
fn ended_thread_takes_no_wakeups_from_others() {
    let readings =
        |threads: &[(&str, u64)]| threads.iter().map(|(id, sleeps)| (OsString::from(id), *sleeps)).collect();
    let before = readings(&[("1", 10), ("2", 900)]);
    let after = readings(&[("1", 13), ("3", 4)]);
    assert_eq!(wakeups_between(&before, &after), 1 + 3 + 4);
}

fn idle_master_rarely_wakes(driver: &str, channels: usize, limit: u64) {
    let config: String = (0..channels).map(|channel| format!("[channels.c{channel}]\n")).collect();
    let fixture = Fixture::new(driver, &config);
    let master = fixture.listen(&["--all"]);
    until("the spare workers", || (master.workers().len() >= channels).then_some(()));
    let (of_master, of_guardian) = until("a quiet time", || {
        Some(wakeups(&master)).filter(|(of_master, of_guardian)| *of_master <= limit && *of_guardian <= 2)
    });
    println!(
        "{channels} channels: {of_master} wake-ups of the master and {of_guardian} of the guardian per second"
    );
    // The push of another process is met at once nevertheless.
    fixture.push("noop", "{}", &["-t", "c0"]);
    fixture.until("c0", "the job", |counts| counts.done == 1);
    assert!(master.stop().success());
}

#[test]
fn idle_master_on_sqlite_rarely_wakes() {
    idle_master_rarely_wakes(SQLITE, 1, 15);
    idle_master_rarely_wakes(SQLITE, 10, 30);
}

#[test]
fn idle_master_on_redis_rarely_wakes() {
    let redis = Server::start();
    let port = redis.config().port;
    let driver = format!(r#"{{ type = "redis", connection = {{ host = "127.0.0.1", port = {port} }} }}"#);
    idle_master_rarely_wakes(&driver, 1, 15);
}
