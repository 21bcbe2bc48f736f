//! The hand-over of a re-exec: the master runs its program again in the same process, with the same path and arguments.
//!
//! The process keeps its pid, its locks, so that no other master takes a channel in between, and its signal mask, so that a
//! signal in between waits for the next program.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};

use crate::fd;
use crate::master::own_program::own_program;
use crate::open_files;

/// The environment variable with the [`Handover`], in JSON. The next program checks the descriptors in it.
const HANDOVER_VARIABLE: &str = "AINT_QUEUE_AGAIN";

/// The state that one program passes to the next. Programs of different versions read its JSON form, so the names there are
/// fixed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Handover {
    /// The process of both programs.
    pid: u32,
    /// Number of re-execs in quick succession.
    #[serde(rename = "count")]
    pub(in crate::engine::master) reexec_count: u32,
    /// The numbers of the descriptors in `locks`, for the next program.
    #[serde(rename = "locks")]
    descriptors: BTreeMap<String, RawFd>,
    /// The served channels with their locks.
    #[serde(skip)]
    pub(in crate::engine::master) locks: BTreeMap<String, OwnedFd>,
    /// Names of the channels that were quiet.
    #[serde(default)]
    pub(in crate::engine::master) quiet: BTreeSet<String>,
    /// Manual minimum worker counts (`queue:scale`), by channel.
    #[serde(default, rename = "fewest")]
    pub(in crate::engine::master) manual_minimums: BTreeMap<String, usize>,
}

impl Handover {
    /// The hand-over from the previous program; `None` in an ordinary start. Call it once.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let mut found: Self = serde_json::from_str(&std::env::var(HANDOVER_VARIABLE).ok()?).ok()?;
        // A variable with another pid was inherited by accident, for instance through a shell.
        if found.pid != std::process::id() {
            return None;
        }
        // 0 to 2 are stdin, stdout and stderr.
        let descriptors = found.descriptors.iter().filter(|(_, number)| **number > 2);
        let lock = |(name, number): (&String, &RawFd)| Some((name.clone(), fd::inherited(*number).ok()?));
        found.locks = descriptors.filter_map(lock).collect();
        (!found.locks.is_empty()).then_some(found)
    }

    /// The channels to serve.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.locks.keys().map(String::as_str)
    }

    /// Runs the program again. Returns only on failure, with the reason.
    #[must_use]
    pub fn exec(self) -> io::Error {
        let Err(error) = self.try_exec();
        error
    }

    fn try_exec(mut self) -> io::Result<std::convert::Infallible> {
        for lock in self.locks.values() {
            fcntl(lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        self.pid = std::process::id();
        self.descriptors = self.locks.iter().map(|(name, lock)| (name.clone(), lock.as_raw_fd())).collect();
        let record = serde_json::to_string(&self).map_err(io::Error::other)?;
        let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
        let args = std::env::args_os().map(text).collect::<io::Result<Vec<_>>>()?;
        let others = std::env::vars_os().filter(|(name, _)| name != HANDOVER_VARIABLE);
        let variables = others.chain([(HANDOVER_VARIABLE.into(), record.into())]).map(|(name, value)| {
            text(OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat()))
        });
        let variables = variables.collect::<io::Result<Vec<_>>>()?;
        // `std::process::Command::exec` would unblock the signals, which must stay blocked for the next program.
        let program = text(own_program()?.into_os_string())?;
        open_files::restore();
        Ok(nix::unistd::execve(&program, &args, &variables)?)
    }
}
