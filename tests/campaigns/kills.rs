//! Repeated SIGKILL of the master and of the guardian: their descendants die at once, the successor serves at once, and no
//! job is lost.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Fixture, Master, until};
use crate::measurements::{MARK, assert_within, inherited, mark, size};

/// A job whose process tree is hard to kill: a new session, a double fork, processes that ignore SIGTERM.
const TREE: &str = "#!/bin/sh
setsid sleep 1000 &
( setsid sh -c 'sleep 1000 & exec sleep 1000' & ) &
( trap '' TERM; exec sleep 1000 ) &
trap '' TERM
sleep 1000
";
/// The number of processes of one job.
const TREE_SIZE: usize = 6;
const CHANNEL: &str = "[channels.default]\nmax_attempts = 100\n[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"./tree.sh\"]\nprotocol = \"exec\"\nmin_worker_number = 1\nmax_execute_seconds = 0\n";

/// The time within which all descendants must be dead.
const KILL_LIMIT: Duration = Duration::from_millis(100);
/// The time within which the successor must serve.
const RESTART_LIMIT: Duration = Duration::from_secs(1);

struct Field {
    fixture: Fixture,
    mark: String,
}

impl Field {
    fn new() -> Self {
        let fixture = Fixture::sqlite(CHANNEL);
        fixture.write("tree.sh", TREE);
        Self { fixture, mark: mark() }
    }

    fn listen(&self) -> Master {
        let mut command = self.fixture.listen_command(&[]);
        command.env(MARK, &self.mark);
        self.fixture.listening(command)
    }

    /// Waits until the process tree of a job is complete; returns every descendant of the master.
    fn grown(&self, master: &Master) -> Vec<i32> {
        until("the tree", || {
            let all: Vec<i32> =
                inherited(&self.mark).into_iter().filter(|pid| *pid != master.pid()).collect();
            (all.len() > TREE_SIZE).then_some(all)
        })
    }
}

/// Waits until none of these processes is alive; returns the time since `since`.
fn gone(pids: &[i32], since: Instant) -> Duration {
    until("all of it to be gone", || {
        let alive = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        (!pids.iter().any(alive)).then(|| since.elapsed())
    })
}

fn kill_9(pid: i32) -> Instant {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    Instant::now()
}

#[test]
fn killed_masters_lose_nothing() {
    let field = Field::new();
    let rounds = size(25, 500);
    let (mut ends, mut starts) = (Vec::new(), Vec::new());
    let mut master = field.listen();
    for _ in 0..rounds {
        field.fixture.push("x", "{}", &[]);
        let below = field.grown(&master);
        let killed = kill_9(master.pid());
        ends.push(gone(&below, killed));
        master.wait();
        assert_eq!(inherited(&field.mark), [0i32; 0]);
        let begun = Instant::now();
        master = field.listen();
        starts.push(begun.elapsed());
    }
    assert_within("master killed, last descendant gone", ends, KILL_LIMIT);
    assert_within("next master serving", starts, RESTART_LIMIT);
    let counts = field.fixture.counts("default");
    assert_eq!(counts.total, rounds as u64, "no job is lost: {counts:?}");
    assert!(master.force_stop().success());
    assert_eq!(inherited(&field.mark), [0i32; 0]);
}

#[test]
fn killed_guardians_lose_nothing() {
    let field = Field::new();
    let rounds = size(25, 500);
    let (mut ends, mut again) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // A job of its own per round: a job that loses its guardian three times fails as lost.
        let id = field.fixture.push("x", "{}", &[]).to_string();
        // One master per round, because a master replaces guardians that die repeatedly with back-off.
        let master = field.listen();
        let below = field.grown(&master);
        let killed = kill_9(master.guardian());
        ends.push(gone(&below, killed));
        field.grown(&master);
        again.push(killed.elapsed());
        assert!(master.force_stop().success());
        assert_eq!(inherited(&field.mark), [0i32; 0]);
        let shown = field.fixture.json(&["queue:show", &id]);
        let outcome = (shown["state"].as_str(), shown["attempts"].as_u64(), shown["lost"].as_u64());
        assert_eq!(outcome, (Some("waiting"), Some(0), Some(1)), "{shown}");
        field.fixture.ok(&["queue:clear", "--yes"]);
    }
    assert_within("guardian killed, last descendant gone", ends, KILL_LIMIT);
    assert_within("the job runs again under another", again, RESTART_LIMIT);
}
