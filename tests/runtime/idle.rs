//! The cost of a master without work.

use std::fs;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, Master, SQLITE, until};
use crate::redis::Server;

/// Time over which wake-ups are counted: long enough for all timers of a second and more.
const COUNTED_TIME: Duration = Duration::from_secs(6);

/// The number of times that the threads of a process have slept, each of which ended in a wake-up. A loaded machine wakes no
/// thread more often.
fn sleeps(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|thread| thread.unwrap().path());
    let sleeps = |thread: std::path::PathBuf| {
        let status = fs::read_to_string(thread.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    threads.filter_map(sleeps).sum()
}

/// The wake-ups of master and guardian per second.
fn wakeups(master: &Master) -> (u64, u64) {
    let count = || (sleeps(master.pid()), sleeps(master.guardian()));
    let (before, begin) = (count(), Instant::now());
    std::thread::sleep(COUNTED_TIME);
    let (after, seconds) = (count(), begin.elapsed().as_secs());
    ((after.0 - before.0) / seconds, (after.1 - before.1) / seconds)
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
