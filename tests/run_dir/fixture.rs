//! This executable as other processes: rivals for a lock, and a user without privileges.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use aint_queue::engine::master::run_dir::{LockError, RunDir};

/// A process that runs one of the ignored tests of this executable, which are no tests but parts.
pub(crate) struct RoleProcess {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl RoleProcess {
    /// `part` is the name of the part, `directory` the run directory it works on.
    pub(crate) fn start(role: &str, directory: &Path) -> Self {
        Self::run(Command::new("/proc/self/exe"), role, directory)
    }

    /// The same as a user without privileges. The path of the executable may be closed to that user; this
    /// name of it is not.
    pub(crate) fn start_unprivileged(role: &str, directory: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/proc/self/exe");
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY_UID).gid(NOBODY_UID);
        }
        command.current_dir("/");
        Self::run(command, role, directory)
    }

    fn run(mut command: Command, role: &str, directory: &Path) -> Self {
        command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", role]);
        let mut child = command.env("RUN_DIRECTORY", directory).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it says next.
    pub(crate) fn next_report(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("it says something").unwrap();
            if let Some((_, said)) = line.split_once("SAYS ") {
                return said.to_owned();
            }
        }
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const NOBODY_UID: u32 = 65534;

/// What a part says to the test that started it.
pub(crate) fn report(text: impl std::fmt::Display) {
    println!("SAYS {text}");
}

/// The directory a part works on; `None` when nobody asked for it.
pub(crate) fn role_directory() -> Option<RunDir> {
    let directory = std::env::var_os("RUN_DIRECTORY")?;
    Some(RunDir::at(Path::new(&directory), "mail"))
}

/// Waits for the end that is a kill.
pub(crate) fn wait_to_be_killed() -> ! {
    loop {
        std::thread::park();
    }
}

/// An error with its causes, as people see it.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(crate) fn refused(run_dir: &RunDir) -> LockError {
    run_dir.lock().map(drop).expect_err("the lock cannot be taken")
}
