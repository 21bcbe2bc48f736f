//! Roles: this executable as other processes, such as rivals for a lock or a user without privileges.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use aint_queue::engine::master::run_dir::{LockError, RunDir};

/// A process that runs a role, one of the ignored test functions of this executable.
pub(crate) struct RoleProcess {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl RoleProcess {
    /// `part` is the name of the role, `directory` its run directory.
    pub(crate) fn start(role: &str, directory: &Path) -> Self {
        Self::run(Command::new("/proc/self/exe"), role, directory)
    }

    /// As above, as a user without privileges. That user may not reach the path of the executable, but this path.
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

    /// The next report of the role.
    pub(crate) fn next_report(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("a report").unwrap();
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

/// Reports to the test that started the role.
pub(crate) fn report(text: impl std::fmt::Display) {
    println!("SAYS {text}");
}

/// The run directory of a role; `None` when the function was not started as a role.
pub(crate) fn role_directory() -> Option<RunDir> {
    let directory = std::env::var_os("RUN_DIRECTORY")?;
    Some(RunDir::at(Path::new(&directory), "mail"))
}

/// Waits until the process is killed.
pub(crate) fn wait_to_be_killed() -> ! {
    loop {
        std::thread::park();
    }
}

/// An error with its causes, as the commands print it.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(crate) fn refused(run_dir: &RunDir) -> LockError {
    run_dir.lock().map(drop).expect_err("the lock cannot be taken")
}
