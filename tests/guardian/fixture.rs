//! A guardian for tests: starts marked children, finds their processes, waits for events.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use aint_queue::engine::guardian::{ChildEvent, ChildId, ChildSpec, Exit, Guardian, GuardianHandle};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/random.rs"]
mod random;
#[allow(dead_code, reason = "each test program uses a part of it")]
#[path = "../support/wait.rs"]
mod wait;

pub(crate) use wait::{WAIT_DEADLINE, until_async};

/// The executable that can run as a guardian.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_aint-queue"))
}

/// The longest silence of a master, unless a test sets its own.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// A number of seconds that is unique on this machine, by which `sleep MARK` processes are found.
pub(crate) fn mark() -> String {
    format!("3600.{}", random::unique_digits())
}

/// Pids of the processes whose command line contains this text, without zombies.
pub(crate) fn alive(mark: &str) -> Vec<i32> {
    let of_thread = |thread: &Path| {
        fs::read(thread.join("cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(mark))
    };
    // When its first thread has ended, only the other threads of a process have a command line.
    let holds = |pid: &i32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads.into_iter().any(|thread| of_thread(&thread.path()))
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(holds)
        .collect()
}

/// Pids of the `sleep` processes with exactly this mark.
pub(crate) fn sleeping(mark: &str) -> Vec<i32> {
    let exactly = format!("sleep\0{mark}\0");
    let sleeps = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c == exactly.as_bytes());
    alive(mark).into_iter().filter(sleeps).collect()
}

/// Fails when a process with this mark is alive.
pub(crate) fn assert_none_left(mark: &str, by: &str) {
    let left = alive(mark);
    let states: Vec<_> = left.iter().map(|pid| stat(*pid)).collect();
    assert!(left.is_empty(), "left by {by}: {left:?} {states:?}");
}

/// The fields of /proc/<pid>/stat after the name: state, parent, group, session, …
pub(crate) fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

pub(crate) fn parent_of(pid: i32) -> i32 {
    stat(pid).expect("the process exists")[1].parse().unwrap()
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    until_async(what, async || is_so()).await;
}

/// A guardian with one receiver for the events of all its children.
pub(crate) struct Fixture {
    pub(crate) guardian: Guardian,
    pub(crate) handle: GuardianHandle,
    pub(crate) events: UnboundedSender<(ChildId, ChildEvent)>,
    received: UnboundedReceiver<(ChildId, ChildEvent)>,
    early: HashMap<ChildId, Vec<ChildEvent>>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with_cookie(&format!("test-{}:a", mark())).await
    }

    pub(crate) async fn with_cookie(cookie_base: &str) -> Self {
        Self::with_silence_limit(cookie_base, LEASE).await
    }

    pub(crate) async fn with_silence_limit(cookie_base: &str, limit: Duration) -> Self {
        let started = Guardian::start_with(program(), cookie_base.to_owned(), limit).await;
        let guardian = started.expect("the guardian starts");
        let (events, received) = unbounded_channel();
        let handle = guardian.handle();
        Self { guardian, handle, events, received, early: HashMap::new() }
    }

    pub(crate) fn spawn(&self, what: ChildSpec) -> ChildId {
        self.handle.spawn(what, self.events.clone())
    }

    /// Starts a shell script without output.
    pub(crate) fn sh(&self, script: &str) -> ChildId {
        self.spawn(sh(script))
    }

    /// The next event of this child.
    pub(crate) async fn next(&mut self, child: ChildId) -> ChildEvent {
        if let Some(early) = self.early.get_mut(&child)
            && !early.is_empty()
        {
            return early.remove(0);
        }
        loop {
            let next = tokio::time::timeout(WAIT_DEADLINE, self.received.recv());
            let (id, event) = next.await.expect("an event comes").expect("the guardian lives");
            if id == child {
                return event;
            }
            self.early.entry(id).or_default().push(event);
        }
    }

    /// Waits until a child has started and returns its pid.
    pub(crate) async fn started(&mut self, child: ChildId) -> i32 {
        match self.next(child).await {
            ChildEvent::Spawned { pid } => pid,
            other => panic!("it did not start: {other:?}"),
        }
    }

    /// Waits for the exit of a started child.
    pub(crate) async fn ended(&mut self, child: ChildId) -> Exit {
        match self.next(child).await {
            ChildEvent::Exited(exit) => exit,
            other => panic!("it did not end: {other:?}"),
        }
    }

    /// Starts a script with MARK replaced by the mark, and waits until the given number of `sleep MARK` processes run.
    /// Returns the child, its pid, and the pid of the guardian.
    pub(crate) async fn tree(&mut self, script: &str, mark: &str, sleeps: usize) -> (ChildId, i32, i32) {
        let child = self.sh(&script.replace("MARK", mark));
        let pid = self.started(child).await;
        until(&format!("{sleeps} times sleep of {script}"), || sleeping(mark).len() == sleeps).await;
        (child, pid, parent_of(pid))
    }

    pub(crate) fn into_parts(self) -> (UnboundedReceiver<(ChildId, ChildEvent)>, Guardian) {
        (self.received, self.guardian)
    }

    pub(crate) async fn pid_of_guardian(&mut self) -> i32 {
        let child = self.sh("exec sleep 3600");
        let pid = parent_of(self.started(child).await);
        self.handle.kill(child);
        self.ended(child).await;
        pid
    }
}

/// A child with /dev/null for all its output.
pub(crate) fn null() -> OwnedFd {
    fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into()
}

pub(crate) fn argv(argv: &[&str]) -> ChildSpec {
    ChildSpec {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: Vec::new(),
        cwd: None,
        stdin: None,
        stdout: null(),
        stderr: null(),
        wire: None,
    }
}

pub(crate) fn sh(script: &str) -> ChildSpec {
    argv(&["sh", "-c", script])
}

/// Runs a program to its end and returns its standard output.
pub(crate) async fn output(fixture: &mut Fixture, what: ChildSpec) -> String {
    let (mut reader, writer) = pipe().unwrap();
    let child = fixture.spawn(ChildSpec { stdout: writer.into(), ..what });
    fixture.started(child).await;
    fixture.ended(child).await;
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

/// Leaves four `sleep MARK` behind, each hidden in another way.
pub(crate) const EVERY_ESCAPE: (&str, usize) = (
    "setsid sleep MARK & (setsid sh -c 'trap \"\" TERM; sleep MARK & wait' &); (env -i setsid sleep MARK &); \
     sleep MARK; true",
    4,
);

/// Whether another open file holds the lock of this file.
pub(crate) fn is_locked(path: &Path) -> bool {
    matches!(fs::File::open(path).unwrap().try_lock_shared(), Err(fs::TryLockError::WouldBlock))
}

/// A file with a lock that lasts as long as the file is open.
pub(crate) fn locked(path: &Path) -> fs::File {
    let file = fs::File::create(path).unwrap();
    file.try_lock().unwrap();
    file
}
