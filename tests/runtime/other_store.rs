//! Commands and masters that mean different stores: two projects on one machine, releases behind a symbolic link, files that
//! were removed or replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixture::{BINARY, Fixture, Master, SQLITE, text, until};
use crate::redis::Server;

/// A directory without a configuration file, and what it leaves in the runtime directory of this user.
struct Project<'a> {
    fixture: &'a Fixture,
    dir: PathBuf,
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.run_dir());
    }
}

impl<'a> Project<'a> {
    fn new(fixture: &'a Fixture, name: &str) -> Self {
        let dir = fixture.file(name);
        fs::create_dir_all(&dir).unwrap();
        Self { fixture, dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        command(self.fixture, &self.dir, args)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        json(&self.run(&[args, &["--json"]].concat()))
    }

    fn run_dir(&self) -> PathBuf {
        let config = self.json(&["config:check"]);
        config["channels"]["default"]["pid_path"].as_str().unwrap().into()
    }

    fn listen(&self) -> Master {
        self.fixture.listening(self.command(&["queue:listen", "--log-format", "json"]))
    }
}

/// A command in a directory, with the runtime directory of this test.
fn command(fixture: &Fixture, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).current_dir(dir).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.env("XDG_RUNTIME_DIR", fixture.file("runtime")).env_remove("AINT_QUEUE_CONFIG");
    command
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{}: {e}", text(&output.stderr)))
}

/// The message of a command that must be refused with this exit code.
fn refused(output: &Output, code: i32) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    message
}

#[test]
fn projects_without_configuration_are_apart() {
    let fixture = Fixture::sqlite("");
    let (one, two) = (Project::new(&fixture, "one"), Project::new(&fixture, "two"));
    let master = one.listen();
    assert_ne!(one.run_dir(), two.run_dir());
    // The directory is the same before and after the store exists, by a link too.
    symlink("one", fixture.file("link")).unwrap();
    let link = Project::new(&fixture, "link");
    assert_eq!(link.json(&["queue:status"])["pid"], master.pid());
    assert_eq!(one.json(&["queue:status"])["pid"], master.pid());
    assert_eq!(two.json(&["queue:status"])["running"], false);
    assert!(two.run(&["queue:push", "noop"]).status.success());
    assert_eq!(two.json(&["queue:why"])["reason"], "no_master");
    refused(&two.run(&["queue:stop"]), 3);
    // Both have a master of their own at the same time.
    let other = two.listen();
    until("the job of the second project", || (two.json(&["queue:status"])["done"] == 1).then_some(()));
    assert!(two.run(&["queue:stop"]).status.success());
    assert!(other.wait().success());
    assert_eq!(one.json(&["queue:status"])["pid"], master.pid());
    assert!(master.stop().success());
}

#[test]
fn master_in_a_renamed_directory_is_found() {
    let fixture = Fixture::sqlite("");
    let one = Project::new(&fixture, "one");
    let master = one.listen();
    one.run(&["queue:push", "noop"]);
    until("the job", || (one.json(&["queue:status"])["done"] == 1).then_some(()));
    let run_dir = one.run_dir();
    fs::rename(fixture.file("one"), fixture.file("two")).unwrap();
    let two = Project::new(&fixture, "two");
    assert_eq!(two.run_dir(), run_dir);
    assert_eq!(two.json(&["queue:status"])["pid"], master.pid());
    let message = refused(&two.run(&["queue:listen"]), 3);
    assert!(message.contains(&master.pid().to_string()), "{message}");
    // Jobs pushed here are in the same file; the master says what keeps it from running them.
    let pushed = two.run(&["queue:push", "noop"]);
    assert!(pushed.status.success(), "{}", text(&pushed.stderr));
    until("the master to notice", || {
        text(&two.run(&["queue:why"]).stdout)
            .contains("moved, removed or replaced while in use")
            .then_some(())
    });
    // A new project under the old name has a master of its own.
    let other = Project::new(&fixture, "one");
    assert_eq!(other.json(&["queue:status"])["running"], false);
    assert!(two.run(&["queue:stop"]).status.success());
    assert!(master.wait().success());
    let master = two.listen();
    until("the second job", || (two.json(&["queue:status"])["done"] == 2).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn reload_judges_a_found_configuration_again() {
    use std::os::unix::fs::PermissionsExt;

    let fixture = Fixture::sqlite("");
    let project = Project::new(&fixture, "project");
    fs::create_dir(project.dir.join("config")).unwrap();
    let file = project.dir.join("config/aint-queue.toml");
    fs::write(&file, "[defaults]\npid_path = \"../run\"\n[channels.default]\n").unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let master = project.listen();
    let mut failures = 0;
    let mut reload_fails = |says: &str| {
        failures += 1;
        master.signal(Signal::SIGUSR1);
        until("the reload to fail", || {
            let log = master.log();
            (log.matches("reload failed").count() == failures && log.contains(says)).then_some(())
        });
    };
    set(&file, 0o666);
    reload_fails("may be written by other users (owner uid 0, gid 0, mode 0666)");
    set(&file, 0o644);
    set(&project.dir.join("config"), 0o777);
    reload_fails("may be written by other users (owner uid 0, gid 0, mode 0777)");
    set(&project.dir.join("config"), 0o755);
    let aside = project.dir.join("aside");
    fs::rename(&file, &aside).unwrap();
    symlink("gone.toml", &file).unwrap();
    reload_fails("is a symbolic link to \\\"gone.toml\\\"");
    fs::rename(&aside, &file).unwrap();
    master.signal(Signal::SIGUSR1);
    until("the reload", || master.log().contains("\"message\":\"reloaded\"").then_some(()));
    assert!(master.stop().success());
}

/// Two configurations that share a run directory: the one of the fixture, and `other.toml`.
fn sharing(driver: &str) -> Fixture {
    let fixture = Fixture::sqlite("[channels.default]\n");
    fixture.write(
        "other.toml",
        &format!("[defaults]\npid_path = \"run\"\ndriver = {driver}\n[channels.default]\n"),
    );
    fixture
}

fn other(fixture: &Fixture, args: &[&str]) -> Output {
    command(fixture, fixture.path(), &[args, &["--config", "other.toml"]].concat()).output().unwrap()
}

#[test]
fn commands_for_another_store_do_nothing() {
    let fixture = sharing(r#"{ type = "sqlite", path = "other.db" }"#);
    let master = fixture.listen(&[]);
    for args in [
        &["queue:push", "noop"][..],
        &["queue:stop"],
        &["queue:quiet"],
        &["queue:scale", "+1"],
        &["queue:reload"],
        &["queue:pause"],
        &["queue:resume"],
        &["queue:run"],
        &["queue:clear", "--yes"],
        &["queue:cancel", "17"],
        &["queue:listen"],
    ] {
        let message = refused(&other(&fixture, args), 3);
        assert!(message.contains("queue.db") && message.contains("pid_path"), "{args:?}: {message}");
        let names_both = message.contains("other.db") || args == ["queue:listen"];
        assert!(names_both && message.contains(&master.pid().to_string()), "{args:?}: {message}");
    }
    assert!(!fixture.file("other.db").exists(), "a refused command creates no store");
    let running = other(&fixture, &["queue:running"]);
    assert!(refused(&running, 3).contains("queue.db"));
    assert_eq!(text(&running.stdout), "", "a master whose jobs are unknown may run some");
    let status = json(&other(&fixture, &["queue:status", "--json"]));
    assert_eq!((&status["running"], &status["pid"]), (&Value::Bool(false), &Value::Null));
    assert!(status["differences"][0].as_str().unwrap().contains("queue.db"), "{status}");
    let shown = text(&other(&fixture, &["queue:status"]).stdout);
    assert!(
        shown.contains("is not running.") && shown.contains("Attention: the master of channel"),
        "{shown}"
    );
    assert_eq!(json(&other(&fixture, &["queue:why", "--json"]))["reason"], "other_store");
    assert_eq!(fixture.json(&["queue:status"])["quiet"], false);
    assert!(master.stop().success());
}

#[test]
fn one_file_by_two_paths_is_one_store() {
    let fixture = sharing(r#"{ type = "sqlite", path = "link.db" }"#);
    let master = fixture.listen(&[]);
    symlink("queue.db", fixture.file("link.db")).unwrap();
    assert_eq!(json(&other(&fixture, &["queue:status", "--json"]))["pid"], master.pid());
    assert!(other(&fixture, &["queue:push", "noop"]).status.success());
    fixture.until("default", "the job", |counts| counts.done == 1);
    assert!(other(&fixture, &["queue:stop"]).status.success());
    assert!(master.wait().success());
}

#[test]
fn redis_databases_and_servers_differ() {
    let (server, rival) = (Server::start(), Server::start());
    let driver = |host: &str, server: &Server, database: u8| {
        let port = server.config().port;
        format!(
            "{{ type = \"redis\", connection = {{ host = \"{host}\", port = {port}, database = {database} }} }}"
        )
    };
    let fixture = Fixture::new(&driver("127.0.0.1", &server, 0), "[channels.default]\n");
    let master = fixture.listen(&[]);
    let ask = |driver: &str, args: &[&str]| {
        fixture.write(
            "other.toml",
            &format!("[defaults]\npid_path = \"run\"\ndriver = {driver}\n[channels.default]\n"),
        );
        other(&fixture, args)
    };
    // The server has two addresses, and its run id says that it is one server.
    let output = ask(&driver("localhost", &server, 0), &["queue:status", "--json"]);
    assert_eq!(json(&output)["pid"], master.pid());
    for foreign in [driver("127.0.0.1", &server, 1), driver("127.0.0.1", &rival, 0)] {
        let message = refused(&ask(&foreign, &["queue:quiet"]), 3);
        assert!(message.contains("serves redis at 127.0.0.1:"), "{message}");
        assert_eq!(json(&ask(&foreign, &["queue:status", "--json"]))["running"], false);
        // Masters of that store may run on other machines.
        let pushed = ask(&foreign, &["queue:push", "noop"]);
        assert!(pushed.status.success() && text(&pushed.stderr).contains("warning: the master of channel"));
    }
    assert!(master.stop().success());
}

/// A fixture with two releases, `current`, which links to the first one, and a configuration that means the latter.
fn releases(pid_path: &str) -> Fixture {
    let fixture = Fixture::with_binary(
        BINARY.into(),
        "aint-queue.toml",
        &format!(
            "[defaults]\npid_path = \"{pid_path}\"\n[channels.default]\ndriver = {{ type = \"sqlite\", path = \"current/queue.db\" }}\n"
        ),
    );
    for release in ["rel1", "rel2"] {
        fs::create_dir(fixture.file(release)).unwrap();
    }
    switch(&fixture, "rel1");
    fixture
}

fn switch(fixture: &Fixture, release: &str) {
    let next = fixture.file("next");
    symlink(release, &next).unwrap();
    fs::rename(next, fixture.file("current")).unwrap();
}

#[test]
fn reload_refuses_to_leave_its_store() {
    let fixture = releases("run");
    let master = fixture.listen(&[]);
    switch(&fixture, "rel2");
    let message = refused(&fixture.run(&["queue:reload"]), 1);
    for part in ["rel1/queue.db", "rel2/queue.db", "queue:stop", "queue:listen"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    master.signal(Signal::SIGUSR1);
    until("the log", || {
        let log = master.log();
        (log.contains("reload failed") && log.contains("paths changed under this master")).then_some(())
    });
    // Pushes would go to the other file.
    let message = refused(&fixture.run(&["queue:push", "noop"]), 3);
    assert!(message.contains("rel1/queue.db") && message.contains("rel2/queue.db"), "{message}");
    assert!(!fixture.file("rel2/queue.db").exists());
    let status = fixture.json(&["queue:status"]);
    assert_eq!(status["pid"], master.pid());
    assert!(status["differences"][0].as_str().unwrap().contains("rel1/queue.db"), "{status}");
    assert_eq!(fixture.json(&["queue:why"])["reason"], "other_store");
    // The former release again: all is well, and the master has served on.
    switch(&fixture, "rel1");
    assert_eq!(fixture.json(&["queue:status"]).get("differences"), None);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    assert!(fixture.run(&["queue:reload"]).status.success());
    // The way to the second release.
    switch(&fixture, "rel2");
    let stopped = fixture.run(&["queue:stop"]);
    assert!(stopped.status.success(), "{}", text(&stopped.stderr));
    assert!(text(&stopped.stderr).contains("rel1/queue.db"), "{}", text(&stopped.stderr));
    assert!(master.wait().success());
    let master = fixture.listen(&[]);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job in the second release", |counts| counts.done == 1);
    assert!(fixture.file("rel2/queue.db").exists());
    assert!(master.stop().success());
}

#[test]
fn reload_refuses_another_run_directory() {
    let fixture = releases("current/run");
    // The store stays the same, so only the run directory moves.
    fixture.write(
        "aint-queue.toml",
        &format!("[defaults]\npid_path = \"current/run\"\ndriver = {SQLITE}\n[channels.default]\n"),
    );
    let master = fixture.listen(&[]);
    switch(&fixture, "rel2");
    until("the log", || master.log().contains("rel2/run").then_some(()));
    master.signal(Signal::SIGUSR1);
    until("the refusal", || master.log().contains("reload failed: keeping").then_some(()));
    assert!(master.log().contains("pid_path means"), "{}", master.log());
    // A command that still means the first directory sees the difference.
    fixture.write(
        "old.toml",
        &format!("[defaults]\npid_path = \"rel1/run\"\ndriver = {SQLITE}\n[channels.default]\n"),
    );
    let status =
        command(&fixture, fixture.path(), &["queue:status", "--json", "--config", "old.toml"]).output();
    let status = json(&status.unwrap());
    assert_eq!(status["pid"], master.pid());
    assert!(status["differences"][0].as_str().unwrap().contains("rel2/run"), "{status}");
    assert!(master.stop().success());
}

#[test]
fn removed_or_replaced_file_is_reported() {
    let fixture = Fixture::sqlite("[channels.default]\n");
    let master = fixture.listen(&[]);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(fixture.file(&format!("queue.db{suffix}")));
    }
    refused(&fixture.run(&["queue:reload"]), 1);
    assert!(master.log().contains("which does not exist"), "{}", master.log());
    let message = refused(&fixture.run(&["queue:push", "noop"]), 3);
    assert!(message.contains("(inode ") && message.contains("does not exist"), "{message}");
    fs::write(fixture.file("queue.db"), "").unwrap();
    let message = refused(&fixture.run(&["queue:push", "noop"]), 3);
    assert!(message.matches("(inode ").count() == 2, "{message}");
    assert!(fixture.run(&["queue:stop"]).status.success());
    assert!(master.wait().success());
}

#[test]
fn removed_log_is_reported_and_loses_no_job() {
    let fixture = Fixture::sqlite("[channels.default]\n");
    for suffixes in [&["-wal"][..], &["-shm"], &["-wal", "-shm"]] {
        let master = fixture.listen(&[]);
        fixture.ok(&["queue:pause"]);
        let done = fixture.counts("default").done;
        fixture.push("noop", "{}", &[]);
        for suffix in suffixes {
            fs::remove_file(fixture.file(&format!("queue.db{suffix}"))).unwrap();
        }
        let names = format!("queue.db{}", suffixes[0]);
        until("the log", || {
            let log = master.log();
            (log.contains("refusing pushes and new jobs") && log.contains(&names)).then_some(())
        });
        let commands = [(&["queue:push", "noop"][..], 5), (&["queue:status"], 5), (&["queue:reload"], 1)];
        for (args, code) in commands {
            let output = fixture.run(args);
            let message = refused(&output, code);
            assert!(message.contains("queue:stop"), "{args:?}: {message}");
            let shown = text(&output.stdout);
            let is_running = format!("is running, pid {}", master.pid());
            assert!(
                args != ["queue:status"] || shown.contains(&names) && shown.contains(&is_running),
                "{shown}"
            );
        }
        fixture.ok(&["queue:stop"]);
        assert!(master.wait().success());
        let master = fixture.listen(&[]);
        assert!(fixture.counts("default").waiting == 1, "{suffixes:?}");
        fixture.ok(&["queue:resume"]);
        fixture.until("default", "the job", |counts| counts.done == done + 1);
        assert!(master.stop().success());
    }
}

#[test]
fn push_during_a_rename_makes_no_second_store() {
    use std::io::Write;

    for config in [
        None,
        Some(
            "[defaults]\npid_path = \"run\"\n[channels.default]\ndriver = { type = \"sqlite\", path = \"data/queue.db\" }\n",
        ),
    ] {
        let fixture = Fixture::sqlite("");
        let project = Project::new(&fixture, "one");
        if let Some(config) = config {
            fs::write(project.dir.join("aint-queue.toml"), config).unwrap();
        }
        let mut push = project.command(&["queue:push", "noop", "--data", "-"]);
        push.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut push = push.spawn().unwrap();
        // The configuration is read when the command waits for its payload.
        let wchan = format!("/proc/{}/wchan", push.id());
        until("the command to wait", || {
            fs::read_to_string(&wchan).unwrap().contains("pipe_read").then_some(())
        });
        fs::rename(fixture.file("one"), fixture.file("two")).unwrap();
        push.stdin.take().unwrap().write_all(b"{}").unwrap();
        let message = refused(&push.wait_with_output().unwrap(), 5);
        assert!(
            message.contains("/one\" was moved or removed") && message.contains("nothing is created"),
            "{message}"
        );
        assert!(!fixture.file("one").exists(), "a directory that no master serves");
        let two = Project::new(&fixture, "two");
        assert!(two.run(&["queue:push", "noop"]).status.success());
        // The end of the project runs a command there.
        fs::create_dir(&project.dir).unwrap();
    }
}

#[test]
fn every_reply_names_the_store() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;

    let fixture = Fixture::sqlite("[channels.default]\n");
    let master = fixture.listen(&[]);
    let mut stream = BufReader::new(UnixStream::connect(fixture.file("run/default.sock")).unwrap());
    use std::os::unix::fs::MetadataExt;
    let file = fs::metadata(fixture.file("queue.db")).unwrap();
    for request in [r#"{"command":"status"}"#, r#"{"command":"resume"}"#, r#"{"command":"?"}"#] {
        writeln!(stream.get_mut(), "{request}").unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let store = &serde_json::from_str::<Value>(&line).unwrap()["store"];
        assert_eq!(
            (store["device"].as_u64(), store["inode"].as_u64()),
            (Some(file.dev()), Some(file.ino())),
            "{line}"
        );
        assert_eq!(store["path"], fs::canonicalize(fixture.file("queue.db")).unwrap().to_str().unwrap());
    }
    drop(stream);
    assert!(master.stop().success());
}
