//! Rivals for a lock, and users without privileges.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aint_queue::engine::master::run_dir::{Holder, LockError, RunDir};
use nix::sys::signal::Signal;

use crate::role::{NOBODY_UID, Role, RoleProcess, report, wait_to_be_killed};
use crate::run_dir_fixture::*;

trials![
    exactly_one_of_fifty_processes_becomes_master,
    held_lock_names_its_holder,
    next_master_finds_killed_masters_incarnation,
    holder_is_signalled_only_as_the_same_process,
    other_user_gets_reason_and_remedy,
    other_user_sees_the_master,
];

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("run_dir::rival", rival),
    ("run_dir::master", master),
    ("run_dir::other_user", other_user),
    ("run_dir::observer", observer),
];

/// The run directory that a role works on.
fn given(arguments: &[String]) -> (PathBuf, RunDir) {
    let [directory] = arguments else { panic!("one directory") };
    (directory.into(), RunDir::at(Path::new(directory), "mail"))
}

/// A gate in front of the roles that work on a directory: a lock on a file of its own. Dropping it lets all of them pass at
/// the same moment.
fn gate(directory: &Path) -> File {
    let file = File::create(directory.join("gate")).unwrap();
    file.lock().unwrap();
    file
}

/// Waits in a role until the test drops its gate.
fn pass(directory: &Path) {
    File::open(directory.join("gate")).unwrap().lock_shared().unwrap();
}

fn exactly_one_of_fifty_processes_becomes_master() {
    for _ in 0..3 {
        let (directory, run_dir) = fresh();
        let gate = gate(directory.path());
        let mut rivals: Vec<RoleProcess> =
            (0..50).map(|_| RoleProcess::start("run_dir::rival", &[directory.path()])).collect();
        for rival in &mut rivals {
            assert_eq!(rival.next_report(), "ready");
        }
        drop(gate);
        let outcomes: Vec<String> = rivals.iter_mut().map(RoleProcess::next_report).collect();
        let winners: Vec<&String> = outcomes.iter().filter(|o| o.starts_with("won")).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let winner: i32 = winners[0].strip_prefix("won ").unwrap().parse().unwrap();
        let losers = outcomes.iter().filter(|o| **o == format!("lost to {winner}")).count();
        assert_eq!(losers, 49, "{outcomes:?}");
        assert_eq!(run_dir.holder().map(|h| h.pid), Some(winner));
    }
}

/// Takes the lock on request, and keeps it.
fn rival(arguments: &[String]) {
    let (directory, run_dir) = given(arguments);
    report("ready");
    pass(&directory);
    match run_dir.lock() {
        Ok(lock) => {
            report(format!("won {}", my_pid()));
            std::mem::forget(lock);
            wait_to_be_killed();
        }
        Err(LockError::Held { pid, .. }) => report(format!("lost to {}", pid.unwrap_or(0))),
        Err(other) => report(error_chain(&other)),
    }
}

/// A master until it is killed.
fn master(arguments: &[String]) {
    let (_, run_dir) = given(arguments);
    let lock = run_dir.lock().unwrap();
    lock.write_incarnation("owner-7").unwrap();
    lock.write_pid().unwrap();
    report("serving");
    std::mem::forget(lock);
    wait_to_be_killed();
}

fn held_lock_names_its_holder() {
    let (directory, run_dir) = fresh();
    let mut master = RoleProcess::start("run_dir::master", &[directory.path()]);
    assert_eq!(master.next_report(), "serving");
    let begun = Instant::now();
    let error = refused(&run_dir);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let pid = master.child.id();
    assert!(error.is_held());
    let expected = format!("another master is running, pid {pid}");
    assert_eq!(error_chain(&error), expected);
}

fn next_master_finds_killed_masters_incarnation() {
    let (directory, run_dir) = fresh();
    let mut master = RoleProcess::start("run_dir::master", &[directory.path()]);
    assert_eq!(master.next_report(), "serving");
    master.kill();
    let lock = run_dir.lock().unwrap();
    assert_eq!(lock.previous_incarnation(), Some("owner-7"));
    // Until it has one of its own, it hands on what it found.
    drop(lock);
    let lock = run_dir.lock().unwrap();
    assert_eq!(lock.previous_incarnation(), Some("owner-7"));
    lock.clear_incarnation();
    drop(lock);
    assert_eq!(run_dir.lock().unwrap().previous_incarnation(), None);
}

fn holder_is_signalled_only_as_the_same_process() {
    let (directory, run_dir) = fresh();
    let mut master = RoleProcess::start("run_dir::master", &[directory.path()]);
    assert_eq!(master.next_report(), "serving");
    let holder = run_dir.holder().unwrap();
    let stranger = Holder { start_time: holder.start_time + 1, ..holder };
    assert!(stranger.signal(Signal::SIGKILL).is_err());
    assert!(master.child.try_wait().unwrap().is_none());
    holder.signal(Signal::SIGKILL).unwrap();
    master.child.wait().unwrap();
    assert!(holder.signal(Signal::SIGKILL).is_err());
    assert_eq!(run_dir.holder(), None);
}

fn other_user_gets_reason_and_remedy() {
    let above = directory_open_to_all();
    let gate = gate(above.path());
    let mut other = RoleProcess::start_unprivileged("run_dir::other_user", &[above.path()]);
    let us = nix::unistd::geteuid();
    if !us.is_root() {
        // Without a second user there is nobody to tell.
        return;
    }
    let at = |name: &str| above.path().join(name).display().to_string();
    fs::create_dir(above.path().join("ours")).unwrap();
    fs::create_dir(above.path().join("foreign")).unwrap();
    chown(above.path().join("foreign"), Some(1), Some(1)).unwrap();
    fs::create_dir(above.path().join("theirs")).unwrap();
    chown(above.path().join("theirs"), Some(NOBODY_UID), Some(NOBODY_UID)).unwrap();
    fs::write(above.path().join("theirs/mail-master.lock"), "").unwrap();
    fs::set_permissions(above.path().join("theirs/mail-master.lock"), fs::Permissions::from_mode(0o600))
        .unwrap();
    drop(gate);

    let refused = |verb: &str, path: &Path, remedy: &str| {
        let found = fs::metadata(path).unwrap();
        let (owner, group, mode) = (found.uid(), found.gid(), found.mode() & 0o7777);
        format!(
            "this user (uid {NOBODY_UID}) may not {verb} \"{}\" (owner uid {owner}, gid {group}, mode {mode:04o}); run as its \
             owner, or change its owner or mode, or {remedy}",
            path.display()
        )
    };
    let elsewhere = "set pid_path to a directory of this user";
    assert_eq!(other.next_report(), refused("create files in", &above.path().join("ours"), elsewhere));
    assert_eq!(other.next_report(), refused("create files in", above.path(), elsewhere));
    assert_eq!(
        other.next_report(),
        format!(
            "\"{}\" belongs to another user (owner uid 1, gid 1, mode 0755); set pid_path to a directory of this user, or change its owner, \
             or accept it with --trust-files",
            at("foreign")
        )
    );
    assert_eq!(
        other.next_report(),
        refused(
            "read",
            &above.path().join("theirs/mail-master.lock"),
            "remove the file when no master holds it"
        )
    );
}

/// Tries the directories of another test as a user without privileges.
fn other_user(arguments: &[String]) {
    let (above, _) = given(arguments);
    pass(&above);
    for name in ["ours", "missing/below", "foreign"] {
        report(refusal(&above.join(name)));
    }
    report(error_chain(&refused(&RunDir::open(&above.join("theirs"), "mail").unwrap())));
}

fn other_user_sees_the_master() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = directory_open_to_all();
    let lock = RunDir::open(directory.path(), "mail").unwrap().lock().unwrap();
    let gate = gate(directory.path());
    let mut other = RoleProcess::start_unprivileged("run_dir::observer", &[directory.path()]);
    assert_eq!(other.next_report(), format!("Some({})", std::process::id()));
    drop(lock);
    drop(gate);
    assert_eq!(other.next_report(), "None");
}

/// Prints the master, and again on each request.
fn observer(arguments: &[String]) {
    let (directory, run_dir) = given(arguments);
    report(format!("{:?}", run_dir.holder().map(|h| h.pid)));
    pass(&directory);
    report(format!("{:?}", run_dir.holder().map(|h| h.pid)));
}
