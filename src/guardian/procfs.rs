//! Processes as /proc describes them: parents, children, start times, cookies, memory.
//!
//! Each read is a snapshot that may be outdated at once; callers scan again until no process is left.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Environment variable that identifies the worker a process descends from; descendants inherit it.
pub(crate) const COOKIE_VARIABLE: &str = "AINT_QUEUE_COOKIE";
/// Most bytes read of an environment; the kernel allows a quarter of the stack limit.
const MAX_ENVIRONMENT_BYTES: u64 = 8 << 20;

/// The fields of `/proc/<pid>/stat` that the guardian uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// State letter: `R`, `S`, `D`, `T`, `Z`, …
    pub(crate) state: u8,
    /// Pid of the parent.
    pub(crate) parent: i32,
    /// Process group id.
    pub(crate) group: i32,
    /// Session id.
    pub(crate) session: i32,
    /// Start time in clock ticks since boot. Pid and start time together identify a process uniquely.
    pub(crate) start_time: u64,
}

/// The stat of a process, zombies included; `None` when the process does not exist.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Resident set of a process in bytes; `None` when the process does not exist.
pub(crate) fn resident(pid: i32) -> Option<u64> {
    resident_in(&format!("/proc/{pid}/statm"))
}

/// Resident set of this process in bytes. In a pid namespace with the `/proc` of an outer one, the pid of this process is that
/// of another one there; `/proc/self` is right.
pub(crate) fn own_resident() -> Option<u64> {
    resident_in("/proc/self/statm")
}

fn resident_in(statm: &str) -> Option<u64> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    parse_resident(&fs::read_to_string(statm).ok()?, u64::try_from(page).ok()?)
}

fn parse_resident(statm: &str, page: u64) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(page)
}

/// Parses a stat line. The name in the second field may contain any byte, brackets and line breaks included.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end_of_name = text.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&text[end_of_name + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<i32>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// Times of a process, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Processor time of the process itself.
    pub(crate) cpu_ms: u64,
    /// Time since its start.
    pub(crate) age_ms: u64,
}

/// The times of a process; `None` when the process does not exist.
pub(crate) fn times(pid: i32) -> Option<Times> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end_of_name = text.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&text[end_of_name + 1..]).ok()?;
    let ticks = |i: usize| rest.split_ascii_whitespace().nth(i)?.parse::<u64>().ok();
    let age = ticks_since_boot().saturating_sub(ticks(19)?);
    // A tick is a hundredth of a second, see `ticks_since_boot`.
    Some(Times { cpu_ms: (ticks(11)? + ticks(12)?) * 10, age_ms: age * 10 })
}

/// The command of a process with its arguments, cut after a page; the name of a process without arguments.
pub(crate) fn command_line(pid: i32) -> Option<String> {
    let mut text = Vec::new();
    File::open(format!("/proc/{pid}/cmdline")).ok()?.take(4096).read_to_end(&mut text).ok()?;
    while text.last() == Some(&0) {
        text.pop();
    }
    if text.is_empty() {
        let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
        return Some(format!("[{}]", String::from_utf8_lossy(&name).trim_end()));
    }
    text.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The cookie of a process, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The value of the cookie variable.
    Present(String),
    /// The environment has no cookie, or may not be read.
    Absent,
    /// The environment is empty: cleared by the process, in the middle of an exec, or the process is dying.
    NoEnvironment,
    /// The process does not exist.
    NoProcess,
}

/// Reads the cookie of a process.
pub(crate) fn cookie(pid: i32) -> Cookie {
    let mut environment = Vec::new();
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut environment));
    match read {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Cookie::Absent,
        // Neither a zombie nor a live process whose first thread has ended has readable memory.
        Err(_) if stat(pid).is_some() => Cookie::NoEnvironment,
        Err(_) => Cookie::NoProcess,
        Ok(0) => Cookie::NoEnvironment,
        Ok(_) => find_cookie(&environment).map_or(Cookie::Absent, Cookie::Present),
    }
}

fn find_cookie(environment: &[u8]) -> Option<String> {
    environment.split(|&b| b == 0).find_map(|variable| {
        let value = variable.strip_prefix(COOKIE_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// Pids of all processes of the machine.
pub(crate) fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Pids of the children of a process, zombies included. A fork during the read may hide some, so callers scan again.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    children_under(Path::new("/proc").join(pid.to_string()).as_path()).unwrap_or_else(|| {
        all_pids().into_iter().filter(|&p| stat(p).is_some_and(|s| s.parent == pid)).collect()
    })
}

/// Reads the kernel's per-thread child lists. `None` when the kernel was built without them.
fn children_under(process: &Path) -> Option<Vec<i32>> {
    let Ok(threads) = fs::read_dir(process.join("task")) else { return Some(Vec::new()) };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|p| p.parse::<i32>().ok())),
            // NotFound for an existing thread means no lists at all; for a thread that has just ended it means nothing.
            Err(e) if e.kind() == io::ErrorKind::NotFound && thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

/// The children of this single-threaded process, read from one file that stays open.
///
/// The list is complete: a child leaves it only when it is reaped, which only the caller does.
#[derive(Debug)]
pub(crate) struct OwnChildren {
    list: Option<File>,
    text: Vec<u8>,
}

impl OwnChildren {
    /// Opens the child list of the calling thread.
    pub(crate) fn new() -> Self {
        Self { list: File::open("/proc/thread-self/children").ok(), text: vec![0; 4096] }
    }

    /// Reads the current pids.
    pub(crate) fn read(&mut self) -> Vec<i32> {
        self.try_read().unwrap_or_else(|| children_of(nix::unistd::getpid().as_raw()))
    }

    fn try_read(&mut self) -> Option<Vec<i32>> {
        let list = self.list.as_ref()?;
        let mut filled = 0;
        loop {
            if filled == self.text.len() {
                self.text.resize(filled * 2, 0);
            }
            match list.read_at(&mut self.text[filled..], filled as u64).ok()? {
                0 => break,
                n => filled += n,
            }
        }
        let text = std::str::from_utf8(&self.text[..filled]).ok()?;
        Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }
}

/// The time since boot, sleep of the machine included.
pub(crate) fn time_since_boot() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    now.into()
}

/// The current time in the unit of [`Stat::start_time`].
pub(crate) fn ticks_since_boot() -> u64 {
    let now = time_since_boot();
    // /proc counts hundredths of a second on every architecture on which Rust supports Linux.
    now.as_secs() * 100 + u64::from(now.subsec_millis()) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_past_any_process_name() {
        let line = b"42 (a) Z 1 (\n) S 7 8 9 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        let expected = Stat { state: b'S', parent: 7, group: 8, session: 9, start_time: 12345 };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat(b"42 (short) S 1"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn memory_is_resident_memory() {
        assert_eq!(parse_resident("1000 25 10 1 0 300 0\n", 4096), Some(25 * 4096));
        assert_eq!(parse_resident("", 4096), None);
        let mine = resident(nix::unistd::getpid().as_raw()).expect("this process exists");
        assert!((1 << 20..1 << 40).contains(&mine), "{mine}");
        assert_eq!(resident(i32::MAX), None);
    }

    #[test]
    fn cookie_is_found_only_under_its_exact_name() {
        assert_eq!(find_cookie(b"A=1\0AINT_QUEUE_COOKIE=x:y:3\0B=2\0"), Some("x:y:3".to_owned()));
        assert_eq!(find_cookie(b"XAINT_QUEUE_COOKIE=1\0AINT_QUEUE_COOKIES=2\0"), None);
        assert_eq!(find_cookie(b"AINT_QUEUE_COOKIE=\0"), Some(String::new()));
    }

    #[test]
    fn own_process_is_found_and_impossible_pid_is_not() {
        let me = nix::unistd::getpid().as_raw();
        let mine = stat(me).expect("this process exists");
        assert!(mine.start_time <= ticks_since_boot());
        assert!(children_of(mine.parent).contains(&me));
        assert!(all_pids().contains(&me));
        assert_eq!(stat(i32::MAX), None);
        assert_eq!(cookie(i32::MAX), Cookie::NoProcess);
    }
}
