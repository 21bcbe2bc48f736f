//! Files of a SQLite store that another program cuts short under a running master.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use crate::client::{Request, address};
use crate::fixture::{Fixture, Master, text, until};

const JOB: &str = r#"{"job":"noop"}"#;
/// Pushes before the cut.
const PUSHED: u64 = 9;

/// A paused channel with jobs, of which the first one is in the main file already.
fn pushed() -> (Fixture, Master, SocketAddr) {
    let fixture = Fixture::sqlite(
        "[http]\nlisten = \"127.0.0.1:0\"\n[channels.default.worker]\ntype = \"coroutine\"\n",
    );
    let master = fixture.listen(&[]);
    fixture.ok(&["queue:pause"]);
    let address = address(&master);
    for n in 1..=PUSHED {
        assert_eq!(Request::push("default", JOB).send(address).status, 201);
        if n == 1 {
            hand(&fixture).query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        }
    }
    (fixture, master, address)
}

/// A connection of another program.
fn hand(fixture: &Fixture) -> rusqlite::Connection {
    rusqlite::Connection::open(fixture.file("queue.db")).unwrap()
}

fn cut(fixture: &Fixture, suffix: &str, bytes: u64) {
    let path = fixture.file(&format!("queue.db{suffix}"));
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn says_the_cut(fixture: &Fixture, master: &Master, suffix: &str) {
    until("the log", || {
        let log = master.log();
        let names = log.contains(&format!("queue.db{suffix}\\\" was cut short while in use"));
        (names && log.contains("refusing pushes and new jobs")).then_some(())
    });
    let status = fixture.run(&["queue:status"]);
    let shown = text(&status.stdout) + &text(&status.stderr);
    assert!(shown.contains(&format!("queue.db{suffix}")) && shown.contains("was cut short"), "{shown}");
}

/// Starts again, on a sound file with this number of jobs.
fn goes_on_with(fixture: &Fixture, jobs: u64) {
    let master = fixture.listen(&[]);
    let found: String = hand(fixture).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
    assert_eq!(fixture.counts("default").total, jobs);
    fixture.ok(&["queue:resume"]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the jobs", |counts| counts.done == jobs + 1);
    assert!(master.stop().success());
}

#[test]
fn push_after_a_cut_of_the_log_is_not_accepted() {
    for bytes in [0, 5_000] {
        let (fixture, master, address) = pushed();
        cut(&fixture, "-wal", bytes);
        let push = || Request::push("default", JOB).send(address);
        assert_eq!(push().status, 500);
        says_the_cut(&fixture, &master, "-wal");
        let refused = fixture.run(&["queue:push", "noop"]);
        let why = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(5), "{why}");
        assert!(why.contains("was cut short while in use") && why.contains("queue:stop"), "{why}");
        assert_eq!(push().status, 500);
        // The stop writes nothing that it cannot read.
        fixture.ok(&["queue:stop"]);
        assert!(master.wait().success());
        goes_on_with(&fixture, 1);
    }
}

#[test]
fn cut_of_the_index_loses_no_accepted_push() {
    let (fixture, master, address) = pushed();
    cut(&fixture, "-shm", 0);
    match Request::push("default", JOB).try_send(address) {
        Ok(reply) => {
            assert_eq!(reply.status, 500);
            says_the_cut(&fixture, &master, "-shm");
            fixture.ok(&["queue:stop"]);
            assert!(master.wait().success());
        }
        // The master was writing at the moment of the cut.
        Err(_) => assert_eq!(master.wait().signal(), Some(Signal::SIGBUS as i32)),
    }
    goes_on_with(&fixture, PUSHED);
}

#[test]
fn removed_store_of_a_master_is_saved_in_a_copy() {
    let (fixture, master, _) = pushed();
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(fixture.file(&format!("queue.db{suffix}"))).unwrap();
    }
    // Without a call the master notices too.
    until("the log", || master.log().contains("its jobs are saved in a copy").then_some(()));
    assert!(!master.log().contains("saved in the main file"), "{}", master.log());
    fixture.ok(&["queue:stop"]);
    assert!(master.wait().success());
    let directory = fixture.file("queue.db").parent().unwrap().to_owned();
    let mut names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let copy = names.find(|path| path.to_string_lossy().contains("queue.db-rescued-")).unwrap();
    fs::rename(copy, fixture.file("queue.db")).unwrap();
    goes_on_with(&fixture, PUSHED);
}
