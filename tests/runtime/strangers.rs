//! Files, directories and sockets that other users could have put in place are refused by name; the set-ups of real
//! deployments work. Only root can play other users, so each test is skipped for anybody else.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::fixture::{BINARY, Fixture, copy_binary, text, until};

/// Another user, without privileges.
const STRANGER: u32 = 65534;

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        println!("skipped: only root can become another user");
    }
    is_root
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn give(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
}

/// A command in a directory, without `--config`.
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).current_dir(dir).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.env_remove("AINT_QUEUE_CONFIG").env_remove("AINT_QUEUE_TRUST_FILES");
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

/// The message of a command that must be refused with this exit code, and says how to insist.
fn refused(output: &Output, code: i32) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains("--trust-files"), "{message}");
    message
}

/// Whether a connection to the listener was made.
fn was_asked(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().is_ok()
}

#[test]
fn configuration_of_a_stranger_is_refused() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::sqlite("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = format!(
        "[channels.default.driver]\ntype = \"redis\"\nconnection = {{ port = {port}, password = \"${{SECRET}}\", read_write_timeout = 0.2 }}\n"
    );
    let status = |dir: &Path, more: &[&str]| {
        command(dir, &[&["queue:status"], more].concat()).env("SECRET", "hunter2").output().unwrap()
    };
    let place = |name: &str| {
        let dir = fixture.file(name);
        fs::create_dir_all(dir.join("config")).unwrap();
        fs::write(dir.join("config/aint-queue.toml"), &config).unwrap();
        dir
    };
    type Spoil<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Spoil<'_>); 6] = [
        ("config/aint-queue.toml", &|dir| give(&dir.join("config/aint-queue.toml"), STRANGER, STRANGER)),
        ("config/aint-queue.toml", &|dir| mode(&dir.join("config/aint-queue.toml"), 0o666)),
        ("config", &|dir| give(&dir.join("config"), STRANGER, STRANGER)),
        ("config", &|dir| mode(&dir.join("config"), 0o777)),
        (".", &|dir| give(dir, STRANGER, STRANGER)),
        ("config/aint-queue.toml", &|dir| {
            let file = dir.join("config/aint-queue.toml");
            fs::rename(&file, dir.join("mine.toml")).unwrap();
            symlink("../mine.toml", &file).unwrap();
            std::os::unix::fs::lchown(&file, Some(STRANGER), None).unwrap();
        }),
    ];
    for (i, (named, spoil)) in cases.into_iter().enumerate() {
        let dir = place(&format!("case{i}"));
        spoil(&dir);
        let message = refused(&status(&dir, &[]), 4);
        let named = if named == "." { dir } else { dir.join(named) };
        assert!(message.contains(&format!("\"{}\"", named.display())), "case {i}: {message}");
        assert!(!was_asked(&listener), "case {i}: the stranger's server got a connection");
    }
    // The ways to insist, and a file of this user.
    for more in [&["--trust-files"][..], &["--config", "config/aint-queue.toml"]] {
        assert_eq!(status(&fixture.file("case0"), more).status.code(), Some(5));
        assert!(was_asked(&listener), "{more:?}");
    }
    let mut insisting = command(&fixture.file("case0"), &["queue:status"]);
    insisting.env("SECRET", "x").env("AINT_QUEUE_TRUST_FILES", "1");
    assert_eq!(insisting.output().unwrap().status.code(), Some(5));
    let dir = place("ours");
    let shared = fixture.file("shared.toml");
    fs::rename(dir.join("config/aint-queue.toml"), &shared).unwrap();
    symlink(&shared, dir.join("config/aint-queue.toml")).unwrap();
    assert_eq!(status(&dir, &[]).status.code(), Some(5), "a link of this user, as deployments have");
}

#[test]
fn planted_sqlite_file_is_refused() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::sqlite("");
    let dir = |name: &str, bits: u32| {
        let dir = fixture.file(name);
        fs::create_dir(&dir).unwrap();
        mode(&dir, bits);
        dir
    };
    let db = |dir: &Path| dir.join("aint-queue.db");
    // A file of a stranger, in a directory of this user and in one like /tmp.
    for (name, bits) in [("usual", 0o755), ("sticky", 0o1777)] {
        let place = dir(name, bits);
        fs::write(db(&place), "planted").unwrap();
        give(&db(&place), STRANGER, STRANGER);
        for args in [&["queue:run"][..], &["queue:push", "noop"], &["queue:pause"]] {
            assert!(refused(&run(&place, args), 5).contains("aint-queue.db\" "), "{args:?}");
        }
        fs::remove_file(db(&place)).unwrap();
        assert!(run(&place, &["queue:push", "noop"]).status.success(), "{name}: a file of this user");
        mode(&db(&place), 0o666);
        assert!(refused(&run(&place, &["queue:push", "noop"]), 5).contains("written by other users"));
    }
    let place = dir("open", 0o777);
    assert!(refused(&run(&place, &["queue:push", "noop"]), 5).contains("any user"));
    let place = dir("foreign", 0o755);
    give(&place, STRANGER, STRANGER);
    assert!(refused(&run(&place, &["queue:push", "noop"]), 5).contains("belongs to another user"));
    assert!(!db(&place).exists(), "a refused push creates no file");
    // SQLite would write through a link beside the file.
    let place = dir("links", 0o755);
    assert!(run(&place, &["queue:push", "noop"]).status.success());
    let _ = fs::remove_file(place.join("aint-queue.db-wal"));
    fs::write(place.join("precious"), "kept").unwrap();
    symlink("precious", place.join("aint-queue.db-wal")).unwrap();
    let message = text(&run(&place, &["queue:push", "noop"]).stderr);
    assert!(message.contains("aint-queue.db-wal\" is not a regular file"), "{message}");
    assert_eq!(fs::read_to_string(place.join("precious")).unwrap(), "kept");
    // A named file in a directory like /tmp, of a stranger.
    let sticky = fixture.file("sticky");
    fs::write(sticky.join("named.db"), "").unwrap();
    give(&sticky.join("named.db"), STRANGER, STRANGER);
    fixture.write("named.toml", "[channels.default.driver]\ntype = \"sqlite\"\npath = \"sticky/named.db\"\n");
    let output = run(fixture.path(), &["queue:push", "noop", "--config", "named.toml"]);
    assert!(refused(&output, 5).contains("any user"));
}

#[test]
fn store_behind_the_link_of_a_stranger_is_refused() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::sqlite("");
    let db = |dir: &Path| dir.join("aint-queue.db");
    let [other, lured] = ["other", "lured"].map(|name| fixture.file(name));
    fs::create_dir(&other).unwrap();
    fs::create_dir(&lured).unwrap();
    assert!(run(&other, &["queue:push", "noop"]).status.success());
    let lure = |target: &Path, owner| {
        let _ = fs::remove_file(db(&lured));
        symlink(target, db(&lured)).unwrap();
        lchown(db(&lured), Some(owner), Some(owner)).unwrap();
    };
    for (bits, target) in [(0o1777, db(&other)), (0o755, db(&other)), (0o755, fixture.file("missing.db"))] {
        mode(&lured, bits);
        lure(&target, STRANGER);
        for args in [&["queue:push", "noop"][..], &["queue:run"], &["queue:clear", "-y"]] {
            let message = refused(&run(&lured, args), 5);
            let named =
                format!("lured/aint-queue.db\" is a symbolic link of another user (owner uid {STRANGER}");
            assert!(message.contains(&named), "{args:?}: {message}");
        }
        assert!(!fixture.file("missing.db").exists(), "a refused push creates no file");
    }
    // A link of this user that leads to one of a stranger; in the end to a link of this user alone.
    fs::create_dir(fixture.file("current")).unwrap();
    mode(&lured, 0o1777);
    lure(&db(&other), STRANGER);
    symlink(db(&lured), fixture.file("current/aint-queue.db")).unwrap();
    let message = refused(&run(&fixture.file("current"), &["queue:push", "noop"]), 5);
    assert!(message.contains("lured/aint-queue.db\" is a symbolic link of another user"), "{message}");
    lure(&db(&other), 0);
    assert!(run(&fixture.file("current"), &["queue:push", "noop"]).status.success());
    let status = text(&run(&other, &["queue:status", "--json"]).stdout);
    assert!(status.replace(char::is_whitespace, "").contains("\"waiting\":2"), "{status}");
    // A named file, behind a link in a directory like /tmp.
    lure(&db(&other), STRANGER);
    fixture.write(
        "named.toml",
        "[channels.default.driver]\ntype = \"sqlite\"\npath = \"lured/aint-queue.db\"\n",
    );
    let output = run(fixture.path(), &["queue:push", "noop", "--config", "named.toml"]);
    assert!(refused(&output, 5).contains("any user"));
    mode(&lured, 0o755);
    give(&lured, STRANGER, STRANGER);
    let output = run(fixture.path(), &["queue:push", "noop", "--config", "named.toml"]);
    assert!(output.status.success(), "root operates the service of another user: {}", text(&output.stderr));
}

#[test]
fn run_directory_open_to_others_is_refused() {
    if !is_root() {
        return;
    }
    let fixture = Fixture::sqlite("[channels.default]\n");
    fs::create_dir(fixture.file("run")).unwrap();
    mode(&fixture.file("run"), 0o777);
    assert!(refused(&fixture.run(&["queue:listen"]), 1).contains("run\" may be written by other users"));
    mode(&fixture.file("run"), 0o755);
    give(&fixture.file("run"), STRANGER, STRANGER);
    assert!(refused(&fixture.run(&["queue:listen"]), 1).contains("belongs to another user"));
    let master = fixture.listen(&["--trust-files"]);
    assert!(master.stop().success());
    give(&fixture.file("run"), 0, 0);
    // As `docker run --tmpfs` makes it.
    mode(&fixture.file("run"), 0o1777);
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    // Opened to others while the master runs: commands believe nothing in it.
    mode(&fixture.file("run"), 0o777);
    assert!(refused(&fixture.run(&["queue:stop"]), 1).contains("run\" may be written by other users"));
    mode(&fixture.file("run"), 0o1777);
    assert!(master.stop().success());
    // A lock of a stranger.
    give(&fixture.file("run/default-master.lock"), STRANGER, STRANGER);
    assert!(
        refused(&fixture.run(&["queue:listen"]), 1).contains("default-master.lock\" belongs to another user")
    );
}

#[test]
fn socket_of_a_stranger_is_not_believed() {
    if !is_root() {
        return;
    }
    const LISTEN: &str = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\nprint('ready', flush=True)\n\
        while True:\n  c, _ = s.accept()\n  try:\n   c.sendall(b'{\"ok\":{\"stopped\":{\"handed_back\":0,\"settled\":true}}}\\n')\n  except OSError:\n   pass\n  c.close()";
    let fixture = Fixture::sqlite("[channels.default]\n");
    let master = fixture.listen(&[]);
    mode(fixture.path(), 0o755);
    mode(&fixture.file("run"), 0o1777);
    let socket = fixture.file("run/default.sock");
    fs::remove_file(&socket).unwrap();
    let mut stranger = Command::new("python3");
    stranger.args(["-c", LISTEN]).arg(&socket).uid(STRANGER).gid(STRANGER).current_dir("/");
    let mut stranger = stranger.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    let mut output = std::io::BufReader::new(stranger.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut ready).unwrap();
    let message = refused(&fixture.run(&["queue:stop"]), 1);
    assert!(message.contains(&format!("a process of another user (uid {STRANGER}) listens")), "{message}");
    let shown = fixture.ok(&["queue:status"]);
    assert!(shown.contains("Master not responding: a process of another user"), "{shown}");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(master.stop().success());
}

/// A master of another user, in a directory that this user gives it, with the configuration of root.
struct Service {
    fixture: Fixture,
    binary: PathBuf,
}

impl Service {
    /// `data` is the directory of the store and the run directory.
    fn new(data: impl Fn(&Path)) -> Self {
        let config = "[defaults]\npid_path = \"data/run\"\n[channels.default.driver]\ntype = \"sqlite\"\npath = \"data/queue.db\"\n";
        let fixture = Fixture::with_binary(BINARY.into(), "aint-queue.toml", config);
        mode(fixture.path(), 0o755);
        let binary = fixture.file("aint-queue");
        copy_binary(&binary);
        mode(&binary, 0o755);
        fs::create_dir(fixture.file("data")).unwrap();
        data(&fixture.file("data"));
        Self { fixture, binary }
    }

    fn serves(&self, uid: u32, gid: u32) {
        let mut command = Command::new(&self.binary);
        let listen = self.fixture.listen_command(&[]);
        command.args(listen.get_args()).current_dir("/").uid(uid).gid(gid).env_remove("XDG_RUNTIME_DIR");
        let master = self.fixture.listening(command);
        // Root operates it.
        assert_eq!(self.fixture.json(&["queue:status"])["pid"], master.pid());
        self.fixture.push("noop", "{}", &[]);
        self.fixture.until("default", "the job", |counts| counts.done == 1);
        assert_eq!(self.fixture.json(&["queue:why"])["reason"], "idle");
        assert!(self.fixture.run(&["queue:reload"]).status.success());
        let stopped = self.fixture.run(&["queue:stop"]);
        assert!(stopped.status.success(), "{}", text(&stopped.stderr));
        assert!(master.wait().success());
    }
}

#[test]
fn root_operates_the_service_of_another_user() {
    if !is_root() {
        return;
    }
    // As the unit file and the image have it.
    Service::new(|data| give(data, STRANGER, STRANGER)).serves(STRANGER, STRANGER);
}

#[test]
fn arbitrary_user_of_a_container_works() {
    if !is_root() {
        return;
    }
    // The group is that of root and may write, as on platforms that choose a user id.
    let service = Service::new(|data| mode(data, 0o2770));
    service.serves(1_000_650_000, 0);
    assert!(service.fixture.file("data/queue.db").exists());
    until("the end of the workers", || {
        crate::fixture::with_command(service.binary.to_str().unwrap()).is_empty().then_some(())
    });
}
