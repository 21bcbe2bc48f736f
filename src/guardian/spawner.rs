//! Starts the program of a spawn request: arguments, environment, descriptors, and an error text when it fails.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;

use super::privileges::Limit;
use super::procfs::COOKIE_VARIABLE;
use super::protocol::SpawnRequest;
use crate::fd::{LaunchStage, Launcher, Program};
use crate::open_files;

/// Search path without a PATH variable, as in the C library.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";
/// Number of the worker socket in a child.
const WIRE: RawFd = 3;
/// Variable that names the worker socket to a worker.
const FD_VARIABLE: &str = "AINT_QUEUE_FD";

/// Reason why a program was not started.
#[derive(Debug)]
pub(super) struct SpawnFailure {
    /// Reason in words, with the name of the program.
    pub(super) error: String,
    /// Error number of the operating system.
    pub(super) errno: Errno,
}

/// Starts programs whose environment extends that of the guardian.
#[derive(Debug)]
pub(super) struct Spawner {
    launcher: Launcher,
    inherited: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Spawner {
    /// Records the current environment of the guardian.
    pub(super) fn new() -> Self {
        let bytes = |s: OsString| s.into_vec();
        let inherited = std::env::vars_os().map(|(name, value)| (bytes(name), bytes(value))).collect();
        Self { launcher: Launcher::new(), inherited }
    }

    /// Starts a program. `fds` are the descriptors attached to the request: standard output, standard error, then
    /// standard input and the worker socket if the request has them.
    pub(super) fn start(
        &mut self,
        spawn: &SpawnRequest,
        cookie: &str,
        fds: &[OwnedFd],
    ) -> Result<i32, SpawnFailure> {
        let name = spawn.argv.first().map_or("", String::as_str);
        if fds.len() < spawn.fds() {
            return Err(SpawnFailure {
                error: format!(
                    "could not run \"{name}\": the guardian has no free descriptors; raise its open-files limit"
                ),
                errno: Errno::EMFILE,
            });
        }
        let program = self.program(spawn, cookie)?;
        let mut pairs: Vec<(BorrowedFd<'_>, RawFd)> = vec![(fds[0].as_fd(), 1), (fds[1].as_fd(), 2)];
        let mut rest = fds[2..].iter();
        // A child without standard input inherits that of the guardian, which is /dev/null.
        pairs.extend(spawn.stdin.then(|| rest.next()).flatten().map(|fd| (fd.as_fd(), 0)));
        pairs.extend(spawn.wire.then(|| rest.next()).flatten().map(|fd| (fd.as_fd(), WIRE)));
        self.launcher
            .launch(&program, &pairs)
            .map_err(|(stage, errno)| failure(spawn, &program, stage, errno))
    }

    fn program(&self, spawn: &SpawnRequest, cookie: &str) -> Result<Program, SpawnFailure> {
        let name = spawn.argv.first().map_or("", String::as_str);
        let refuse = |what: &str| SpawnFailure {
            error: format!("could not run \"{name}\": {what}"),
            errno: Errno::EINVAL,
        };
        if name.is_empty() {
            return Err(refuse("the command is empty"));
        }
        let wire = spawn.wire.then(|| WIRE.to_string());
        let is_own = |name: &[u8]| [FD_VARIABLE, COOKIE_VARIABLE].iter().any(|own| own.as_bytes() == name);
        let mut env: Vec<(&[u8], &[u8])> = Vec::with_capacity(self.inherited.len() + spawn.env.len() + 2);
        env.extend(wire.iter().map(|number| (FD_VARIABLE.as_bytes(), number.as_bytes())));
        env.push((COOKIE_VARIABLE.as_bytes(), cookie.as_bytes()));
        for (name, value) in spawn.env.iter().filter(|(name, _)| !is_own(name.as_bytes())) {
            if name.is_empty() || name.contains('=') {
                return Err(refuse(&format!("\"{name}\" is not a valid name of an environment variable")));
            }
            env.push((name.as_bytes(), value.as_bytes()));
        }
        let is_set = |env: &[(&[u8], &[u8])], name: &[u8]| env.iter().any(|(set, _)| *set == name);
        let account = spawn.privileges.account.as_ref();
        let of_account = account.map(|a| [("HOME", &a.home), ("LOGNAME", &a.name), ("USER", &a.name)]);
        for (name, value) in of_account.into_iter().flatten() {
            if !value.is_empty() && !is_set(&env, name.as_bytes()) {
                env.push((name.as_bytes(), value.as_bytes()));
            }
        }
        let inherited = self.inherited.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        // The trace that the start of the master belongs to is not that of a job.
        let is_trace = |name: &[u8]| [&b"TRACEPARENT"[..], b"TRACESTATE"].contains(&name);
        let passes =
            |name: &[u8]| !is_own(name) && !is_trace(name) && spawn.privileges.passed_env.passes(name);
        let inherited: Vec<_> = inherited.filter(|(name, _)| passes(name) && !is_set(&env, name)).collect();
        env.extend(inherited);
        let variables = env.into_iter().map(|(name, value)| [name, b"=", value].concat());
        let text = |bytes: Vec<u8>, what: &str| {
            CString::new(bytes).map_err(|_| refuse(&format!("{what} contains a NUL character")))
        };
        let paths = candidates(name.as_bytes(), self.search_path(spawn));
        let arguments = spawn.argv.iter().map(|a| a.clone().into_bytes());
        let cwd = spawn.cwd.as_ref().map(|c| c.as_os_str().as_bytes().to_vec());
        Ok(Program {
            paths: paths.into_iter().map(|p| text(p, "the program's name")).collect::<Result<_, _>>()?,
            argv: arguments.map(|a| text(a, "an argument")).collect::<Result<_, _>>()?,
            env: variables.map(|v| text(v, "an environment variable")).collect::<Result<_, _>>()?,
            cwd: cwd.map(|c| text(c, "the working directory")).transpose()?,
            nice: spawn.privileges.nice,
            open_files: open_files::at_start().map(|limit| limit.soft),
            limits: spawn.privileges.limits.iter().map(|(limit, value)| (resource(*limit), *value)).collect(),
            ids: account.map(|a| (a.uid, a.gid, a.groups.clone())),
        })
    }

    /// The PATH of the child.
    fn search_path<'a>(&'a self, spawn: &'a SpawnRequest) -> &'a [u8] {
        let requested =
            spawn.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_bytes());
        let inherited = || self.inherited.iter().find(|(name, _)| name == b"PATH").map(|(_, v)| v.as_slice());
        requested.or_else(inherited).unwrap_or(DEFAULT_PATH)
    }
}

/// The kernel's number of a resource limit.
fn resource(limit: Limit) -> nix::libc::c_int {
    use nix::sys::resource::Resource;
    let resource = match limit {
        Limit::OpenFiles => Resource::RLIMIT_NOFILE,
        Limit::Processes => Resource::RLIMIT_NPROC,
        Limit::Core => Resource::RLIMIT_CORE,
        Limit::CpuSeconds => Resource::RLIMIT_CPU,
        Limit::AddressSpace => Resource::RLIMIT_AS,
        Limit::FileSize => Resource::RLIMIT_FSIZE,
    };
    resource as nix::libc::c_int
}

/// The paths to try for a program. Empty parts of the search path are skipped: as the working directory they would be a
/// surprise.
fn candidates(name: &[u8], search_path: &[u8]) -> Vec<Vec<u8>> {
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let directories = search_path.split(|&b| b == b':').filter(|directory| !directory.is_empty());
    directories.map(|directory| [directory, b"/", name].concat()).collect()
}

fn failure(spawn: &SpawnRequest, program: &Program, stage: LaunchStage, errno: Errno) -> SpawnFailure {
    let name = &spawn.argv[0];
    let exists =
        || program.paths.iter().any(|p| Path::new(std::ffi::OsStr::from_bytes(p.as_bytes())).exists());
    let user = spawn.privileges.account.as_ref().map_or("", |account| account.name.as_str());
    let as_user = if user.is_empty() { String::new() } else { format!(" for user \"{user}\"") };
    let why = match (stage, errno) {
        (LaunchStage::ResourceLimits, _) => {
            format!("could not set worker.limits: {}", errno.desc())
        }
        (LaunchStage::Nice, _) => {
            let nice = spawn.privileges.nice.unwrap_or_default();
            format!("could not set worker.nice = {nice}: {}", errno.desc())
        }
        (LaunchStage::Account, _) => format!("could not change to user \"{user}\": {}", errno.desc()),
        (LaunchStage::Fork, _) => format!("could not create a process: {}", errno.desc()),
        (LaunchStage::WorkingDirectory, _) => {
            let cwd = spawn.cwd.as_deref().unwrap_or(Path::new(""));
            format!("could not enter working directory \"{}\"{as_user}: {}", cwd.display(), errno.desc())
        }
        (LaunchStage::Exec, Errno::ENOENT) if exists() => {
            "the interpreter named in its first line does not exist".to_owned()
        }
        (LaunchStage::Exec, Errno::ENOENT) if !name.contains('/') => "no such program in PATH".to_owned(),
        (LaunchStage::Exec, Errno::ENOENT) => "no such file".to_owned(),
        (LaunchStage::Exec, Errno::EACCES) if user.is_empty() => {
            "the file is not executable for this user".to_owned()
        }
        (LaunchStage::Exec, Errno::EACCES) => {
            format!("the file is not accessible or not executable{as_user}")
        }
        (LaunchStage::Exec, Errno::ENOEXEC) => {
            "the file is not a program; a script needs an interpreter in its first line, such as #!/bin/sh"
                .to_owned()
        }
        (LaunchStage::Prepare | LaunchStage::Exec, _) => errno.desc().to_owned(),
    };
    SpawnFailure { error: format!("could not run \"{name}\": {why}"), errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardian::handle::ChildId;
    use crate::guardian::privileges::{Account, Privileges};

    #[test]
    fn worker_wire_is_at_the_protocol_descriptor() {
        assert_eq!(FD_VARIABLE, crate::wire::FD_VARIABLE);
    }

    fn spawner(inherited: &[(&str, &str)]) -> Spawner {
        let bytes = |(n, v): &(&str, &str)| (n.as_bytes().to_vec(), v.as_bytes().to_vec());
        Spawner { launcher: Launcher::new(), inherited: inherited.iter().map(bytes).collect() }
    }

    fn spawn(argv: &[&str], env: &[(&str, &str)], wire: bool) -> SpawnRequest {
        SpawnRequest {
            child: ChildId(1),
            scope: String::new(),
            privileges: Privileges::default(),
            argv: argv.iter().map(ToString::to_string).collect(),
            env: env.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            cwd: None,
            stdin: false,
            wire,
        }
    }

    fn texts(strings: &[CString]) -> Vec<&str> {
        strings.iter().map(|s| s.to_str().unwrap()).collect()
    }

    #[test]
    fn env_precedence_is_reserved_requested_inherited() {
        let spawner = spawner(&[
            ("A", "old"),
            ("B", "kept"),
            ("AINT_QUEUE_FD", "9"),
            ("AINT_QUEUE_COOKIE", "outer"),
            ("TRACEPARENT", "of the master"),
        ]);
        let requested = [("A", "new"), ("AINT_QUEUE_COOKIE", "forged")];
        let program = spawner.program(&spawn(&["x"], &requested, true), "me:1").unwrap();
        assert_eq!(texts(&program.env), ["AINT_QUEUE_FD=3", "AINT_QUEUE_COOKIE=me:1", "A=new", "B=kept"]);
        let program = spawner.program(&spawn(&["x"], &[], false), "me:1").unwrap();
        assert_eq!(texts(&program.env), ["AINT_QUEUE_COOKIE=me:1", "A=old", "B=kept"]);
    }

    #[test]
    fn child_of_another_user_has_that_users_home() {
        let spawner = spawner(&[("HOME", "/root"), ("USER", "root"), ("B", "kept")]);
        let mut requested = spawn(&["x"], &[("USER", "as configured")], false);
        let home = "/home/shop".to_owned();
        requested.privileges.account =
            Some(Account { name: "shop".into(), uid: 7, gid: 8, groups: vec![8, 9], home });
        let program = spawner.program(&requested, "c").unwrap();
        let wanted =
            ["AINT_QUEUE_COOKIE=c", "USER=as configured", "HOME=/home/shop", "LOGNAME=shop", "B=kept"];
        assert_eq!(texts(&program.env), wanted);
        assert_eq!(program.ids, Some((7, 8, vec![8, 9])));
    }

    #[test]
    fn program_is_looked_up_in_the_childs_path() {
        let spawner = spawner(&[("PATH", "/a:/b")]);
        let paths = |requested: &SpawnRequest| {
            texts(&spawner.program(requested, "c").unwrap().paths)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(&spawn(&["x"], &[], false)), ["/a/x", "/b/x"]);
        assert_eq!(paths(&spawn(&["x"], &[("PATH", "/c::")], false)), ["/c/x"]);
        assert_eq!(paths(&spawn(&["./x"], &[], false)), ["./x"]);
    }

    #[test]
    fn arguments_invalid_for_exec_are_refused() {
        let spawner = spawner(&[]);
        let error = |requested: &SpawnRequest| spawner.program(requested, "c").unwrap_err().error;
        assert_eq!(error(&spawn(&[], &[], false)), "could not run \"\": the command is empty");
        assert!(error(&spawn(&["x", "a\0b"], &[], false)).contains("an argument contains a NUL"));
        assert!(error(&spawn(&["x"], &[("A=B", "")], false)).contains("\"A=B\" is not a valid name"));
        assert!(
            error(&spawn(&["x"], &[("A", "\0")], false)).contains("an environment variable contains a NUL")
        );
    }
}
