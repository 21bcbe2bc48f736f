//! User, niceness and resource limits of workers.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::unistd::{User, geteuid};

use crate::fixture::{Fixture, text, until};

const REPORT_SCRIPT: &str = r#"#!/bin/sh
{
  id -u; id -g; id -G
  awk '/^NoNewPrivs/ { print $2 }' /proc/self/status
  ulimit -n; ulimit -c; ulimit -t; ulimit -v; ulimit -f
  nice
  echo "$HOME $USER"
  grep -c . /dev/stdin
} > "$OUT/says"
echo opened anew > /dev/stderr
echo opened anew > /dev/stdout
"#;

fn nobody_user() -> Option<User> {
    if !geteuid().is_root() {
        eprintln!("not run: only root can start workers as another user");
        return None;
    }
    User::from_name("nobody").unwrap()
}

/// A fixture with a directory that other users may read and one that they may write.
fn shared_fixture(worker: &str) -> Fixture {
    let fixture = Fixture::sqlite(&format!(
        "[channels.default]\nmax_attempts = 1\n[channels.default.worker]\n{worker}"
    ));
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let out = fixture.file("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    fixture
}

#[test]
fn program_as_user_has_only_its_rights_and_limits() {
    let Some(nobody) = nobody_user() else { return };
    let fixture = shared_fixture(
        "type = \"process\"\ncommand = [\"./says.sh\"]\nuser = \"nobody\"\nnice = 7\nenv = { OUT = \"out\" }\n\
         limits = { open_files = 77, core_mib = 0, cpu_seconds = 33, address_space_mib = 512, file_size_mib = 5, processes = 4000 }\n",
    );
    fixture.write("says.sh", REPORT_SCRIPT);
    let master = fixture.listen(&[]);
    fixture.push("x", r#"{"a":1}"#, &[]);
    let counts = fixture.until("default", "it to end", |c| c.done + c.failed == 1);
    assert_eq!(counts.done, 1, "{}", master.log());
    let said = fs::read_to_string(fixture.file("out/says")).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        !text(&fixture.run(&["config:check"]).stderr).contains("may not"),
        "the user may start the program"
    );
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    let wanted = [
        &uid,
        &gid,
        &gid,
        "1",
        "77",
        "0",
        "33",
        "524288",
        "10240",
        "7",
        &format!("{} nobody", nobody.dir.display()),
        "1",
    ];
    assert_eq!(lines, wanted);
    until("its words", || (master.log().matches("opened anew").count() == 2).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn registered_jobs_as_user_run_and_die_with_tree() {
    let Some(nobody) = nobody_user() else { return };
    let fixture = shared_fixture(
        "type = \"process-pool\"\nmin_worker_number = 2\nuser = \"65534\"\ngroup = \"nogroup\"\n",
    );
    if !reachable_for_others(crate::fixture::BINARY) {
        eprintln!("not run: the program under test is where other users cannot reach it");
        return;
    }
    let master = fixture.listen(&[]);
    assert!(!master.log().contains("run as root"));
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "it to be done", |c| c.done == 1);
    for worker in master.workers() {
        let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        assert!(ids.split_whitespace().all(|id| id == nobody.uid.to_string()), "{ids}");
    }
    fixture.push("sleep", r#"{"ms":60000}"#, &[]);
    fixture.until("default", "it to run", |c| c.reserved == 1);
    let workers = master.workers();
    // The processes of the other user die with the master too: the guardian is root.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(master.guardian()), nix::sys::signal::SIGKILL).unwrap();
    until("all to be gone", || workers.iter().all(|pid| !alive(*pid)).then_some(()));
    assert!(master.force_stop().success());
}

fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn reachable_for_others(path: &str) -> bool {
    let on_the_way = std::path::Path::new(path).ancestors();
    on_the_way
        .filter(|p| p.parent().is_some())
        .all(|p| fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 0o001 != 0))
}

#[test]
fn paths_out_of_reach_of_user_are_reported() {
    if nobody_user().is_none() {
        return;
    }
    let fixture = shared_fixture("type = \"process\"\ncommand = [\"./says.sh\"]\nuser = \"nobody\"\n");
    fixture.write("says.sh", REPORT_SCRIPT);
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let checked = fixture.run(&["config:check"]);
    let (said, closed) = (text(&checked.stderr), fixture.path().display());
    let place = format!(
        "user \"nobody\" (channels.default.worker.user) may not enter \"{closed}\" (owner uid 0, gid 0, mode 0700)"
    );
    assert!(checked.status.success() && said.contains(&place), "{said}");
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    until("the reason", || {
        let log = master.log();
        log.contains("could not enter working directory")
            .then(|| assert!(log.contains("for user \\\"nobody\\\""), "{log}"))
    });
    assert!(master.force_stop().success());
}

#[test]
fn unknown_user_warns_producers_and_refuses_masters() {
    let fixture = Fixture::sqlite("[channels.default.worker]\ntype = \"process\"\nuser = \"no-such-user\"\n");
    let checked = fixture.run(&["config:check"]);
    let said = text(&checked.stderr);
    assert!(checked.status.success() && said.contains("aint-queue.toml:6:8"), "{said}");
    assert!(
        said.contains("channels.default.worker.user = \"no-such-user\" is not known on this machine"),
        "{said}"
    );
    assert!(fixture.run(&["queue:push", "noop"]).status.success());
    let refused = fixture.run(&["queue:listen"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("there is no user \"no-such-user\" on this machine"));
    assert!(!fixture.file("run/default-master.pid").exists());
}

#[test]
fn rlimits_apply_and_impossible_ones_are_reported() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nnice = 3\nlimits.open_files = 99\n",
    );
    let master = fixture.listen(&[]);
    if geteuid().is_root() {
        assert!(master.log().contains("workers run as root"));
    }
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "it to be done", |c| c.done == 1);
    let worker = master.workers()[0];
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().nth(3), Some("99"), "{open_files}");
    let stat = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
    assert_eq!(stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(16), Some("3"), "{stat}");
    assert!(master.stop().success());

    // More than the kernel allows.
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process\"\ncommand = [\"true\"]\nlimits.open_files = 1073741824\n",
    );
    let master = fixture.listen(&[]);
    fixture.push("x", "{}", &[]);
    until("the reason", || master.log().contains("could not set worker.limits").then_some(()));
    assert!(master.force_stop().success());
}
