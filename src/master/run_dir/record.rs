//! The record that the holder of a lock writes into the lock file.
//!
//! The lock alone decides which process is master. The record names that process and the incarnation whose leases the next
//! master frees. A record is one line of JSON in a block of fixed length, written by one call: a holder that is killed leaves
//! the old record or the new one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde::{Deserialize, Serialize};

use crate::guardian::procfs;
use crate::store::StoreIdentity;

/// Length of the block. Most records are shorter.
const BLOCK_BYTES: usize = 512;
/// Bytes read of a lock file, which may have any content.
const MAX_READ: usize = 4096;

/// The holder of a lock. Programs of different versions read it, so the field names are fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The owner whose leases the next master frees; empty when there are none.
    #[serde(default)]
    pub(super) incarnation: String,
    /// The master's process; 0 after its end.
    #[serde(default)]
    pub(super) pid: i32,
    /// When that process started, in clock ticks since boot.
    #[serde(default)]
    pub(super) start_time: u64,
    /// The pid namespace in which the pid means something.
    #[serde(default)]
    pub(super) pid_namespace: u64,
    /// The store of the master. Absent in the record of an earlier version, and before the master knows its store.
    #[serde(default, flatten)]
    pub(super) served: ServedStore,
}

/// The store that a master serves, and the file that declares its channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedStore {
    /// The store.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "StoreIdentity::lenient")]
    pub store: Option<StoreIdentity>,
    /// The configuration file, as named, absolute; `None` for the built-in configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// The state of the process that a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// The process lives.
    Alive,
    /// The process has ended, or the record names none.
    Gone,
    /// The process belongs to another pid namespace, where it cannot be inspected.
    OtherNamespace,
}

impl Record {
    /// A record of this process with an incarnation to free.
    pub(super) fn of_this_process(incarnation: String) -> Self {
        let pid = nix::unistd::getpid().as_raw();
        let start_time = procfs::stat(pid).map_or(0, |s| s.start_time);
        Self { incarnation, pid, start_time, pid_namespace: pid_namespace(), served: ServedStore::default() }
    }

    /// Reads a lock file. Any other content counts as an empty record.
    pub(super) fn read(file: &File) -> Self {
        let mut block = [0; MAX_READ];
        let mut filled = 0;
        while let Ok(n @ 1..) = file.read_at(&mut block[filled..], filled as u64) {
            filled += n;
        }
        let line = block[..filled].split(|&b| b == b'\n').next().unwrap_or_default();
        serde_json::from_slice(line).unwrap_or_default()
    }

    /// Replaces the content of the file.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let mut block = serde_json::to_vec(self).map_err(io::Error::other)?;
        if block.len() >= MAX_READ {
            // Paths of several KiB: a record without them is better than one that no program can read.
            let short = Self { served: ServedStore::default(), ..self.clone() };
            block = serde_json::to_vec(&short).map_err(io::Error::other)?;
        }
        let padded = BLOCK_BYTES.max(block.len() + 1);
        block.resize(padded - 1, b' ');
        block.push(b'\n');
        file.write_all_at(&block, 0)?;
        file.set_len(padded as u64)
    }

    /// The state of the process that wrote this record, verified by its start time.
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
    fn record_with_endless_paths_stays_readable() {
        let file = file_with(b"");
        let mut record = Record::of_this_process("owner-1".into());
        record.served.config = Some("/x".repeat(MAX_READ));
        record.write(&file).unwrap();
        let read = Record::read(&file);
        assert_eq!(
            (read.pid, read.incarnation.as_str(), read.served),
            (record.pid, "owner-1", ServedStore::default())
        );
    }

    #[test]
    fn store_of_a_later_version_is_left_out() {
        let read =
            Record::read(&file_with(b"{\"pid\":7,\"store\":{\"driver\":\"clay\"},\"config\":\"/a\"}\n"));
        assert_eq!((read.pid, read.served.store, read.served.config.as_deref()), (7, None, Some("/a")));
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
