//! `queue:status --check` without a result: unknown, and nothing else.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, SQLITE, text, until};
use crate::permissions::{as_user, shared};

/// Asserts that a check is unknown, for a reason that contains `why`.
fn assert_unknown(checked: &Output, why: &str) {
    let printed = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(3), "{checked:?}");
    assert!(printed.starts_with("AINT-QUEUE UNKNOWN - ") && printed.contains(why), "{why}: {printed}");
}

#[test]
fn check_of_a_wrong_command_line_is_unknown() {
    let fixture = Fixture::new(SQLITE, "[channels.default]\n");
    for args in [&["queue:status", "--check", "--bogus"][..], &["queue:status", "--check", "-t", "nothing"]] {
        assert_eq!(fixture.run(args).status.code(), Some(3), "{args:?}");
    }
    fixture.write("aint-queue.toml", "[channels\n");
    let broken = fixture.run(&["queue:status", "--check"]);
    assert_eq!(broken.status.code(), Some(3), "{broken:?}");
    assert!(text(&broken.stdout).starts_with("AINT-QUEUE UNKNOWN - "), "{broken:?}");
}

#[test]
fn check_without_the_right_to_read_is_unknown() {
    let Some(fixture) = shared() else { return };
    fixture.push("noop", "{}", &[]);
    let (code, printed) = as_user(&fixture, &["queue:status", "--check"]);
    assert_eq!(code, 3, "{printed}");
    assert!(printed.starts_with("AINT-QUEUE UNKNOWN - ") && printed.contains("may not read"), "{printed}");
    let file = fixture.file("aint-queue.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, printed) = as_user(&fixture, &["queue:status", "--check"]);
    assert_eq!(code, 3, "{printed}");
    assert!(printed.starts_with("AINT-QUEUE UNKNOWN - ") && printed.contains("may not read"), "{printed}");
}

#[test]
fn check_that_gets_no_answer_is_unknown_after_5_s() {
    // The system completes connections, and nothing reads from them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let driver = format!(
        "{{ type = \"redis\", connection = {{ host = \"127.0.0.1\", port = {port}, read_write_timeout = 60 }} }}"
    );
    let fixture = Fixture::new(&driver, "[channels.default]\n");
    let begun = Instant::now();
    assert_unknown(&fixture.run(&["queue:status", "--check"]), "no answer within 5 s");
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn check_of_rules_that_no_master_evaluates_is_unknown() {
    let fixture = Fixture::new(SQLITE, "[channels.default]\n");
    let master = fixture.listen(&[]);
    let checked = fixture.run(&["queue:status", "--check"]);
    assert_eq!(checked.status.code(), Some(0), "no rules: {checked:?}");
    // The running master knows nothing of the receiver, so that it has no values for its rules.
    fixture.write(
        "aint-queue.toml",
        &(fs::read_to_string(fixture.file("aint-queue.toml")).unwrap()
            + "\n[alerts]\nevaluate_every = 1\nreceivers.team = { type = \"log\" }\n"),
    );
    assert_unknown(&fixture.run(&["queue:status", "--check"]), "no master evaluates the rules of alerts");
    assert!(master.stop().success());
    let master = fixture.listen(&[]);
    until("the watch", || crate::alerts::master_is_watching(&fixture));
    assert_eq!(fixture.run(&["queue:status", "--check"]).status.code(), Some(0));
    assert!(master.stop().success());
}
