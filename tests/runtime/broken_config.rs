//! Commands reach a running master whose configuration file is broken, and only the master of that file.

use std::fs;

use crate::fixture::{Fixture, SQLITE, text, until};

/// Two channels, one of which has a pool.
const CHANNELS: &str =
    "[channels.default]\n[channels.mail.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

/// Breaks the file of a fixture behind its first tables.
fn break_file(fixture: &Fixture, how: &str) {
    let file = fixture.file("aint-queue.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{good}\n{how}\n")).unwrap();
}

#[test]
fn broken_file_locks_no_command_out_of_its_master() {
    for how in
        ["[channels.default.worker]\ntype = = 3", "[channels.default]\nmax_atempts = 3", "[channels.default"]
    {
        let fixture = Fixture::sqlite(CHANNELS);
        let master = fixture.listen(&["--all"]);
        fixture.push("noop", "{}", &["--delay", "1h", "-t", "mail"]);
        let pid = master.pid();
        break_file(&fixture, how);

        let status = fixture.run(&["queue:status", "--all"]);
        let (shown, said) = (text(&status.stdout), text(&status.stderr));
        assert!(status.status.success(), "{said}");
        assert!(shown.contains(&format!("is running, pid {pid}.")), "{shown}");
        assert_eq!(shown.matches("Store: sqlite at ").count(), 2, "{shown}");
        assert!(said.contains("aint-queue.toml:"), "{said}");
        assert!(
            said.contains(&format!("recorded by master {pid} (channels \"default\" and \"mail\")")),
            "{said}"
        );
        let json = fixture.json(&["queue:status", "-t", "mail"]);
        assert_eq!((&json["delayed"], &json["pid"]), (&1.into(), &pid.into()), "{json}");

        fixture.ok(&["queue:pause", "-t", "mail"]);
        assert_eq!(fixture.json(&["queue:status", "-t", "mail"])["paused"], true);
        for command in ["queue:resume", "queue:quiet"] {
            fixture.ok(&[command, "-t", "mail"]);
        }
        fixture.ok(&["queue:scale", "+1", "-t", "mail"]);

        // Other commands need the file, and say how to reach the master.
        for command in [&["queue:push", "noop"][..], &["queue:jobs"], &["config:check"]] {
            let refused = fixture.run(command);
            let said = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(4), "{command:?}: {said}");
            assert!(said.contains(&format!("kill -TERM {pid} stops it")), "{command:?}: {said}");
            assert!(said.contains("queue:status, queue:stop, "), "{command:?}: {said}");
        }
        fixture.ok(&["queue:stop", "--all"]);
        assert!(master.wait().success());
        // Without a master there is nothing to control.
        let refused = fixture.run(&["queue:stop"]);
        assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
        assert!(!text(&refused.stderr).contains("kill"), "{}", text(&refused.stderr));
    }
}

#[test]
fn broken_file_reaches_no_master_of_another_file() {
    let fixture = Fixture::sqlite("[channels.default]\n");
    let master = fixture.listen(&[]);
    let other =
        format!("[defaults]\npid_path = \"run\"\ndriver = {SQLITE}\n[channels.default]\nmax_atempts = 3\n");
    let other = fixture.write("other.toml", &other);
    for args in [&["queue:stop"][..], &["queue:status"], &["queue:quiet"], &["queue:push", "noop"]] {
        let mut command = std::process::Command::new(crate::fixture::BINARY);
        let refused =
            command.args(args).arg("--config").arg(&other).current_dir(fixture.path()).output().unwrap();
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(4), "{args:?}: {said}");
        assert!(!said.contains(&master.pid().to_string()), "{args:?}: {said}");
    }
    let id = fixture.push("noop", "{}", &[]);
    until("the master to run a job", || (fixture.counts("default").done == 1).then_some(id));
    assert!(master.stop().success());
}
