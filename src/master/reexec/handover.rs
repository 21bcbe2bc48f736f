//! Beginning anew: the master runs its program again in the same process, by the path and with the arguments it was
//! started with. It keeps its number and its locks, so nobody else becomes master meanwhile, and its signals: one that comes in
//! between waits for the next program.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};

use crate::fd;
use crate::master::own_program;

/// What the next program is told. Only numbers of descriptors: what they are is checked by who takes them.
const HANDOVER_VARIABLE: &str = "AINT_QUEUE_AGAIN";

/// What goes from one program to the next.
#[derive(Debug, Default)]
pub struct Handover {
    /// How many beginnings in quick succession this is.
    pub(in crate::engine::master) reexec_count: u32,
    /// The channels that were served, with their locks.
    pub(in crate::engine::master) locks: BTreeMap<String, OwnedFd>,
    /// Those of them that were quiet.
    pub(in crate::engine::master) quiet: BTreeSet<String>,
    /// The fewest workers of those where they were set by hand.
    pub(in crate::engine::master) fewest: BTreeMap<String, usize>,
}

#[derive(Serialize, Deserialize)]
struct HandoverRecord {
    /// The process, which stays the same.
    pid: u32,
    count: u32,
    locks: BTreeMap<String, RawFd>,
    #[serde(default)]
    quiet: BTreeSet<String>,
    #[serde(default)]
    fewest: BTreeMap<String, usize>,
}

impl Handover {
    /// What the program before has left to this one; `None` when there was none. Call it once.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let record: HandoverRecord = serde_json::from_str(&std::env::var(HANDOVER_VARIABLE).ok()?).ok()?;
        // Of another process, it is a word from somewhere else, such as a shell that has kept the variable.
        if record.pid != std::process::id() {
            return None;
        }
        let standard = 2;
        let locks = record.locks.iter().filter(|(_, number)| **number > standard);
        let locks: BTreeMap<_, _> =
            locks.filter_map(|(name, number)| Some((name.clone(), fd::inherited(*number).ok()?))).collect();
        let HandoverRecord { count, quiet, fewest, .. } = record;
        (!locks.is_empty()).then_some(Self { reexec_count: count, locks, quiet, fewest })
    }

    /// The channels to serve.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.locks.keys().map(String::as_str)
    }

    /// Runs the program again. It returns only when that is not possible, with the reason.
    #[must_use]
    pub fn exec(self) -> io::Error {
        match self.try_exec() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_exec(self) -> io::Result<std::convert::Infallible> {
        for lock in self.locks.values() {
            fcntl(lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let locks = self.locks.iter().map(|(name, lock)| (name.clone(), lock.as_raw_fd())).collect();
        let record = HandoverRecord {
            pid: std::process::id(),
            count: self.reexec_count,
            locks,
            quiet: self.quiet.clone(),
            fewest: self.fewest.clone(),
        };
        let record = serde_json::to_string(&record).map_err(io::Error::other)?;
        let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
        let args = std::env::args_os().map(text).collect::<io::Result<Vec<_>>>()?;
        let others = std::env::vars_os().filter(|(name, _)| name != HANDOVER_VARIABLE);
        let variables = others.chain([(HANDOVER_VARIABLE.into(), record.into())]).map(|(name, value)| {
            text(OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat()))
        });
        let variables = variables.collect::<io::Result<Vec<_>>>()?;
        // Not by the standard library, which would let the signals loose that are held for the next program.
        let program = text(own_program()?.into_os_string())?;
        Ok(nix::unistd::execve(&program, &args, &variables)?)
    }
}
