//! Which other processes have a store file open, by the locks that SQLite holds all the time: on the main file, and on `-shm`.
//!
//! A process with a lock on the main file and none on the present `-shm` uses one that has lost its name. Writes beside it would
//! be lost, see `file_watch.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::error::SqliteError;
use super::path_checks::{StorePath, beside};

/// The first byte of the range on which each open connection holds a read lock (SHARED_FIRST of SQLite).
const SHARED_FIRST: &str = "1073741826";
/// Longest time in which another process may have a part of the files open, because it opens or closes the store.
const OPENING_TIME: Duration = Duration::from_millis(2_500);
/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Reads of `/proc/locks` in one look. The kernel hands it out in pieces, and a lock that ends between two of them hides another one.
const READS: usize = 3;

/// Refuses a store that another process has open with files other than those of the present names.
pub(super) fn check(place: &StorePath) -> Result<(), SqliteError> {
    let mut stranded = stranded(place);
    let begin = Instant::now();
    while let Some(pid) = stranded.first() {
        if begin.elapsed() >= OPENING_TIME {
            return Err(SqliteError::Refused(format!(
                "pid {pid} has it open, but its \"-wal\" or \"-shm\" file was moved, removed or replaced since: stop that process (a \
                 master with queue:stop), which keeps its jobs, then try again"
            )));
        }
        thread::sleep(LOOK_INTERVAL);
        let now = self::stranded(place);
        stranded.retain(|pid| now.contains(pid));
    }
    Ok(())
}

/// The other processes whose files beside the main one have lost their names. None without a readable `/proc`.
fn stranded(place: &StorePath) -> BTreeSet<i32> {
    let Ok(reads) = (0..READS).map(|_| fs::read_to_string("/proc/locks")).collect::<Result<Vec<_>, _>>()
    else {
        return BTreeSet::new();
    };
    let locks = reads.concat();
    let shm = fs::metadata(beside(&place.path, "-shm")).ok().map(|found| (found.dev(), found.ino()));
    // SQLite opens -wal first and removes it last, so that -shm is never in use without it.
    let shm = shm.filter(|_| beside(&place.path, "-wal").exists());
    let sharing = shm.map_or_else(BTreeSet::new, |shm| holders(&locks, shm, |_| true));
    let holders = holders(&locks, place.inode, |start| start == SHARED_FIRST);
    holders.difference(&sharing).copied().collect()
}

/// The processes other than this one that hold a read lock on a file, at a start that is accepted.
fn holders(locks: &str, (device, inode): (u64, u64), accepts: impl Fn(&str) -> bool) -> BTreeSet<i32> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    let own = i32::try_from(process::id()).unwrap_or(0);
    let holder = |line: &str| {
        // Number, POSIX, ADVISORY, READ, pid, file, start, end; a waiting lock has an arrow after its number.
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, "POSIX", _, "READ", pid, of, start, _] = fields[..] else { return None };
        let pid = pid.parse().ok().filter(|pid| *pid > 0 && *pid != own)?;
        (of == file && accepts(start)).then_some(pid)
    };
    locks.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  READ 41 08:01:77 128 128
2: POSIX  ADVISORY  READ 41 08:01:70 1073741826 1073742335
3: POSIX  ADVISORY  WRITE 42 08:01:70 1073741826 1073742335
3: -> POSIX  ADVISORY  READ 43 08:01:70 1073741826 1073742335
4: FLOCK  ADVISORY  READ 44 08:01:70 1073741826 1073742335
5: POSIX  ADVISORY  READ 45 fe:101:70 1073741826 EOF
";

    #[test]
    fn holders_are_found_by_device_and_inode() {
        let device = |major, minor| nix::sys::stat::makedev(major, minor);
        let of = |device, inode, start: &'static str| {
            let found = holders(LOCKS, (device, inode), |found| start.is_empty() || found == start);
            found.into_iter().collect::<Vec<i32>>()
        };
        assert_eq!(of(device(8, 1), 70, SHARED_FIRST), [41]);
        assert_eq!(of(device(8, 1), 77, ""), [41]);
        assert_eq!(of(device(8, 1), 77, SHARED_FIRST), [0; 0]);
        assert_eq!(of(device(0xfe, 0x101), 70, SHARED_FIRST), [45]);
        assert_eq!(of(device(8, 2), 70, SHARED_FIRST), [0; 0]);
    }
}
