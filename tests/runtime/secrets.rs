//! Secrets of the master: its environment, its memory, and the destinations that jobs may push into.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;

use nix::unistd::{Uid, geteuid};

use crate::fixture::{Fixture, Master, children, text, until};

/// A token long enough to be no warning.
const TOKEN: &str = "hunter2-hunter2-hunter2";

fn listen_with_secret(fixture: &Fixture, args: &[&str]) -> Master {
    let mut command = fixture.listen_command(args);
    command.env("SHOP_TOKEN", TOKEN).env("SHOP_NAME", "corner").env("OTHER", "kept");
    command
        .env("CREDENTIALS_DIRECTORY", "/run/credentials/shop")
        .env("LISTEN_PIDFDID", "7")
        .env("FDSTORE", "1");
    fixture.listening(command)
}

/// Runs a job of the channel, whose program writes its environment to a file of its name.
fn env_of(fixture: &Fixture, channel: &str) -> String {
    fixture.push("x", "{}", &["-t", channel]);
    fixture.until(channel, "the job", |counts| counts.done == 1);
    fs::read_to_string(fixture.file(&format!("{channel}.env"))).unwrap()
}

fn log_lines(master: &Master, part: &str) -> Vec<String> {
    master.log().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

#[test]
fn workers_inherit_no_secret_unless_named() {
    let channel = |name: &str, worker: &str| {
        format!(
            "[channels.{name}.worker]\ncommand = [\"sh\", \"-c\", \"env > {name}.env\"]\n{worker}\n\
             [channels.{name}.job_snapshot]\ninterval = 1\n\
             handler = [{{ type = \"command\", command = [\"sh\", \"-c\", \"env > {name}.tmp; mv {name}.tmp {name}.snapshot\"] }}]\n"
        )
    };
    let fixture = Fixture::sqlite(
        &[
            "[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"${SHOP_TOKEN:-hunter1-hunter1-hunter1}\"\nhosts = [\"${SHOP_NAME:-a}.example\"]\n"
                .to_owned(),
            channel("standard", ""),
            channel("given", "env = { SHOP_TOKEN = \"${SHOP_TOKEN:-none}\" }"),
            channel("all", "inherit_env = true"),
            channel("none", "inherit_env = false"),
            channel("some", "inherit_env = [\"SHOP_T*\"]"),
        ]
        .concat(),
    );
    let master = listen_with_secret(&fixture, &["--all"]);
    for (channel, token, name, other) in [
        ("standard", false, false, true),
        ("given", true, false, true),
        ("all", true, true, true),
        ("none", false, false, false),
        ("some", true, false, false),
    ] {
        let env = env_of(&fixture, channel);
        let found = [TOKEN, "SHOP_NAME=corner", "OTHER=kept", "PATH="].map(|part| env.contains(part));
        assert_eq!(found, [token, name, other, true], "{channel}: {env}");
        assert_eq!(env.contains("CREDENTIALS_DIRECTORY"), channel == "all", "{channel}: {env}");
        assert!(!env.contains("LISTEN_PIDFDID") && !env.contains("FDSTORE"), "{channel}: {env}");
        let snapshot =
            until("the snapshot", || fs::read_to_string(fixture.file(&format!("{channel}.snapshot"))).ok());
        // A snapshot program does not get worker.env.
        let token = token && channel != "given";
        let found = [TOKEN, "SHOP_NAME=corner", "OTHER=kept"].map(|part| snapshot.contains(part));
        assert_eq!(found, [token, name, other], "snapshot of {channel}: {snapshot}");
    }
    let said = log_lines(&master, "withheld from workers");
    assert_eq!(said.len(), 1, "{said:?}");
    for part in [
        "\"variables\":\"CREDENTIALS_DIRECTORY, SHOP_NAME, SHOP_TOKEN\"",
        "\"channels\":\"given, standard\"",
        "worker.inherit_env",
    ] {
        assert!(said[0].contains(part), "{} lacks {part}", said[0]);
    }
    assert!(!said[0].contains("hunter2"));
    assert!(master.stop().success());
}

#[test]
fn reload_applies_inherit_env() {
    let fixture = Fixture::sqlite("");
    let config = |inherit: &str| {
        format!(
            "[defaults]\npid_path = \"run\"\ndriver = {{ type = \"sqlite\", path = \"${{SHOP_TOKEN:-queue}}.db\" }}\n\
             [channels.default.worker]\ncommand = [\"sh\", \"-c\", \"env > default.env\"]\n{inherit}\n"
        )
    };
    fixture.write("aint-queue.toml", &config(""));
    let with_secret = |args: &[&str]| {
        let output = fixture.command(args).env("SHOP_TOKEN", TOKEN).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let master = listen_with_secret(&fixture, &[]);
    let env_of_next_job = || {
        let env = fixture.file("default.env");
        let _ = fs::remove_file(&env);
        with_secret(&["queue:push", "x"]);
        until("the job", || fs::read_to_string(&env).ok().filter(|env| env.contains("PATH=")))
    };
    assert!(!env_of_next_job().contains(TOKEN));
    fixture.write("aint-queue.toml", &config("inherit_env = [\"SHOP_TOKEN\"]"));
    with_secret(&["queue:reload"]);
    assert!(env_of_next_job().contains(TOKEN));
    assert!(master.stop().success());
}

#[test]
fn worker_cannot_read_the_masters_environment() {
    // A worker of the same user as the master; root may read every process.
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ncommand = [\"./spy.sh\"]\nenv = { OUT = \"out/said\" }\n\
         [channels.hook.worker]\ntype = \"coroutine\"\nurl = \"http://127.0.0.1:9/\"\nallow_http = true\nallow_private = true\n\
         secret = \"${HOOK_SECRET:-whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u}\"\n",
    );
    fixture.write(
        "spy.sh",
        "#!/bin/sh\nfor pid in $(cat out/pids); do\n\
         cat /proc/$pid/environ 2>> $OUT.new >&2\nreadlink /proc/$pid/cwd >> $OUT.new 2>&1\ndone\nmv $OUT.new $OUT\n",
    );
    let out = fixture.file("out");
    fs::create_dir(&out).unwrap();
    let mut command = fixture.listen_command(&["--all"]);
    command.env("SHOP_TOKEN", TOKEN).env("HOOK_SECRET", "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==");
    let nobody = 65_534;
    if geteuid().is_root() {
        // The master trusts only directories of its own user.
        for own in [fixture.path(), &out] {
            chown(own, Some(nobody), Some(nobody)).unwrap();
        }
        command.uid(nobody).gid(nobody);
    }
    let master = fixture.listening(command);
    let webhook = until("the webhook worker", || {
        let command = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).map(|line| text(&line));
        children(master.guardian())
            .into_iter()
            .find(|pid| command(pid).is_ok_and(|line| line.contains("__webhook")))
    });
    let pids = [master.pid(), master.guardian(), webhook];
    fixture.write("out/pids", &pids.map(|pid| pid.to_string()).join("\n"));
    let push = || {
        let mut push = fixture.command(&["queue:push", "x", "-t", "default"]);
        if geteuid().is_root() {
            push.uid(nobody).gid(nobody);
        }
        push.status().unwrap()
    };
    assert!(push().success());
    let said = until("the spy", || fs::read_to_string(out.join("said")).ok());
    assert!(!said.contains("hunter2") && !said.contains("aHVudGVy"), "{said}");
    assert_eq!(said.matches("environ: Permission denied").count(), pids.len(), "{said}");
    assert!(Uid::current().is_root() || master.stop().success());
}

#[test]
fn job_pushes_only_where_may_push_allows() {
    let fixture = Fixture::sqlite(
        "[channels.closed.worker]\ncommand = [\"./pusher.py\"]\nprotocol = \"wire\"\nmay_push = [\"open\"]\n\
         [channels.open]\n",
    );
    fixture.write(
        "pusher.py",
        r#"#!/usr/bin/env python3
import json, os
wire = os.fdopen(int(os.environ["AINT_QUEUE_FD"]), "r+b", buffering=0)
def send(frame): wire.write((json.dumps(frame) + "\n").encode())
send({"type": "hello", "protocol": 1})
frames = iter(lambda: json.loads(wire.readline()), None)
run = next(frame for frame in frames if frame["type"] == "run")
answers = []
for ask, channel in enumerate([None, "closed", "open"], 1):
    push = {"type": "push", "run": run["run"], "ask": ask, "jobs": [{"job": "y", "payload": {}}]}
    send(push if channel is None else {**push, "channel": channel})
    answers.append(next(frame for frame in frames if frame["type"] == "answer"))
open("answers.tmp", "w").write(json.dumps(answers))
os.rename("answers.tmp", "answers")
send({"type": "done", "run": run["run"]})
wire.readline()
"#,
    );
    let master = fixture.listen(&["-t", "closed"]);
    fixture.push("x", "{}", &["-t", "closed"]);
    let said = until("the answers", || fs::read_to_string(fixture.file("answers")).ok());
    assert_eq!(said.matches("name it in channels.closed.worker.may_push").count(), 2, "{said}");
    assert_eq!(fixture.until("closed", "the job", |counts| counts.done == 1).total, 1);
    assert_eq!(fixture.counts("open").waiting, 1);
    assert!(master.stop().success());
}
