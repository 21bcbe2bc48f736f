//! This program in a role: a process of its own that a test starts, reads and ends.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The first argument of a program that is started in a role; the name of the role and its arguments follow.
const ROLE: &str = "__role";

/// The user without privileges.
pub(crate) const NOBODY_UID: u32 = 65534;

/// The code of a role, called with its arguments.
pub(crate) type Role = fn(&[String]);

/// Plays the role that the arguments of this process ask for, if they ask for one.
pub(crate) fn play(roles: &[(&str, Role)]) -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, name, rest @ ..] = &arguments[..] else { return false };
    if first != ROLE {
        return false;
    }
    let role = roles.iter().find(|(known, _)| known == name);
    role.unwrap_or_else(|| panic!("no role \"{name}\"")).1(rest);
    true
}

/// Reports a line to the test that started this role, past the buffer that a kill would lose.
pub(crate) fn report(line: impl Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Waits for the end of a role that its test kills.
pub(crate) fn wait_to_be_killed() -> ! {
    loop {
        std::thread::park();
    }
}

/// The command that runs a role. The path of the executable may be closed to another user; this name of it is not.
pub(crate) fn command(role: &str, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([ROLE, role]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A running role. Dropping it kills it.
pub(crate) struct RoleProcess {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl RoleProcess {
    pub(crate) fn start(role: &str, arguments: &[impl AsRef<OsStr>]) -> Self {
        Self::run(command(role, arguments))
    }

    /// The same as a user without privileges, where this one is root.
    pub(crate) fn start_unprivileged(role: &str, arguments: &[impl AsRef<OsStr>]) -> Self {
        let mut command = command(role, arguments);
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY_UID).gid(NOBODY_UID);
        }
        command.current_dir("/");
        Self::run(command)
    }

    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line of the role; `None` after its last one.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        self.lines.next().map(Result::unwrap)
    }

    /// The next line of a role that has one to report.
    pub(crate) fn next_report(&mut self) -> String {
        self.next_line().expect("a report of the role")
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
