//! A program whose file changes while workers that are made from it wait for their only job: they are replaced before they
//! get one, so that where each job has a process of its own, each runs what is on disk when it begins. Long-lived
//! workers change with a reload.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use tracing::info;

use super::worker::WorkerState;
use super::{Pool, Program, recycling};

/// The files of a program as they were at one moment: their place on disk, size and time of change; `None` for one that was
/// not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProgramFiles(Vec<Option<[i128; 5]>>);

impl ProgramFiles {
    /// The files as they are now.
    fn now(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|path| path.metadata().ok().map(|found| identity(&found))).collect())
    }
}

fn identity(found: &Metadata) -> [i128; 5] {
    [
        found.dev().into(),
        found.ino().into(),
        found.size().into(),
        found.mtime().into(),
        found.mtime_nsec().into(),
    ]
}

impl Pool {
    /// What a worker that is started now is made from; nothing where that does not matter.
    pub(super) fn files_now(&self) -> ProgramFiles {
        if self.is_watching() { ProgramFiles::now(&self.spec.files) } else { ProgramFiles::default() }
    }

    fn is_watching(&self) -> bool {
        self.spec.plan.jobs_per_life == 1 && matches!(self.spec.program, Program::Wire(_))
    }

    /// Lets workers go that wait for their job and were made from files that have changed. A look at a few files takes
    /// microseconds, and jobs of this mode take a process each.
    pub(super) fn stop_outdated(&mut self) {
        if !self.is_watching() {
            return;
        }
        let now = self.files_now();
        let outdated: Vec<_> = self
            .workers
            .values()
            .filter(|w| {
                // Those of another generation have their own files, and are on their way in or out.
                w.generation == self.generation
                    && matches!(w.state, WorkerState::Booting | WorkerState::Serving)
                    && w.runs.is_empty()
                    && w.files != now
            })
            .map(|w| w.child)
            .collect();
        for child in outdated {
            let Some(worker) = self.workers.get_mut(&child) else { continue };
            worker.outgoing = Some(recycling::RecycleReason::Changed);
            info!(channel = %self.spec.channel, pid = worker.pid, "a worker is to be replaced: its program has changed on disk");
            self.stop_worker(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_or_missing_file_differs() {
        let dir = tempfile::tempdir().unwrap();
        let found = [dir.path().join("worker.php")];
        let missing = ProgramFiles::now(&found);
        std::fs::write(&found[0], "1").unwrap();
        let before = ProgramFiles::now(&found);
        assert_ne!(before, missing);
        assert_eq!(before, ProgramFiles::now(&found));
        std::fs::write(&found[0], "22").unwrap();
        assert_ne!(before, ProgramFiles::now(&found));
        std::fs::remove_file(&found[0]).unwrap();
        assert_eq!(ProgramFiles::now(&found), missing);
    }
}
