//! Files that a user may not access: every command names path, owner and mode.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::fixture::{Fixture, Master, text};

const USER: u32 = 65_534;

/// A fixture whose directory every user may read, with a copy of the binary in it.
pub fn shared() -> Option<Fixture> {
    // Only root can become another user.
    if !geteuid().is_root() {
        return None;
    }
    let fixture = Fixture::sqlite("[channels.default]\n");
    crate::fixture::copy_binary(&fixture.file("aint-queue"));
    set_mode(fixture.path(), 0o755);
    Some(fixture)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs a command as another user; returns its exit code and all that it printed.
pub fn as_user(fixture: &Fixture, args: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(fixture.file("aint-queue"));
    command.args(fixture.command(args).get_args()).current_dir("/").env_remove("XDG_RUNTIME_DIR");
    let output = command.env("NO_COLOR", "1").uid(USER).gid(USER).output().unwrap();
    let printed = text(&output.stdout) + &text(&output.stderr);
    (output.status.code().expect("no signal ends a command"), printed)
}

fn assert_names(printed: &str, verb: &str, path: &Path, mode: u32) {
    let owner = fs::metadata(path).unwrap().uid();
    let path = fs::canonicalize(path).unwrap();
    let wanted = format!("may not {verb} \"{}\" (owner uid {owner}, gid 0, mode {mode:04o})", path.display());
    assert!(printed.contains(&wanted), "{wanted}\nis missing in:\n{printed}");
    for wrong in ["unable to open database file", "not running", "no master listens"] {
        assert!(!printed.contains(wrong), "{wrong} in:\n{printed}");
    }
}

#[test]
fn closed_store_is_named_with_owner_and_mode() {
    let Some(fixture) = shared() else { return };
    fixture.push("noop", "{}", &[]);
    let file = fixture.file("queue.db");
    for args in [&["queue:push", "noop"][..], &["queue:jobs"], &["queue:show", "17"]] {
        let (code, printed) = as_user(&fixture, args);
        assert_eq!(code, 5, "{printed}");
        assert_names(&printed, "read", &file, 0o600);
    }
    set_mode(&file, 0o644);
    assert_names(&as_user(&fixture, &["queue:jobs"]).1, "write", &file, 0o644);
    // SQLite writes two files beside the file, and another user has begun them.
    chown(&file, Some(USER), Some(USER)).unwrap();
    let wal = fixture.file("queue.db-wal");
    assert_names(&as_user(&fixture, &["queue:jobs"]).1, "read", &wal, 0o600);
    fs::remove_file(&wal).unwrap();
    fs::remove_file(fixture.file("queue.db-shm")).unwrap();
    assert_names(&as_user(&fixture, &["queue:jobs"]).1, "create files in", fixture.path(), 0o755);
    let closed = fixture.file("closed");
    fs::create_dir(&closed).unwrap();
    set_mode(&closed, 0o700);
    let config = "[channels.default.driver]\ntype = \"sqlite\"\npath = \"closed/queue.db\"\n";
    fixture.write("aint-queue.toml", config);
    assert_names(&as_user(&fixture, &["queue:jobs"]).1, "enter", &closed, 0o700);
}

#[test]
fn closed_run_directory_and_socket_are_no_absent_master() {
    let Some(fixture) = shared() else { return };
    fixture.push("noop", "{}", &[]);
    let master: Master = fixture.listen(&[]);
    let (run, lock) = (fixture.file("run"), fixture.file("run/default-master.lock"));
    let socket = fixture.file("run/default.sock");
    set_mode(&run, 0o755);
    let (code, printed) = as_user(&fixture, &["queue:stop"]);
    assert_eq!(code, 1, "{printed}");
    assert_names(&printed, "connect to", &socket, 0o600);
    set_mode(&run, 0o700);
    for args in [
        &["queue:stop"][..],
        &["queue:stop", "--all"],
        &["queue:reload"],
        &["queue:quiet"],
        &["queue:resume"],
    ] {
        let (code, printed) = as_user(&fixture, args);
        assert_eq!(code, 1, "{args:?}: {printed}");
        assert_names(&printed, "enter", &run, 0o700);
    }
    let (_, printed) = as_user(&fixture, &["queue:listen"]);
    assert!(
        printed.contains("belongs to another user (owner uid 0, ") || printed.contains("may not enter"),
        "{printed}"
    );
    assert!(lock.exists());
    assert!(master.stop().success());
}

#[test]
fn closed_configuration_is_named_with_owner_and_mode() {
    let Some(fixture) = shared() else { return };
    let file = fixture.file("aint-queue.toml");
    set_mode(&file, 0o600);
    let (code, printed) = as_user(&fixture, &["config:check"]);
    assert_eq!(code, 4, "{printed}");
    assert_names(&printed, "read", &file, 0o600);
}

#[test]
fn other_closed_files_are_named_too() {
    let Some(fixture) = shared() else { return };
    let secret = fixture.write("secret", "{\"job\":\"noop\"}\n");
    set_mode(&secret, 0o600);
    let path = secret.to_str().unwrap();
    for args in [&["queue:push", "--file", path][..], &["queue:push", "noop", "--data", &format!("@{path}")]]
    {
        let (code, printed) = as_user(&fixture, args);
        assert_eq!(code, 2, "{printed}");
        assert_names(&printed, "read", &secret, 0o600);
    }
    let own = fixture.file("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(USER), Some(USER)).unwrap();
    let config = |http: &str, log: &str, value: &str| {
        let text = format!(
            "{http}{log}[defaults]\npid_path = \"own/run\"\nmax_attempts = 3\n[channels.default]\ndriver = {{ type = \"sqlite\", path = \"own/queue.db\" }}\n\
             [channels.default.worker]\ncommand = [\"true\", \"{value}\"]\n"
        );
        fixture.write("aint-queue.toml", &text);
    };
    config("", "", "${file:secret}");
    assert_names(&as_user(&fixture, &["config:check"]).1, "read", &secret, 0o600);
    config("", "[log]\nfile = \"log.txt\"\n", "x");
    assert_names(&as_user(&fixture, &["queue:listen"]).1, "create files in", fixture.path(), 0o755);
}
