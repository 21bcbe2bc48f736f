//! `queue:scale`.

use crate::fixture::{Fixture, text, until};

const CHANNELS: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 4\ncool_down_seconds = 0\nflex_interval = 0.1\n\
[channels.fixed.worker]\ntype = \"process-pool\"\ndynamic_mode = false\nmin_worker_number = 2\nmax_worker_number = 3\n\
[channels.process.worker]\ntype = \"process\"\n[channels.coroutine.worker]\ntype = \"coroutine\"\n\
[channels.exec.worker]\ntype = \"process-pool\"\ncommand = [\"true\"]\nprotocol = \"exec\"\n";

fn serving(fixture: &Fixture, channel: &str) -> usize {
    let counts = &fixture.json(&["queue:status", "--workers", "-t", channel])["workers"]["counts"];
    ["idle", "busy"].iter().map(|state| counts[state].as_u64().unwrap()).sum::<u64>() as usize
}

fn until_serving(fixture: &Fixture, channel: &str, wanted: usize) {
    until(&format!("{wanted} workers"), || (serving(fixture, channel) == wanted).then_some(()));
}

#[test]
fn scale_sets_minimum_between_zero_and_maximum() {
    let fixture = Fixture::sqlite(CHANNELS);
    let master = fixture.listen(&["--all"]);
    until_serving(&fixture, "default", 1);
    let said = fixture.ok(&["queue:scale", "+2"]);
    assert_eq!(
        said,
        "Channel \"default\" now has at least 3 workers (was 1); the configuration allows 1 to 4.\n"
    );
    until_serving(&fixture, "default", 3);
    assert!(fixture.ok(&["queue:status", "--workers"]).contains("by hand"));
    fixture.ok(&["queue:scale", "-1"]);
    until_serving(&fixture, "default", 2);
    let said = fixture.json(&["queue:scale", "=1000", "-t", "default"]);
    let keys = ["fewest", "before", "min", "max"].map(|key| said[0][key].as_u64().unwrap());
    assert_eq!((keys, &said[0]["clamped"]), ([4, 2, 1, 4], &true.into()));
    until_serving(&fixture, "default", 4);
    fixture.ok(&["queue:scale", "0"]);
    until_serving(&fixture, "default", 0);
    // The manual minimum is a lower bound: the pool still grows with work.
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "it to be done", |c| c.done == 1);

    until_serving(&fixture, "fixed", 2);
    let said = fixture.ok(&["queue:scale", "-t", "fixed", "+9"]);
    assert!(said.starts_with(
        "Channel \"fixed\" now has 3 workers (was 2); the configuration allows 2 to 3. The maximum is"
    ));
    until_serving(&fixture, "fixed", 3);
    fixture.ok(&["queue:scale", "-2", "-t", "fixed"]);
    until_serving(&fixture, "fixed", 1);
    assert!(master.stop().success());
}

#[test]
fn scale_reports_channels_that_cannot_scale() {
    let fixture = Fixture::sqlite(CHANNELS);
    let master = fixture.listen(&["--all"]);
    for (channel, why) in [
        ("process", "exactly one serving worker"),
        ("coroutine", "exactly one serving worker"),
        ("exec", "started once per job"),
    ] {
        let output = fixture.run(&["queue:scale", "+1", "-t", channel]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("could not scale channel \"{channel}\": the master refused: ")),
            "{said}"
        );
        assert!(said.contains(why), "{said}");
    }
    // A channel that cannot be scaled does not affect the others.
    let output = fixture.run(&["queue:scale", "+1", "-t", "process", "-t", "default"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("Channel \"default\" now has at least 2 workers"));
    assert!(master.stop().success());
    let output = fixture.run(&["queue:scale", "+1"]);
    assert_eq!(output.status.code(), Some(3));
    for wrong in ["one", "+", "=-1", "1.5", "--1"] {
        let output = fixture.run(&["queue:scale", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", text(&output.stderr));
    }
}

#[test]
fn scale_survives_reexec() {
    // A memory limit below the need of a master with this many channels.
    let mut config = format!("memory_limit = 16\n{CHANNELS}");
    for i in 0..25 {
        config.push_str(&format!("[channels.c{i}.worker]\ntype = \"process\"\ncommand = [\"true\"]\n"));
    }
    let fixture = Fixture::sqlite(&config);
    let master = fixture.listen(&["--all"]);
    fixture.ok(&["queue:scale", "=3", "-t", "default"]);
    fixture.ok(&["queue:scale", "=1", "-t", "fixed"]);
    until("the re-exec", || (master.log().matches("\"message\":\"listening\"").count() == 2).then_some(()));
    until_serving(&fixture, "default", 3);
    until_serving(&fixture, "fixed", 1);
    assert!(fixture.ok(&["queue:status", "--workers"]).contains("by hand"));
    let said = fixture.ok(&["queue:scale", "=1"]);
    assert_eq!(
        said,
        "Channel \"default\" now has at least 1 worker (was 3); the configuration allows 1 to 4.\n"
    );
    assert!(master.stop().success());
}
