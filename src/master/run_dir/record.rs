//! What the holder of a lock writes into the lock file.
//!
//! The lock decides who is master; the record only tells who that is, and which incarnation's leases the next
//! master shall free. A record is one line of JSON in a block of fixed length, written by one call: a holder
//! that is killed leaves the old record or the new one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde::{Deserialize, Serialize};

use crate::guardian::procfs;

/// Length of the block; records are far shorter.
const BLOCK_BYTES: usize = 512;
/// No more is read of a file that may hold anything.
const MAX_READ: usize = 4096;

/// Who holds a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The owner whose leases the next master frees; empty when there is nothing to free.
    #[serde(default)]
    pub(super) incarnation: String,
    /// The master's process; 0 when it has let go.
    #[serde(default)]
    pub(super) pid: i32,
    /// When that process started, in clock ticks since boot.
    #[serde(default)]
    pub(super) start_time: u64,
    /// The pid namespace in which the pid means something.
    #[serde(default)]
    pub(super) pid_namespace: u64,
}

/// What is known of the process a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// It lives.
    Alive,
    /// It is gone, or there is none.
    Gone,
    /// It belongs to another container, which cannot be looked into.
    OtherNamespace,
}

impl Record {
    /// This process, with leases still to be freed.
    pub(super) fn of_this_process(incarnation: String) -> Self {
        let pid = nix::unistd::getpid().as_raw();
        let start_time = procfs::stat(pid).map_or(0, |s| s.start_time);
        Self { incarnation, pid, start_time, pid_namespace: pid_namespace() }
    }

    /// Reads a lock file. Whatever is not a record, is none.
    pub(super) fn read(file: &File) -> Self {
        let mut block = [0; MAX_READ];
        let mut filled = 0;
        while let Ok(n @ 1..) = file.read_at(&mut block[filled..], filled as u64) {
            filled += n;
        }
        let line = block[..filled].split(|&b| b == b'\n').next().unwrap_or_default();
        serde_json::from_slice(line).unwrap_or_default()
    }

    /// Writes it over whatever is there.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let mut block = serde_json::to_vec(self).map_err(io::Error::other)?;
        let padded = BLOCK_BYTES.max(block.len() + 1);
        block.resize(padded - 1, b' ');
        block.push(b'\n');
        file.write_all_at(&block, 0)?;
        file.set_len(padded as u64)
    }

    /// Whether the named process is the one that wrote this, and lives.
    pub(super) fn process_state(&self) -> ProcessState {
        if self.pid <= 0 {
            ProcessState::Gone
        } else if self.pid_namespace != pid_namespace() {
            ProcessState::OtherNamespace
        } else {
            match procfs::stat(self.pid) {
                Some(stat) if stat.start_time == self.start_time && stat.state != b'Z' => ProcessState::Alive,
                _ => ProcessState::Gone,
            }
        }
    }
}

fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(content: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    #[test]
    fn record_overwrites_any_previous_content() {
        for before in [&b""[..], b"garbage", &[0xff; 100_000], b"{\"pid\":1}\n"] {
            let file = file_with(before);
            let record = Record::of_this_process("owner-1".into());
            record.write(&file).unwrap();
            assert_eq!(Record::read(&file), record);
            assert_eq!(file.metadata().unwrap().len(), BLOCK_BYTES as u64);
        }
    }

    #[test]
    fn shorter_record_leaves_no_remainder() {
        let file = file_with(b"");
        Record::of_this_process("x".repeat(1000)).write(&file).unwrap();
        let short = Record::of_this_process("y".into());
        short.write(&file).unwrap();
        assert_eq!(Record::read(&file), short);
    }

    #[test]
    fn invalid_record_is_none() {
        for content in [&b""[..], b"\n\n", b"12345\n", b"{\"pid\":\"x\"}", &[b'['; 1 << 20]] {
            assert_eq!(Record::read(&file_with(content)), Record::default());
        }
    }

    #[test]
    fn reused_pid_is_not_the_recorded_process() {
        let mut record = Record::of_this_process(String::new());
        assert_eq!(record.process_state(), ProcessState::Alive);
        record.start_time -= 1;
        assert_eq!(record.process_state(), ProcessState::Gone);
        assert_eq!(Record::default().process_state(), ProcessState::Gone);
    }

    #[test]
    fn pid_of_another_container_is_ignored() {
        let record = Record { pid_namespace: 1, ..Record::of_this_process(String::new()) };
        assert_eq!(record.process_state(), ProcessState::OtherNamespace);
    }
}
