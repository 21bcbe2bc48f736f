//! The target of a command: which configuration, channel, jobs and states it means, and stores that it does not create.

use std::fs;

use crate::fixture::{Fixture, holds_only};

#[test]
fn configuration_in_current_directory_is_used() {
    let mut fixture = Fixture::new();
    fixture.write("aint-queue.toml", "[channels.mail]\n");
    let said = fixture.run(&["config:check", "--json"]);
    let config: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(config["file"].as_str().unwrap().ends_with("/aint-queue.toml"), "{config}");
    assert!(config["channels"]["mail"].is_object());
    let said = fixture.run(&["queue:status", "-v"]);
    assert!(
        said.err.contains("note: configuration: ") && said.err.contains("/aint-queue.toml"),
        "{}",
        said.err
    );
    // Of two files the one in config/ is used, as before there were two places, and every command says so.
    fs::create_dir(fixture.path("config")).unwrap();
    fixture.write("config/aint-queue.toml", "[channels.post]\n");
    let said = fixture.run(&["queue:status", "--json"]);
    assert!(said.out.contains("\"channel\":\"post\""), "{}", said.out);
    let warning = "config/aint-queue.toml is used, aint-queue.toml is not";
    assert!(
        said.err.contains("warning: two configuration files are here: ") && said.err.contains(warning),
        "{}",
        said.err
    );
    let said = fixture.run(&["queue:status", "--json", "--config", "aint-queue.toml"]);
    assert!(said.out.contains("\"channel\":\"mail\"") && said.err.is_empty(), "{}", said.err);
    // A mistake in either is an error, not a reason to look further.
    fixture.write("config/aint-queue.toml", "nonsense");
    assert_eq!(fixture.run(&["queue:status"]).code, 4);
}

#[test]
fn only_declared_channel_needs_no_name() {
    let mut fixture = Fixture::with_config("[channels.mail]\n");
    fixture.push(&["noop"]);
    assert_eq!(fixture.status()["channel"], "mail");
    assert!(fixture.run(&["queue:clear", "-y"]).out.contains("from channel \"mail\""));
    let mut fixture = Fixture::with_config("[channels.mail]\n[channels.default]\n");
    assert_eq!(fixture.status()["channel"], "default");
    let mut fixture = Fixture::with_config("[channels.mail]\n[channels.post]\n");
    for args in [&["queue:push", "noop"][..], &["queue:status"], &["queue:stop"], &["queue:listen"]] {
        let said = fixture.run(args);
        assert_eq!(said.code, 2, "{args:?}: {}", said.err);
        assert!(
            said.err.contains("declares several: mail, post") && said.err.contains("--channel"),
            "{}",
            said.err
        );
    }
}

#[test]
fn commands_that_add_nothing_create_no_store() {
    let mut fixture = Fixture::new();
    for (args, code) in [
        (&["queue:status"][..], 0),
        (&["queue:status", "--json", "--workers"], 0),
        (&["queue:status", "--metrics"], 0),
        (&["queue:failed"], 0),
        (&["queue:show", "17"], 1),
        (&["queue:why"], 0),
        (&["queue:why", "17"], 1),
        (&["queue:why", "--unique", "key"], 0),
        (&["queue:cancel", "17"], 1),
        (&["queue:reload-failed", "all"], 0),
        (&["queue:reload-failed", "17"], 1),
        (&["queue:clear", "--yes"], 0),
        (&["queue:resume"], 0),
        (&["queue:run"], 0),
        (&["queue:run", "--id", "17"], 1),
        (&["queue:stop"], 3),
        (&["queue:reload"], 3),
        (&["config:check"], 0),
    ] {
        let said = fixture.run(args);
        assert_eq!(said.code, code, "{args:?}: {}{}", said.out, said.err);
        assert!(holds_only(&fixture.path("."), &[]), "{args:?}");
    }
    let shown = fixture.run(&["queue:status"]).out;
    assert!(shown.contains("aint-queue.db, not created yet: a push or queue:listen creates it"), "{shown}");
    fixture.push(&["noop"]);
    assert!(fixture.run(&["queue:status"]).out.contains("durability fsync"));
}

#[test]
fn empty_selection_reloads_no_failed_job() {
    let mut fixture = Fixture::new();
    let ids = fixture.fail(&[("noop", "x"), ("noop", "x"), ("other", "x")]);
    let said = fixture.run(&["queue:reload-failed"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("no job is named") && said.err.contains("queue:reload-failed all"),
        "{}",
        said.err
    );
    assert_eq!(fixture.run(&["queue:reload-failed", "every"]).code, 2);
    let [one, two, _] = ids.as_slice() else { panic!("three ids") };
    assert_eq!(fixture.run(&["queue:reload-failed", "all", &one.to_string()]).code, 2);
    assert_eq!(fixture.status()["failed"], 3);
    assert_eq!(fixture.run(&["queue:retry", &one.to_string(), &two.to_string()]).code, 0);
    assert_eq!(fixture.status()["failed"], 1);
    assert_eq!(fixture.run(&["queue:retry", "all"]).code, 0);
    assert_eq!(fixture.status()["failed"], 0);
}

#[test]
fn reload_and_quiet_of_no_master_fail() {
    let mut fixture = Fixture::with_channels(&["default", "mail"]);
    for command in ["queue:reload", "queue:quiet"] {
        let said = fixture.run(&[command, "--all"]);
        assert_eq!(said.code, 3);
        assert!(
            said.err.contains("no master of a declared channel is running on this machine"),
            "{}",
            said.err
        );
        let said = fixture.run(&[command, "--all", "--json"]);
        assert_eq!((said.code, said.out.as_str()), (3, "[]\n"));
    }
    // A stop without a master has the result that was asked for.
    assert_eq!(fixture.run(&["queue:stop", "--all"]).code, 0);
}

#[test]
fn clear_tells_states_from_channels() {
    let mut fixture = Fixture::with_channels(&["default", "mail"]);
    let push = |fixture: &mut Fixture| {
        for channel in ["default", "mail"] {
            fixture.push(&["noop", "-t", channel]);
            fixture.push(&["noop", "--delay", "1h", "-t", channel]);
        }
    };
    push(&mut fixture);
    let said = fixture.run(&["queue:clear", "--state", "delayed", "-y"]);
    assert_eq!(said.out, "Removed 1 delayed job from channel \"default\".\n");
    let said = fixture.run(&["queue:clear", "--all-channels", "--state", "waiting,delayed", "-y"]);
    assert_eq!(
        said.out,
        "Removed 1 waiting job from channel \"default\".\nRemoved 1 waiting and 1 delayed jobs from channel \"mail\".\n"
    );
    push(&mut fixture);
    // The former spelling keeps its meaning, one channel, and names the new one.
    let said = fixture.run(&["queue:clear", "--all", "-y"]);
    assert!(
        said.err.contains("--state waiting,delayed,failed") && said.err.contains("--all-channels"),
        "{}",
        said.err
    );
    let said = fixture.run(&["queue:clear", "-t", "default", "-t", "mail", "-y", "--json"]);
    let cleared: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&cleared[0]["cleared"]["waiting"], &cleared[1]["cleared"]["waiting"]),
        (&0.into(), &1.into())
    );
    assert_eq!(fixture.run(&["queue:clear", "--state", "done", "-y"]).code, 2);
    assert_eq!(fixture.run(&["queue:clear", "--state", "failed", "--all", "-y"]).code, 2);
}

#[test]
fn directory_without_configuration_may_be_anybodys() {
    use std::os::unix::fs::PermissionsExt;

    let mut fixture = Fixture::new();
    fs::set_permissions(fixture.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(fixture.run(&["queue:status"]).code, 0);
    assert_eq!(fixture.run(&["queue:push", "noop"]).code, 5);
    fixture.write("aint-queue.toml", "[channels.default]\n");
    assert_eq!(fixture.run(&["queue:status"]).code, 4);
    assert_eq!(fixture.run(&["queue:status", "--config", "aint-queue.toml"]).code, 0);
}

#[test]
fn configuration_that_exists_and_cannot_be_read_is_an_error() {
    use std::os::unix::fs::symlink;

    let mut fixture = Fixture::new();
    let dir = fixture.path(".");
    let mut refused = |args: &[&str], names: &str| {
        let said = fixture.run(args);
        assert!(said.code == 4 && said.err.contains(names), "{args:?}: {}", said.err);
        assert!(!dir.join("aint-queue.db").exists());
    };
    let link = dir.join("aint-queue.toml");
    symlink("releases/7/aint-queue.toml", &link).unwrap();
    let names =
        "\"aint-queue.toml\" is a symbolic link to \"releases/7/aint-queue.toml\", which does not exist";
    refused(&["queue:push", "noop"], names);
    refused(&["queue:status", "--config", "aint-queue.toml"], names);
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    refused(&["queue:push", "noop"], "it is a directory, not a file");
    fs::remove_dir(&link).unwrap();
    symlink("shared/config", dir.join("config")).unwrap();
    refused(&["queue:status"], "\"config\" is a symbolic link to \"shared/config\", which does not exist");
    fs::remove_file(dir.join("config")).unwrap();
    // A directory `config` of something else is no configuration.
    fs::create_dir(dir.join("config")).unwrap();
    assert_eq!(fixture.run(&["queue:status"]).code, 0);
}

#[test]
fn path_of_a_store_that_is_no_file_is_named() {
    let mut fixture = Fixture::with_config(
        "[channels.default]\npid_path = \"run\"\ndriver = { type = \"sqlite\", path = \"disk/queue.db\" }\n",
    );
    std::os::unix::fs::symlink("/mnt/gone", fixture.path("config/disk")).unwrap();
    for args in [&["queue:push", "noop"][..], &["queue:status"], &["queue:clear", "--yes"], &["queue:listen"]]
    {
        let said = fixture.run(args);
        let names = "disk\" is a symbolic link to \"/mnt/gone\", which does not exist: create its target";
        assert!(said.code == 5 && said.err.contains(names), "{args:?}: {} {}", said.code, said.err);
    }
    fs::remove_file(fixture.path("config/disk")).unwrap();
    fs::create_dir(fixture.path("config/disk")).unwrap();
    nix::unistd::mkfifo(&fixture.path("config/disk/queue.db"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for args in [&["queue:push", "noop"][..], &["queue:status"]] {
        let said = fixture.run(args);
        assert!(said.code == 5 && said.err.contains("a named pipe, not a regular file"), "{}", said.err);
    }
}

#[test]
fn job_of_another_channel_is_found() {
    let mut fixture = Fixture::with_channels(&["default", "mail", "reports"]);
    fixture.push(&["noop"]);
    let id = fixture.push(&["send_mail", "--channel", "mail", "--delay", "1h"]).to_string();
    let shown = fixture.run(&["queue:show", &id]);
    assert!(shown.code == 0 && shown.out.contains("channel     mail\n"), "{}{}", shown.out, shown.err);
    let why = fixture.run(&["queue:why", &id, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&why.out).unwrap();
    assert_eq!((why.code, &json["channel"], &json["reason"]), (0, &"mail".into(), &"delayed".into()));
    // A channel that was named is the one that is meant.
    for args in [
        &["queue:show", &id][..],
        &["queue:why", &id],
        &["queue:cancel", &id],
        &["queue:run", "--id", &id],
        &["queue:forget", &id],
        &["queue:retry", &id],
    ] {
        let said = fixture.run(&[args, &["--channel", "reports"]].concat());
        assert_eq!(said.code, 1, "{args:?}: {}", said.err);
        let hint = format!("another channel has job {id}: use --channel mail");
        assert!(said.err.contains(&hint), "{args:?}: {}", said.err);
    }
    // Without a named one, the job itself names its channel.
    let cancelled = fixture.run(&["queue:cancel", &id]);
    assert!(
        cancelled.code == 0 && cancelled.out.starts_with(&format!("Job {id} is cancelled")),
        "{}",
        cancelled.err
    );
    for (command, done) in [
        ("queue:retry", "Reloaded 1 job of channel"),
        ("queue:cancel", "Job "),
        ("queue:forget", "Removed 1 failed job from channel"),
    ] {
        let said = fixture.run(&[command, &id]);
        assert!(said.code == 0 && said.out.starts_with(done), "{command}: {}{}", said.out, said.err);
    }
    let none = fixture.run(&["queue:show", "17"]);
    assert!(none.code == 1 && none.err.contains("channel \"default\" has no such job"), "{}", none.err);
}

#[test]
fn jobs_of_several_channels_are_named_at_once() {
    let mut fixture = Fixture::with_channels(&["mail", "reports"]);
    let ids: Vec<_> = ["mail", "reports"]
        .iter()
        .map(|channel| fixture.push(&["noop", "--channel", channel]).to_string())
        .collect();
    let (one, two) = (ids[0].as_str(), ids[1].as_str());
    let cancelled = fixture.run(&["queue:cancel", one, two, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&cancelled.out).unwrap();
    assert_eq!((cancelled.code, json.as_array().unwrap().len()), (0, 2), "{}", cancelled.err);
    let retried = fixture.run(&["queue:retry", one, two, "--dry-run", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&retried.out).unwrap();
    assert_eq!((&json[0]["reloaded"], &json[1]["reloaded"]), (&1.into(), &1.into()), "{}", retried.err);
    let forgotten = fixture.run(&["queue:forget", one, two]);
    assert_eq!(forgotten.code, 0, "{}", forgotten.err);
    assert_eq!(forgotten.out.matches("Removed 1 failed job from channel").count(), 2, "{}", forgotten.out);
    // A job of no channel, and no channel that is meant without a name.
    let none = fixture.run(&["queue:cancel", "17"]);
    assert!(none.code == 2 && none.err.contains("declares several: mail, reports"), "{}", none.err);
}

#[test]
fn push_without_configuration_names_a_new_store() {
    let mut fixture = Fixture::new();
    let said = fixture.run(&["queue:push", "noop"]);
    assert!(
        said.err.starts_with("note: created the store \"") && said.err.contains("/aint-queue.db\""),
        "{}",
        said.err
    );
    assert_eq!(fixture.run(&["queue:push", "noop"]).err, "");
    let mut fixture = Fixture::with_config("[channels.default]\n");
    assert_eq!(fixture.run(&["queue:push", "noop"]).err, "", "the configuration names the store");
}

#[test]
fn hint_of_an_ambiguous_channel_names_the_right_option() {
    let mut fixture = Fixture::with_config("[channels.mail]\n[channels.post]\n");
    for (args, hint) in [
        (&["queue:push", "noop"][..], "hint: name one with --channel\n"),
        (&["queue:status"], "hint: name channels with --channel, or take all with --all\n"),
        (&["queue:clear", "-y"], "hint: name channels with --channel, or take all with --all-channels\n"),
        (&["queue:scale", "+1"], "hint: name channels with --channel\n"),
    ] {
        let said = fixture.run(args);
        assert!(said.err.ends_with(hint), "{args:?}: {}", said.err);
    }
}
