//! An invalid configuration or program changes nothing.

use crate::fixture::{Fixture, until};

use super::{
    PendingRequest, TWO_WORKERS, configure, fixture, lines, program, refused, reload, report, served_by,
    serving,
};

/// Runs a job to check that the channel serves.
fn serves(fixture: &Fixture) {
    let done = fixture.counts("default").done;
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "a job", |c| c.done == done + 1);
}

#[test]
fn invalid_config_is_refused_before_any_spawn() {
    let fixture = fixture(TWO_WORKERS);
    let master = fixture.listen(&[]);
    let old = served_by(&fixture, "default", 2);
    let good = std::fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    let channel = |lines: &str| format!("{good}\n{lines}\n");
    let kinds = [
        ("[channels.default\n".to_owned(), "aint-queue.toml:1"),
        (channel("max_worker_numbr = 3"), "max_worker_numbr"),
        (good.replace("min_worker_number = 2", "min_worker_number = 9"), "min_worker_number"),
        (good.replace("max_worker_number = 2", "max_worker_number = \"two\""), "max_worker_number"),
        (good.replace("channels.default", "channels.other"), "\"default\""),
        (channel("command = [\"./nobody.sh\"]\nprotocol = \"wire\""), "nobody.sh"),
        (channel("user = \"nobody-of-this-name\""), "nobody-of-this-name"),
        (channel("env = { A = \"${NOT_SET_ANYWHERE}\" }"), "NOT_SET_ANYWHERE"),
    ];
    let shown = fixture.file("aint-queue.toml");
    for (text, named) in &kinds {
        fixture.write("aint-queue.toml", text);
        // The command checks the file first; the master checks it again.
        let (why, invalid) = PendingRequest::reload(&fixture, "default").refused();
        assert!(invalid && why.contains(named), "{named}: {why}");
        let (code, said) = refused(&fixture);
        // Without the declaration the command means the only other channel, which has no master.
        let (wanted, named) = if *named == "\"default\"" { (3, "\"other\"") } else { (4, *named) };
        assert!(code == wanted && said.contains(named), "{named}: {code}: {said}");
    }
    let log = master.log();
    let whole =
        |line: &str| line.contains("workers: the configuration has 1 mistake; ") && line.contains("env.A");
    assert!(log.lines().any(whole), "{log}");
    std::fs::remove_file(&shown).unwrap();
    let (why, invalid) = PendingRequest::reload(&fixture, "default").refused();
    assert!(invalid && why.contains("aint-queue.toml"), "{why}");
    assert_eq!(refused(&fixture).0, 4);

    fixture.write("aint-queue.toml", &good);
    serves(&fixture);
    assert_eq!(serving(&fixture, "default"), old);
    assert_eq!(reload(&fixture)["generation"], 2, "a refused reload has no generation");
    assert!(master.stop().success());
}

#[test]
fn failing_program_keeps_old_workers() {
    let settings = |command: &str| {
        format!(
            "[channels.default.worker]\n{TWO_WORKERS}boot_timeout_seconds = 0.4\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let fixture = Fixture::sqlite(&settings("./good.sh"));
    program(&fixture, "good.sh", "");
    fixture.write("dies.sh", "#!/bin/sh\necho loading >&2\necho 'no database on port 5432' >&2\nexit 7\n");
    fixture.write("killed.sh", "#!/bin/sh\nkill -SEGV $$\n");
    fixture.write(
        "wrong.sh",
        "#!/bin/sh\necho '{\"type\":\"hello\",\"protocol\":99,\"slots\":1}' >&3\nexec sleep 60\n",
    );
    fixture.write("mute.sh", "#!/bin/sh\necho 'waiting for the database' >&2\nexec sleep 60\n");
    fixture.write("chatter.sh", "#!/bin/sh\nwhile :; do echo nonsense >&3; done\n");
    fixture.write("closes.sh", "#!/bin/sh\nexec 3>&-\nexec sleep 60\n");
    // A missing absolute interpreter is found before a worker starts.
    fixture.write("alien.sh", "#!nowhere/interpreter\n");
    let master = fixture.listen(&[]);
    let old = served_by(&fixture, "default", 2);
    let mut last = 1;
    for (command, says) in [
        ("./dies.sh", "it exited with 7 before it was ready: no database on port 5432"),
        ("./killed.sh", "it was killed by SIGSEGV before it was ready"),
        (
            "./wrong.sh",
            "it speaks protocol 99, this master speaks 1: restart the master, or update the worker",
        ),
        ("./mute.sh", "it sent no hello within 400ms: waiting for the database"),
        ("./chatter.sh", "it broke the worker protocol: "),
        ("./closes.sh", "it closed its socket and did not exit"),
        ("./alien.sh", "the interpreter named in its first line does not exist"),
    ] {
        configure(&fixture, &settings(command));
        let (code, said) = refused(&fixture);
        assert_eq!(code, 1, "{command}: {said}");
        assert!(
            said.contains("could not reload channel \"default\"") && said.contains(says),
            "{command}: {said}"
        );
        assert!(
            said.contains("the master keeps its previous configuration and workers"),
            "{command}: {said}"
        );
        assert_eq!(serving(&fixture, "default"), old, "{command}");
        last += 1;
    }
    let report = report(&fixture, "default");
    assert!(report["worker_error"].is_null() && report["pool"]["degraded"] == false, "{report}");
    serves(&fixture);
    assert!(master.log().contains("reload failed: keeping the previous configuration and workers"));
    // Each started generation had a number, which is not reused.
    configure(&fixture, &settings("./good.sh"));
    assert_eq!(reload(&fixture)["generation"], last + 1);
    until("exactly two workers", || (master.workers().len() == 2).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn failing_second_worker_rolls_back() {
    let settings = |command: &str| {
        format!(
            "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.2\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 8\nmax_worker_number = 8\nmax_execute_seconds = 60\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let fixture = Fixture::sqlite(&settings("./good.sh"));
    program(&fixture, "good.sh", "echo $$ >> births");
    program(&fixture, "first.sh", "mkdir first 2>/dev/null || { echo 'only one of me' >&2; exit 9; }");
    let master = fixture.listen(&[]);
    let old = served_by(&fixture, "default", 8);
    // Each worker has a job longer than the stop wait. There is room for two more workers, of which the second fails.
    fixture.push_lines("default", (0..8).map(|_| r#"{"job":"sleep","payload":{"ms":2500}}"#.to_owned()));
    fixture.until("default", "them to run", |c| c.reserved == 8);
    configure(&fixture, &settings("./first.sh"));
    let (code, said) = refused(&fixture);
    assert!(
        code == 1 && said.contains("it exited with 9 before it was ready: only one of me"),
        "{code}: {said}"
    );
    fixture.until("default", "the jobs", |c| c.done == 8);
    let log = master.log();
    assert!(!log.contains("interrupting them"), "a failed reload costs no job: {log}");
    assert_eq!(served_by(&fixture, "default", 8), old, "the draining workers serve again");
    let shown = report(&fixture, "default");
    assert!(shown["worker_error"].is_null() && shown["pool"]["reload"].is_null(), "{shown}");
    assert_eq!(lines(&fixture, "births").len(), 8);

    // Idle workers end once a new one serves. That one serves until workers of the old program have replaced it.
    std::fs::remove_dir(fixture.file("first")).unwrap();
    assert_eq!(refused(&fixture).0, 1);
    until("the previous workers", || {
        let now = serving(&fixture, "default");
        (now.len() == 8 && now.values().all(|generation| *generation == 1)).then_some(())
    });
    serves(&fixture);
    configure(&fixture, &settings("./good.sh"));
    assert_eq!(reload(&fixture)["generation"], 4);
    assert!(master.stop().success());
}
