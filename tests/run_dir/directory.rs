//! The directory: creation, checks, refusals with a reason, and access by other users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use aint_queue::engine::master::run_dir::{RunDir, RunDirError};

use crate::fixture::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
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
    let names =
        format!("\"{}\" is a symbolic link to \"{}\", which does not exist", link.display(), place.display());
    assert!(text.starts_with("the run directory \"") && text.contains(&names), "{text}");
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
fn master_lookup_leaves_no_trace() {
    let above = tempfile::tempdir().unwrap();
    let missing = above.path().join("missing");
    assert_eq!(RunDir::at(&missing, "mail").holder(), None);
    assert_eq!(RunDir::at(above.path(), "mail").holder(), None);
    assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
}
