//! A replaced program file.

use std::path::Path;

use crate::fixture::{Fixture, SQLITE, copy_binary, text};

use super::{TWO_WORKERS, reload, served_by};

fn inode(path: impl AsRef<Path>) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).unwrap().ino()
}

#[test]
fn new_workers_run_replaced_program_master_reported_old() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("aint-queue");
    copy_binary(&binary);
    let fixture = Fixture::with_binary(
        binary.clone(),
        "aint-queue.toml",
        &format!(
            "[defaults]\npid_path = \"run\"\ndriver = {SQLITE}\n[channels.default.worker]\n{TWO_WORKERS}"
        ),
    );
    let master = fixture.listen(&[]);
    let old = served_by(&fixture, "default", 2);
    assert_eq!(reload(&fixture)["program_replaced"], false);
    let old_file = inode(&binary);

    let next = dir.path().join("next");
    copy_binary(&next);
    std::fs::rename(&next, &binary).unwrap();
    let new_file = inode(&binary);
    assert_ne!(old_file, new_file);
    let output = fixture.run(&["queue:reload"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("binary changed on disk: workers run the new version; restart the master to update it"),
        "{said}"
    );
    let now = served_by(&fixture, "default", 2);
    assert!(now.keys().all(|pid| !old.contains_key(pid)));
    for pid in now.keys() {
        assert_eq!(inode(format!("/proc/{pid}/exe")), new_file);
    }
    assert_eq!(inode(format!("/proc/{}/exe", master.pid())), old_file);
    assert_eq!(reload(&fixture)["program_replaced"], true);

    // With an invalid program the current workers continue.
    fixture.write("broken", "#!/bin/sh\necho 'not a good build' >&2\nexit 3\n");
    std::fs::rename(fixture.file("broken"), &binary).unwrap();
    let now = served_by(&fixture, "default", 2);
    let (why, _) = super::PendingRequest::reload(&fixture, "default").refused();
    assert!(why.contains("exited with 3 before it was ready: not a good build"), "{why}");
    std::fs::remove_file(&binary).unwrap();
    let (why, _) = super::PendingRequest::reload(&fixture, "default").refused();
    assert_eq!(why, format!("could not run {binary:?}: no such file"));
    assert_eq!(super::serving(&fixture, "default"), now);
    assert!(master.stop().success());
}
