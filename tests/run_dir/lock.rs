//! Locks, pid files and the verification of their content.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use aint_queue::engine::master::run_dir::RunDir;

use crate::fixture::*;

#[test]
fn lock_held_by_guardian_is_waited_for() {
    let (_directory, run_dir) = fresh();
    let lock = run_dir.lock().unwrap();
    let held_by_guardian = lock.fd().unwrap();
    drop(lock);
    assert!(run_dir.holder().is_none(), "the master has released the lock");
    let cleaning = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(held_by_guardian);
    });
    let begun = Instant::now();
    run_dir.lock().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(290));
    cleaning.join().unwrap();
}

#[test]
fn lock_of_unknown_holder_is_refused_in_two_seconds() {
    let (_directory, run_dir) = fresh();
    let lock = run_dir.lock().unwrap();
    let kept = lock.fd().unwrap();
    drop(lock);
    let begun = Instant::now();
    let error = refused(&run_dir);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(error_chain(&error).starts_with("another master is running"), "{error}");
    drop(kept);
}

#[test]
fn every_channel_has_its_own_lock() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["mail", "mail:1", "mail.1", "-", ".", "..", "a/b", "ä"];
    let run_dirs: Vec<RunDir> = names.iter().map(|n| RunDir::open(directory.path(), n).unwrap()).collect();
    let locks: Vec<_> = run_dirs.iter().map(|r| r.lock().unwrap()).collect();
    let ids: std::collections::BTreeSet<String> = locks.iter().map(|l| l.id()).collect();
    assert_eq!(ids.len(), names.len());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), names.len());
    assert!(run_dirs.iter().all(|r| refused(r).is_held()));
}

#[test]
fn unlocked_file_content_blocks_no_master() {
    let me = my_pid();
    let alive = format!("{{\"incarnation\":\"old\",\"pid\":{me},\"start_time\":0}}\n");
    let contents: [&[u8]; 6] = [b"", b"\n\n\n", b"1\n", alive.as_bytes(), &[0xff; 1 << 20], b"{\"pid\":"];
    for content in contents {
        let (directory, run_dir) = fresh();
        let path = directory.path().join("mail-master.lock");
        fs::write(&path, content).unwrap();
        assert_eq!(run_dir.holder(), None);
        let lock = run_dir.lock().unwrap();
        assert_eq!(lock.previous_incarnation(), (content == alive.as_bytes()).then_some("old"));
        assert_eq!(run_dir.holder().unwrap().pid, me);
        assert!(fs::metadata(&path).unwrap().len() < 4096);
    }
}

#[test]
fn reused_pid_is_not_the_master() {
    let (directory, run_dir) = fresh();
    let lock = run_dir.lock().unwrap();
    let path = directory.path().join("mail-master.lock");
    // The lock is held, but the writer of the record is dead: this process has its pid, but another start time.
    let text = fs::read_to_string(&path).unwrap();
    let start_time = run_dir.holder().unwrap().start_time;
    let earlier = text.replace(&start_time.to_string(), &(start_time - 1).to_string());
    fs::write(&path, earlier).unwrap();
    assert_eq!(run_dir.holder(), None);
    drop(lock);
}

#[test]
fn non_file_lock_is_refused_by_name() {
    let lock_of = |directory: &Path| directory.join("mail-master.lock");
    type Make<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Make<'_>); 4] = [
        ("a directory", &|path| fs::create_dir(path).unwrap()),
        ("a symbolic link", &|path| symlink("elsewhere", path).unwrap()),
        ("a device or a pipe", &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a socket", &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    for (what, make) in cases {
        let (directory, run_dir) = fresh();
        let path = lock_of(directory.path());
        make(&path);
        assert_eq!(run_dir.holder(), None);
        let text = error_chain(&refused(&run_dir));
        assert_eq!(
            text,
            format!("\"{}\" is {what}, but the path of the lock file; remove it", path.display())
        );
        assert!(!directory.path().join("elsewhere").exists(), "no link is followed");
    }
}

#[test]
fn recreated_lock_file_ends_the_first_master() {
    let (directory, run_dir) = fresh();
    let first = run_dir.lock().unwrap();
    let id = first.id();
    assert_eq!(id, run_dir_id(directory.path()));
    fs::remove_file(directory.path().join("mail-master.lock")).unwrap();
    File::create(directory.path().join("mail-master.lock")).unwrap();
    let second = run_dir.lock().unwrap();
    assert_ne!(second.id(), id);
}

fn run_dir_id(directory: &Path) -> String {
    let found = fs::metadata(directory.join("mail-master.lock")).unwrap();
    format!("{}-{}", found.dev(), found.ino())
}

#[test]
fn pid_file_is_replaced_from_any_state() {
    let makes: [&dyn Fn(&Path); 5] = [
        &|_| {},
        &|path| fs::write(path, "").unwrap(),
        &|path| fs::write(path, vec![b'9'; 1 << 20]).unwrap(),
        &|path| symlink("precious", path).unwrap(),
        &|path| {
            fs::write(path, "1\n").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o400)).unwrap();
        },
    ];
    for make in makes {
        let (directory, run_dir) = fresh();
        let path = directory.path().join("mail-master.pid");
        fs::write(directory.path().join("precious"), "kept").unwrap();
        make(&path);
        let lock = run_dir.lock().unwrap();
        lock.write_pid().unwrap();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file());
        assert_eq!(found.mode() & 0o777, 0o644);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", my_pid()));
        assert_eq!(fs::read_to_string(directory.path().join("precious")).unwrap(), "kept");
        lock.remove_pid();
        assert!(!path.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
    }
}

#[test]
fn foreign_pid_file_stays() {
    let (directory, run_dir) = fresh();
    let path = directory.path().join("mail-master.pid");
    let lock = run_dir.lock().unwrap();
    lock.write_pid().unwrap();
    fs::write(&path, "1\n").unwrap();
    lock.remove_pid();
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    fs::remove_file(&path).unwrap();
    lock.remove_pid();
}

#[test]
fn directory_at_pid_file_is_named() {
    let (directory, run_dir) = fresh();
    let path = directory.path().join("mail-master.pid");
    fs::create_dir(&path).unwrap();
    let lock = run_dir.lock().unwrap();
    let text = error_chain(&lock.write_pid().unwrap_err());
    assert_eq!(
        text,
        format!("\"{}\" is a directory, but the path of the pid file; remove it", path.display())
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn removed_pid_file_admits_no_second_master() {
    let (directory, run_dir) = fresh();
    let lock = run_dir.lock().unwrap();
    lock.write_pid().unwrap();
    fs::remove_file(directory.path().join("mail-master.pid")).unwrap();
    assert!(refused(&run_dir).is_held());
    assert_eq!(run_dir.holder().unwrap().pid, my_pid());
}
