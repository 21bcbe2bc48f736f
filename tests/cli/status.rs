//! `queue:status`.

use crate::fixture::{Fixture, assert_transcript};

#[test]
fn status_table_of_an_empty_channel() {
    let mut fixture = Fixture::with_channels(&["default"]);
    fixture.run(&["queue:status"]);
    fixture.run(&["queue:status", "--json"]);
    fixture.run(&["queue:status", "--ansi"]);
    fixture.run(&["queue:status", "-q"]);
    assert_transcript!(fixture);
}

#[test]
fn status_of_named_or_all_channels() {
    let mut fixture = Fixture::with_channels(&["default", "mail", "reports"]);
    fixture.push(&["noop", "-t", "mail"]);
    fixture.run(&["queue:status", "-t", "mail", "-t", "default", "-t", "mail"]);
    fixture.run(&["queue:status", "--all", "--json"]);
    fixture.run(&["queue:status", "--all", "-t", "mail"]);
    assert_transcript!(fixture);
}

#[test]
fn unavailable_store_does_not_hide_other_channels() {
    let config = "
[channels.default]
[channels.far.driver]
type = \"redis\"
connection = { port = 1, password = \"hunter2\" }
[channels.broken.driver]
path = \".\"
";
    let mut fixture = Fixture::with_config(config);
    let said = fixture.run(&["queue:status", "--all", "--json"]);
    assert_eq!(said.code, 5);
    assert_eq!(said.out.matches("\"channel\"").count(), 1, "{}", said.out);
    assert!(said.err.contains("127.0.0.1:1"), "{}", said.err);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
    assert_eq!(fixture.run(&["queue:push", "noop", "-t", "far"]).code, 5);
    assert_eq!(fixture.run(&["queue:push", "noop", "-t", "broken"]).code, 5);
}
