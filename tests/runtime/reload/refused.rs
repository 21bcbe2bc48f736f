//! A configuration or a program that is no good changes nothing.

use crate::site::{Site, until};

use super::{Asked, TWO, configure, lines, program, refused, reload, report, served_by, serving, site};

/// Runs a job, which shows that there is service.
fn serves(site: &Site) {
    let done = site.counts("default").done;
    site.push("noop", "{}", &[]);
    site.until("default", "a job", |c| c.done == done + 1);
}

#[test]
fn a_broken_configuration_is_refused_before_anything_is_started() {
    let site = site(TWO);
    let master = site.listen(&[]);
    let old = served_by(&site, "default", 2);
    let good = std::fs::read_to_string(site.file("aint-queue.toml")).unwrap();
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
    let shown = site.file("aint-queue.toml");
    for (text, named) in &kinds {
        site.write("aint-queue.toml", text);
        // The command reads the file first; the master does not trust it to have.
        let (why, invalid) = Asked::reload(&site, "default").refused();
        assert!(invalid && why.contains(named), "{named}: {why}");
        let (code, said) = refused(&site);
        // Of a channel that is not declared the command knows no master to ask.
        let wanted = if *named == "\"default\"" { 2 } else { 4 };
        assert!(code == wanted && said.contains(named), "{named}: {code}: {said}");
    }
    let log = master.log();
    let whole =
        |line: &str| line.contains("before: the configuration has 1 mistake; ") && line.contains("env.A");
    assert!(log.lines().any(whole), "{log}");
    std::fs::remove_file(&shown).unwrap();
    let (why, invalid) = Asked::reload(&site, "default").refused();
    assert!(invalid && why.contains("aint-queue.toml"), "{why}");
    assert_eq!(refused(&site).0, 4);

    site.write("aint-queue.toml", &good);
    serves(&site);
    assert_eq!(serving(&site, "default"), old);
    assert_eq!(reload(&site)["generation"], 2, "what was refused has no number");
    assert!(master.stop().success());
}

#[test]
fn a_program_that_never_becomes_a_worker_leaves_the_old_ones_at_work() {
    let settings = |command: &str| {
        format!(
            "[channels.default.worker]\n{TWO}boot_timeout_seconds = 0.4\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let site = Site::sqlite(&settings("./good.sh"));
    program(&site, "good.sh", "");
    site.write("dies.sh", "#!/bin/sh\necho loading >&2\necho 'no database on port 5432' >&2\nexit 7\n");
    site.write("killed.sh", "#!/bin/sh\nkill -SEGV $$\n");
    site.write(
        "wrong.sh",
        "#!/bin/sh\necho '{\"type\":\"hello\",\"protocol\":99,\"slots\":1}' >&3\nexec sleep 60\n",
    );
    site.write("mute.sh", "#!/bin/sh\necho 'waiting for the database' >&2\nexec sleep 60\n");
    site.write("chatter.sh", "#!/bin/sh\nwhile :; do echo nonsense >&3; done\n");
    site.write("closes.sh", "#!/bin/sh\nexec 3>&-\nexec sleep 60\n");
    site.write("alien.sh", "#!/nowhere/interpreter\n");
    let master = site.listen(&[]);
    let old = served_by(&site, "default", 2);
    let mut last = 1;
    for (command, says) in [
        ("./dies.sh", "it exited with 7 before it was ready: no database on port 5432"),
        ("./killed.sh", "it was killed by SIGSEGV before it was ready"),
        (
            "./wrong.sh",
            "it speaks protocol 99, this master speaks 1: restart the master, or update the worker",
        ),
        ("./mute.sh", "it did not say hello within 400ms: waiting for the database"),
        ("./chatter.sh", "it broke the worker protocol: "),
        ("./closes.sh", "it closed its socket and lives on"),
        ("./alien.sh", "the interpreter that its first line names does not exist"),
    ] {
        configure(&site, &settings(command));
        let (code, said) = refused(&site);
        assert_eq!(code, 1, "{command}: {said}");
        assert!(
            said.contains("could not reload channel \"default\"") && said.contains(says),
            "{command}: {said}"
        );
        assert!(said.contains("everything goes on as before"), "{command}: {said}");
        assert_eq!(serving(&site, "default"), old, "{command}");
        last += 1;
    }
    let report = report(&site, "default");
    assert!(report["worker_error"].is_null() && report["pool"]["degraded"] == false, "{report}");
    serves(&site);
    assert!(master.log().contains("not reloaded, everything goes on as before"));
    // Each that was tried had a number, which is not given again.
    configure(&site, &settings("./good.sh"));
    assert_eq!(reload(&site)["generation"], last + 1);
    until("nobody else to be there", || (master.workers().len() == 2).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn a_generation_whose_second_worker_fails_is_turned_back() {
    let settings = |command: &str| {
        format!(
            "[channels.default]\nstop_wait_seconds = 1\nstop_grace_seconds = 0.2\n[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 8\nmax_worker_number = 8\nmax_execute_seconds = 60\ncommand = [\"{command}\"]\nprotocol = \"wire\""
        )
    };
    let site = Site::sqlite(&settings("./good.sh"));
    program(&site, "good.sh", "echo $$ >> births");
    program(&site, "first.sh", "mkdir first 2>/dev/null || { echo 'only one of me' >&2; exit 9; }");
    let master = site.listen(&[]);
    let old = served_by(&site, "default", 8);
    // Each has a job that takes longer than the stop wait. There is room for two more workers, of which the second fails.
    site.push_lines("default", (0..8).map(|_| r#"{"job":"sleep","payload":{"ms":2500}}"#.to_owned()));
    site.until("default", "them to run", |c| c.reserved == 8);
    configure(&site, &settings("./first.sh"));
    let (code, said) = refused(&site);
    assert!(
        code == 1 && said.contains("it exited with 9 before it was ready: only one of me"),
        "{code}: {said}"
    );
    site.until("default", "the jobs", |c| c.done == 8);
    let log = master.log();
    assert!(!log.contains("interrupting them"), "a reload that fails costs no job: {log}");
    assert_eq!(served_by(&site, "default", 8), old, "those that were about to go serve again");
    let shown = report(&site, "default");
    assert!(shown["worker_error"].is_null() && shown["pool"]["reload"].is_null(), "{shown}");
    assert_eq!(lines(&site, "births").len(), 8);

    // Idle ones go as soon as one of the others is there. That one serves until the old program has taken its place again.
    std::fs::remove_dir(site.file("first")).unwrap();
    assert_eq!(refused(&site).0, 1);
    until("it to be as before", || {
        let now = serving(&site, "default");
        (now.len() == 8 && now.values().all(|generation| *generation == 1)).then_some(())
    });
    serves(&site);
    configure(&site, &settings("./good.sh"));
    assert_eq!(reload(&site)["generation"], 4);
    assert!(master.stop().success());
}
