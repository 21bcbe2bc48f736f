//! kill -9 of the master and of the guardian, again and again: everything below goes at once, the next one serves at
//! once, no job is lost.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::figures::{MARK, hold_to, inherited, mark, size};
use crate::site::{Master, Site, until};

/// A job whose tree is hard to get rid of: a session of its own, a double fork, a deaf one.
const TREE: &str = "#!/bin/sh
setsid sleep 1000 &
( setsid sh -c 'sleep 1000 & exec sleep 1000' & ) &
( trap '' TERM; exec sleep 1000 ) &
trap '' TERM
sleep 1000
";
/// As many processes as a job has.
const TREE_SIZE: usize = 6;
const CHANNEL: &str = "[channels.default]\nmax_attempts = 100\n[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"./tree.sh\"]\nprotocol = \"exec\"\nmin_worker_number = 1\nmax_execute_seconds = 0\n";

/// How soon nothing may be left.
const GONE: Duration = Duration::from_millis(100);
/// How soon there must be service again.
const SERVING: Duration = Duration::from_secs(1);

struct Field {
    site: Site,
    mark: String,
}

impl Field {
    fn new() -> Self {
        let site = Site::sqlite(CHANNEL);
        site.write("tree.sh", TREE);
        Self { site, mark: mark() }
    }

    fn listen(&self) -> Master {
        let mut command = self.site.listen_command(&[]);
        command.env(MARK, &self.mark);
        self.site.listening(command)
    }

    /// Waits until a job's tree has grown below the master; answers everything but the master.
    fn grown(&self, master: &Master) -> Vec<i32> {
        until("the tree", || {
            let all: Vec<i32> =
                inherited(&self.mark).into_iter().filter(|pid| *pid != master.pid()).collect();
            (all.len() > TREE_SIZE).then_some(all)
        })
    }
}

/// How long it takes until none of these is left.
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
fn masters() {
    let field = Field::new();
    let rounds = size(25, 500);
    let (mut ends, mut starts) = (Vec::new(), Vec::new());
    let mut master = field.listen();
    for _ in 0..rounds {
        field.site.push("x", "{}", &[]);
        let below = field.grown(&master);
        let killed = kill_9(master.pid());
        ends.push(gone(&below, killed));
        master.wait();
        assert_eq!(inherited(&field.mark), [0i32; 0]);
        let begun = Instant::now();
        master = field.listen();
        starts.push(begun.elapsed());
    }
    hold_to("master killed, last descendant gone", ends, GONE);
    hold_to("next master serving", starts, SERVING);
    let counts = field.site.counts("default");
    assert_eq!(counts.total, rounds as u64, "no job is lost: {counts:?}");
    assert!(master.force_stop().success());
    assert_eq!(inherited(&field.mark), [0i32; 0]);
}

#[test]
fn guardians() {
    let field = Field::new();
    let rounds = size(25, 500);
    let (mut ends, mut again) = (Vec::new(), Vec::new());
    let id = field.site.push("x", "{}", &[]);
    for _ in 0..rounds {
        // Each has a master of its own: a guardian that dies again and again is replaced ever more slowly.
        let master = field.listen();
        let below = field.grown(&master);
        let killed = kill_9(master.guardian());
        ends.push(gone(&below, killed));
        field.grown(&master);
        again.push(killed.elapsed());
        assert!(master.force_stop().success());
        assert_eq!(inherited(&field.mark), [0i32; 0]);
    }
    hold_to("guardian killed, last descendant gone", ends, GONE);
    hold_to("the job runs again under another", again, SERVING);
    let shown = field.site.json(&["queue:show", &id.to_string()]);
    assert_eq!((shown["attempts"].as_u64(), shown["state"].as_str()), (Some(0), Some("waiting")), "{shown}");
}
