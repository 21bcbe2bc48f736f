//! The directory: creation, checks, refusals with a reason, and access by other users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use aint_queue::engine::master::run_dir::{RunDir, RunDirError};

use crate::fixture::*;

fn refusal(path: &Path) -> String {
    error_chain(&RunDir::open(path, "mail").map(drop).expect_err("it cannot be used"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// A directory that every user may enter.
fn directory_open_to_all() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn missing_directory_is_created_with_parents() {
    let above = directory_open_to_all();
    let path = above.path().join("a/b/c");
    RunDir::open(&path, "mail").unwrap();
    assert_eq!(mode(&path), 0o755);
    RunDir::open(&path, "mail").unwrap();
}

#[test]
fn run_dir_in_shared_directory_is_private() {
    let above = tempfile::tempdir().unwrap();
    fs::set_permissions(above.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let path = above.path().join("aint-queue-7");
    RunDir::open(&path, "mail").unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn file_at_run_dir_is_named() {
    let above = tempfile::tempdir().unwrap();
    let file = above.path().join("file");
    fs::write(&file, "").unwrap();
    let expected =
        format!("\"{}\" is not a directory; remove it, or set pid_path to another place", file.display());
    assert_eq!(refusal(&file), expected);
    assert_eq!(refusal(&file.join("below")), expected);
}

#[test]
fn link_to_directory_is_followed_dangling_refused() {
    let above = tempfile::tempdir().unwrap();
    let (place, link) = (above.path().join("place"), above.path().join("link"));
    symlink(&place, &link).unwrap();
    let text = refusal(&link);
    assert!(text.starts_with("could not inspect the run directory \""), "{text}");
    fs::create_dir(&place).unwrap();
    RunDir::open(&link, "mail").unwrap().lock().unwrap();
    assert!(place.join("mail-master.lock").exists());
}

#[test]
fn overlong_socket_path_names_the_limit() {
    let long = Path::new("/tmp").join("x".repeat(100));
    let Err(RunDirError::TooLong { longest, .. }) = RunDir::open(&long, "mail") else {
        panic!("a path above the limit was accepted")
    };
    assert!(!long.exists());
    let below_limit = RunDir::at(Path::new(&format!("/{}", "x".repeat(longest - 1))), "mail").socket_path();
    assert_eq!(below_limit.as_os_str().len(), 107);
    assert!(refusal(&long).ends_with(&format!("set pid_path to a path of at most {longest} bytes")));
}

#[test]
fn other_user_gets_reason_and_remedy() {
    let above = directory_open_to_all();
    let mut other = RoleProcess::start_unprivileged("directory::role_other_user", above.path());
    let us = nix::unistd::geteuid();
    if !us.is_root() {
        // Only root can start a process of another user.
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
    fs::write(above.path().join("go"), "").unwrap();

    let not_writable = |path: &str| {
        format!(
            "this user (uid {NOBODY_UID}) may not write to \"{path}\"; set pid_path to a directory of its own, or \
             change the owner of this one"
        )
    };
    assert_eq!(other.next_report(), not_writable(&at("ours")));
    assert_eq!(other.next_report(), not_writable(&above.path().display().to_string()));
    assert_eq!(
        other.next_report(),
        format!(
            "\"{}\" belongs to another user (uid 1); set pid_path to a directory of this user, or change its owner",
            at("foreign")
        )
    );
    assert_eq!(
        other.next_report(),
        format!(
            "this user may not write \"{}\", whose owner is uid 0; run as that user, or remove the file when \
             no master holds it",
            at("theirs/mail-master.lock")
        )
    );
}

/// Role of another test: a user without privileges opens its directories.
#[test]
#[ignore = "is a process for another test"]
fn role_other_user() {
    let Some(above) = std::env::var_os("RUN_DIRECTORY") else { return };
    let above = Path::new(&above);
    while !above.join("go").exists() {
        std::thread::yield_now();
    }
    for name in ["ours", "missing/below", "foreign"] {
        report(refusal(&above.join(name)));
    }
    report(error_chain(&refused(&RunDir::open(&above.join("theirs"), "mail").unwrap())));
}

#[test]
fn other_user_sees_the_master() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = directory_open_to_all();
    let lock = RunDir::open(directory.path(), "mail").unwrap().lock().unwrap();
    let mut other = RoleProcess::start_unprivileged("directory::role_observer", directory.path());
    assert_eq!(other.next_report(), format!("Some({})", std::process::id()));
    drop(lock);
    fs::write(directory.path().join("go"), "").unwrap();
    assert_eq!(other.next_report(), "None");
}

/// Role of another test: reports the holder of the lock, and again on request.
#[test]
#[ignore = "is a process for another test"]
fn role_observer() {
    let Some(run_dir) = role_directory() else { return };
    let go = Path::new(&std::env::var_os("RUN_DIRECTORY").unwrap()).join("go");
    report(format!("{:?}", run_dir.holder().map(|h| h.pid)));
    while !go.exists() {
        std::thread::yield_now();
    }
    report(format!("{:?}", run_dir.holder().map(|h| h.pid)));
}

#[test]
fn master_lookup_leaves_no_trace() {
    let above = tempfile::tempdir().unwrap();
    let missing = above.path().join("missing");
    assert_eq!(RunDir::at(&missing, "mail").holder(), None);
    assert_eq!(RunDir::at(above.path(), "mail").holder(), None);
    assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
}
