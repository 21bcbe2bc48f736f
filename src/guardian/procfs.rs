//! What /proc says about processes: whose children they are, whose cookie they carry.
//!
//! Every answer is a look at one moment; the callers walk again until nothing is left.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The environment variable that says which worker a process belongs to, however far it has wandered.
pub(crate) const COOKIE_VARIABLE: &str = "AINT_QUEUE_COOKIE";
/// No environment is read past this length; the kernel allows a quarter of the stack limit.
const MAX_ENVIRONMENT_BYTES: u64 = 8 << 20;

/// The fields of /proc/<pid>/stat that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub(crate) state: u8,
    /// The parent.
    pub(crate) parent: i32,
    /// The process group.
    pub(crate) group: i32,
    /// The session.
    pub(crate) session: i32,
    /// When it started, in clock ticks since boot. With the pid, it names a process for ever.
    pub(crate) start_time: u64,
}

/// The stat of a process, zombies included; `None` when there is none.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// How many bytes of memory a process has in use (its resident set); `None` when there is no such process.
pub(crate) fn resident(pid: i32) -> Option<u64> {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    parse_resident(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?, u64::try_from(page).ok()?)
}

fn parse_resident(statm: &str, page: u64) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(page)
}

/// The name in the second field may hold anything, brackets and line breaks included.
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

/// What a process's environment says about where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// This is its cookie.
    Present(String),
    /// It has an environment without a cookie, or one we may not read.
    Absent,
    /// It has no environment at all: wiped, just being replaced by exec, or already dying.
    NoEnvironment,
    /// There is no such process.
    NoProcess,
}

/// Reads a process's cookie.
pub(crate) fn cookie(pid: i32) -> Cookie {
    let mut environment = Vec::new();
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut environment));
    match read {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Cookie::Absent,
        // A zombie has no memory to read; nor has a process whose first thread has ended, and that one lives.
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

/// Every process there is, by number.
pub(crate) fn all_pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of any process, zombies included. A process that forks meanwhile may hide some; walk again.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    children_under(Path::new("/proc").join(pid.to_string()).as_path()).unwrap_or_else(|| {
        all_pids().into_iter().filter(|&p| stat(p).is_some_and(|s| s.parent == pid)).collect()
    })
}

/// The kernel lists children by the thread that has them. `None` when it was built without these lists.
fn children_under(process: &Path) -> Option<Vec<i32>> {
    let Ok(threads) = fs::read_dir(process.join("task")) else { return Some(Vec::new()) };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(|p| p.parse::<i32>().ok())),
            // A thread that has just ended has no directory any more, which is no reason to distrust the rest.
            Err(e) if e.kind() == io::ErrorKind::NotFound && thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

/// The children of this process, when it has one thread: one read of a file that stays open.
///
/// The list is complete: children leave it only when they are reaped, and the caller is who reaps.
#[derive(Debug)]
pub(crate) struct OwnChildren {
    list: Option<File>,
    text: Vec<u8>,
}

impl OwnChildren {
    /// Opens the list.
    pub(crate) fn new() -> Self {
        Self { list: File::open("/proc/thread-self/children").ok(), text: vec![0; 4096] }
    }

    /// Reads it.
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

/// Now, in the unit of [`Stat::start_time`].
pub(crate) fn ticks_since_boot() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .expect("the boot clock is there since Linux 2.6.39");
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    // The unit of /proc is a hundredth of a second on every architecture Rust runs Linux on.
    seconds * 100 + u64::try_from(now.tv_nsec()).unwrap_or(0) / 10_000_000
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
