//! Odd files at the paths of pid file, lock file and control socket: every content with every mode, owner and kind of file. Each is
//! either harmless or refused by name.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use aint_queue::engine::master::run_dir::{LockError, RunDir, RunDirError};

use crate::fixture::*;

/// A content, with its incarnation if it is a record.
fn contents() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let me = std::process::id();
    let record = |pid: u64, start: u64| {
        format!("{{\"incarnation\":\"old\",\"pid\":{pid},\"start_time\":{start},\"pid_namespace\":1}}\n")
            .into_bytes()
    };
    vec![
        ("empty", Vec::new(), None),
        ("one line break", b"\n".to_vec(), None),
        ("spaces", vec![b' '; 512], None),
        ("NULs", vec![0; 512], None),
        ("a pid that is alive", b"1\n".to_vec(), None),
        ("our own pid", format!("{me}\n").into_bytes(), None),
        ("a pid that cannot be", b"99999999999999999999\n".to_vec(), None),
        ("a negative pid", b"-1\n".to_vec(), None),
        ("bytes that are no text", vec![0xff; 4096], None),
        ("UTF-16", b"\xff\xfe1\0\n\0".to_vec(), None),
        ("a megabyte", vec![b'7'; 1 << 20], None),
        ("half a record", b"{\"incarnation\":\"old\",\"pid\":".to_vec(), None),
        ("a record with wrong types", b"{\"incarnation\":7,\"pid\":\"x\"}\n".to_vec(), None),
        ("brackets without end", vec![b'['; 1 << 16], None),
        ("a record of a dead process", record(4_000_000, 1), Some("old")),
        ("a record of our number at another time", record(me.into(), 1), Some("old")),
        ("a record and more", [record(1, 1), vec![b'x'; 5_000]].concat(), Some("old")),
        ("a record of an earlier version", b"{\"incarnation\":\"old\"}\n".to_vec(), Some("old")),
    ]
}

const MODES: [u32; 6] = [0o644, 0o600, 0o666, 0o400, 0o000, 0o777];

struct RunDirCase {
    directory: tempfile::TempDir,
}

impl RunDirCase {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("precious"), "kept").unwrap();
        Self { directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run_dir(&self) -> RunDir {
        RunDir::open(self.directory.path(), "mail").unwrap()
    }

    /// Takes and releases the files as a master does, and checks them.
    fn serves(&self, case: &str, previous: Option<&str>) {
        let run_dir = self.run_dir();
        assert_eq!(run_dir.holder(), None, "{case}: no master before");
        let lock = run_dir.lock().unwrap_or_else(|error| panic!("{case}: {}", error_chain(&error)));
        lock.write_pid().unwrap_or_else(|error| panic!("{case}: {}", error_chain(&error)));
        assert_eq!(lock.previous_incarnation(), previous, "{case}");
        assert_eq!(run_dir.holder().map(|h| h.pid), i32::try_from(std::process::id()).ok(), "{case}");
        assert!(refused(&run_dir).is_held(), "{case}: one master");
        let pid = self.file("mail-master.pid");
        let found = fs::symlink_metadata(&pid).unwrap();
        assert_eq!((found.is_file(), found.mode() & 0o777), (true, 0o644), "{case}");
        assert_eq!(fs::read_to_string(&pid).unwrap().trim(), std::process::id().to_string(), "{case}");
        assert_eq!(fs::read_to_string(self.file("precious")).unwrap(), "kept", "{case}: no link is followed");
        drop(lock);
        assert!(!pid.exists(), "{case}: the pid file is removed");
        assert_eq!(run_dir.holder(), None, "{case}: no master after");
    }
}

fn write(path: &Path, content: &[u8], mode: u32, owner: Option<u32>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if owner.is_some() {
        chown(path, owner, owner).unwrap();
    }
}

#[test]
fn pid_file_of_any_content_mode_and_owner() {
    let is_root = nix::unistd::geteuid().is_root();
    let owners: &[Option<u32>] = if is_root { &[None, Some(1234)] } else { &[None] };
    let mut cases = 0;
    for (what, content, incarnation) in contents() {
        for mode in MODES {
            for owner in owners {
                let case = format!("{what}, mode {mode:o}, owner {owner:?}");
                // The pid file is for information: any file at its path is replaced.
                let place = RunDirCase::new();
                write(&place.file("mail-master.pid"), &content, mode, *owner);
                place.serves(&format!("pid file: {case}"), None);
                // The lock is on the lock file: its content only names the leases to free.
                let place = RunDirCase::new();
                write(&place.file("mail-master.lock"), &content, mode, *owner);
                if owner.is_some() || mode & 0o002 != 0 {
                    // Another user could hold or write it.
                    assert!(matches!(refused(&place.run_dir()), LockError::Distrusted(_)), "{case}");
                } else if is_root || mode & 0o600 == 0o600 {
                    place.serves(&format!("lock file: {case}"), incarnation);
                } else {
                    assert!(matches!(refused(&place.run_dir()), LockError::Denied(_)), "{case}");
                }
                cases += 2;
            }
        }
    }
    println!("{cases} kinds of files");
    assert!(cases >= 200);
}

#[test]
fn pid_file_of_any_file_type() {
    type Make<'a> = &'a dyn Fn(&Path);
    let kinds: [(&str, Make<'_>); 7] = [
        ("a symbolic link", &|path| symlink("precious", path).unwrap()),
        ("a symbolic link", &|path| symlink("nowhere", path).unwrap()),
        ("a symbolic link", &|path| symlink(path.file_name().unwrap(), path).unwrap()),
        ("a symbolic link", &|path| symlink("/", path).unwrap()),
        ("a device or a pipe", &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a socket", &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("a directory", &|path| fs::create_dir(path).unwrap()),
    ];
    for (what, make) in kinds {
        let place = RunDirCase::new();
        make(&place.file("mail-master.pid"));
        if what == "a directory" {
            let lock = place.run_dir().lock().unwrap();
            assert!(matches!(lock.write_pid(), Err(RunDirError::Obstructed { .. })));
        } else {
            place.serves(&format!("pid file: {what}"), None);
        }

        let place = RunDirCase::new();
        let path = place.file("mail-master.lock");
        make(&path);
        let expected = format!("\"{}\" is {what}, but the path of the lock file; remove it", path.display());
        assert_eq!(error_chain(&refused(&place.run_dir())), expected);
        assert_eq!(place.run_dir().holder(), None);
        assert!(!place.file("nowhere").exists(), "no link is followed");
        assert_eq!(fs::read_to_string(place.file("precious")).unwrap(), "kept");
    }
    // A hard link to another file: the pid file is a new file, so the other one stays unchanged.
    let place = RunDirCase::new();
    fs::hard_link(place.file("precious"), place.file("mail-master.pid")).unwrap();
    place.serves("a hard link", None);
    // The record would be written into the other file.
    let place = RunDirCase::new();
    fs::hard_link(place.file("precious"), place.file("mail-master.lock")).unwrap();
    assert!(matches!(refused(&place.run_dir()), LockError::NotAFile { what: "a hard link", .. }));
    assert_eq!(fs::read_to_string(place.file("precious")).unwrap(), "kept");
}
