//! `queue:status`.

use crate::rig::{Rig, assert_transcript};

#[test]
fn a_fresh_channel_has_the_table_users_know() {
    let mut rig = Rig::with_channels(&["default"]);
    rig.run(&["queue:status"]);
    rig.run(&["queue:status", "--json"]);
    rig.run(&["queue:status", "--ansi"]);
    rig.run(&["queue:status", "-q"]);
    assert_transcript!(rig);
}

#[test]
fn several_channels_are_named_or_all() {
    let mut rig = Rig::with_channels(&["default", "mail", "reports"]);
    rig.push(&["noop", "-t", "mail"]);
    rig.run(&["queue:status", "-t", "mail", "-t", "default", "-t", "mail"]);
    rig.run(&["queue:status", "--all", "--json"]);
    rig.run(&["queue:status", "--all", "-t", "mail"]);
    assert_transcript!(rig);
}

#[test]
fn a_store_that_is_not_available_does_not_hide_the_others() {
    let config = "
[channels.default]
[channels.far.driver]
type = \"redis\"
connection = { port = 1, password = \"hunter2\" }
[channels.broken.driver]
path = \".\"
";
    let mut rig = Rig::with_config(config);
    let said = rig.run(&["queue:status", "--all", "--json"]);
    assert_eq!(said.code, 5);
    assert_eq!(said.out.matches("\"channel\"").count(), 1, "{}", said.out);
    assert!(said.err.contains("127.0.0.1:1"), "{}", said.err);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
    assert_eq!(rig.run(&["queue:push", "noop", "-t", "far"]).code, 5);
    assert_eq!(rig.run(&["queue:push", "noop", "-t", "broken"]).code, 5);
}
