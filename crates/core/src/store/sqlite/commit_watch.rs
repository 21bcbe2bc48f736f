//! Announcements of the kernel (inotify) that a process writes to the log of an open store.
//!
//! Every commit is a write to `-wal`, and the log of an open store keeps its inode. A write comes before its commit is visible: SQLite
//! syncs the log in between. `-shm` is written through a mapping, which announces nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// The announcements of writes to a log, by this process too.
///
/// Writes since the last announcement received are announced once: a receiver that is busy, or that does not look, costs the
/// writers nothing but an entry that the kernel keeps.
#[derive(Debug)]
pub(super) struct CommitWatch {
    inotify: Arc<Inotify>,
    watch: WatchDescriptor,
    writes: Receiver<()>,
}

impl CommitWatch {
    /// Starts to watch the file at `path`.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let inotify = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC)?);
        let watch = inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        // Without room: the thread reads the next event when the one before was received.
        let (announce, writes) = bounded(0);
        let source = Arc::clone(&inotify);
        let forward = move || forward(&source, &announce);
        thread::Builder::new().name("sqlite-watch".to_owned()).spawn(forward)?;
        Ok(Self { inotify, watch, writes })
    }

    /// The announcements; disconnected when the kernel sends no more of them.
    pub(super) fn writes(&self) -> &Receiver<()> {
        &self.writes
    }
}

impl Drop for CommitWatch {
    fn drop(&mut self) {
        // The end of the watch is an event, which ends the thread. A watch that has ended already has sent that event.
        let _ = self.inotify.rm_watch(self.watch);
    }
}

fn forward(inotify: &Inotify, announce: &Sender<()>) {
    loop {
        match inotify.read_events() {
            Ok(events) if events.iter().any(|event| event.mask.contains(AddWatchFlags::IN_IGNORED)) => return,
            Ok(_) if announce.send(()).is_ok() => {}
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::time::Duration;

    use crossbeam_channel::RecvTimeoutError;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[test]
    fn writes_are_announced_until_the_end_of_the_watch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let watch = CommitWatch::start(&path).unwrap();
        for _ in 0..3 {
            file.write_all(b"frame").unwrap();
            watch.writes().recv_timeout(DEADLINE).unwrap();
        }
        let writes = watch.writes().clone();
        drop(watch);
        assert_eq!(writes.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected), "its thread ended");
    }
}
