//! The directory itself: made, checked, refused with a reason; and looked at by others.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use aint_queue::master::run_dir::{RunDir, RunDirError};

use crate::support::*;

fn refusal(path: &Path) -> String {
    told(&RunDir::open(path, "mail").map(drop).expect_err("it cannot be used"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// A directory that everybody may reach.
fn open_to_all() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn a_missing_directory_is_made_with_those_above_it() {
    let above = open_to_all();
    let path = above.path().join("a/b/c");
    RunDir::open(&path, "mail").unwrap();
    assert_eq!(mode(&path), 0o755);
    RunDir::open(&path, "mail").unwrap();
}

#[test]
fn where_everybody_may_make_files_ours_is_private() {
    let above = tempfile::tempdir().unwrap();
    fs::set_permissions(above.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let path = above.path().join("aint-queue-7");
    RunDir::open(&path, "mail").unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_file_in_the_place_of_the_directory_is_named() {
    let above = tempfile::tempdir().unwrap();
    let file = above.path().join("file");
    fs::write(&file, "").unwrap();
    let expected =
        format!("\"{}\" is not a directory; remove it, or set pid_path to another place", file.display());
    assert_eq!(refusal(&file), expected);
    assert_eq!(refusal(&file.join("below")), expected);
}

#[test]
fn a_link_may_lead_to_the_directory_but_not_to_nowhere() {
    let above = tempfile::tempdir().unwrap();
    let (place, link) = (above.path().join("place"), above.path().join("link"));
    symlink(&place, &link).unwrap();
    let text = refusal(&link);
    assert!(text.starts_with("could not look at the run directory \""), "{text}");
    fs::create_dir(&place).unwrap();
    RunDir::open(&link, "mail").unwrap().lock().unwrap();
    assert!(place.join("mail-master.lock").exists());
}

#[test]
fn a_path_too_long_for_a_socket_says_how_long_it_may_be() {
    let long = Path::new("/tmp").join("x".repeat(100));
    let Err(RunDirError::TooLong { longest, .. }) = RunDir::open(&long, "mail") else { panic!("it fits?") };
    assert!(!long.exists());
    let below_limit = RunDir::at(Path::new(&format!("/{}", "x".repeat(longest - 1))), "mail").socket_path();
    assert_eq!(below_limit.as_os_str().len(), 107);
    assert!(refusal(&long).ends_with(&format!("set pid_path to a path of at most {longest} bytes")));
}

#[test]
fn another_user_is_told_what_is_wrong_and_what_to_do() {
    let above = open_to_all();
    let mut other = Other::start_unprivileged("place::somebody_else", above.path());
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
    chown(above.path().join("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::write(above.path().join("theirs/mail-master.lock"), "").unwrap();
    fs::set_permissions(above.path().join("theirs/mail-master.lock"), fs::Permissions::from_mode(0o600))
        .unwrap();
    fs::write(above.path().join("go"), "").unwrap();

    let not_writable = |path: &str| {
        format!(
            "this user (uid {NOBODY}) may not write to \"{path}\"; set pid_path to a directory of its own, or \
             change the owner of this one"
        )
    };
    assert_eq!(other.says(), not_writable(&at("ours")));
    assert_eq!(other.says(), not_writable(&above.path().display().to_string()));
    assert_eq!(
        other.says(),
        format!(
            "\"{}\" belongs to another user (uid 1); set pid_path to a directory of this user, or change its owner",
            at("foreign")
        )
    );
    assert_eq!(
        other.says(),
        format!(
            "\"{}\" may not be written by this user: its owner is uid 0; run as that user, or remove the file when \
             no master holds it",
            at("theirs/mail-master.lock")
        )
    );
}

/// Not a test: somebody without privileges tries the directories that another test has made.
#[test]
#[ignore = "is a process for another test"]
fn somebody_else() {
    let Some(above) = std::env::var_os("RUN_DIRECTORY") else { return };
    let above = Path::new(&above);
    while !above.join("go").exists() {
        std::thread::yield_now();
    }
    for name in ["ours", "missing/below", "foreign"] {
        say(refusal(&above.join(name)));
    }
    say(told(&refused(&RunDir::open(&above.join("theirs"), "mail").unwrap())));
}

#[test]
fn another_user_sees_who_is_master() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = open_to_all();
    let lock = RunDir::open(directory.path(), "mail").unwrap().lock().unwrap();
    let mut other = Other::start_unprivileged("place::a_looker", directory.path());
    assert_eq!(other.says(), format!("Some({})", std::process::id()));
    drop(lock);
    fs::write(directory.path().join("go"), "").unwrap();
    assert_eq!(other.says(), "None");
}

/// Not a test: says who is master, and again when told to.
#[test]
#[ignore = "is a process for another test"]
fn a_looker() {
    let Some(run_dir) = directory_of_part() else { return };
    let go = Path::new(&std::env::var_os("RUN_DIRECTORY").unwrap()).join("go");
    say(format!("{:?}", run_dir.holder().map(|h| h.pid)));
    while !go.exists() {
        std::thread::yield_now();
    }
    say(format!("{:?}", run_dir.holder().map(|h| h.pid)));
}

#[test]
fn looking_for_a_master_leaves_no_trace() {
    let above = tempfile::tempdir().unwrap();
    let missing = above.path().join("missing");
    assert_eq!(RunDir::at(&missing, "mail").holder(), None);
    assert_eq!(RunDir::at(above.path(), "mail").holder(), None);
    assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
}
