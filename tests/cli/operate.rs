//! `queue:pause`, `queue:resume`, `queue:quiet`, `queue:scale` without a master.

use crate::fixture::{Fixture, assert_transcript};

#[test]
fn pause_is_set_shown_replaced_and_ended() {
    let mut fixture = Fixture::with_channels(&["default", "mail"]);
    fixture.run(&["queue:pause"]);
    fixture.run(&["queue:pause", "--for", "1h30m", "--all"]);
    fixture.run(&["queue:status"]);
    fixture.run(&["queue:status", "-t", "mail", "--json"]);
    fixture.run(&["queue:pause", "-t", "mail", "--json"]);
    fixture.run(&["queue:resume", "--all"]);
    fixture.run(&["queue:resume", "-t", "mail", "--json"]);
    fixture.run(&["queue:resume", "-q"]);
    assert_transcript!(fixture);
}

#[test]
fn operate_refuses_bad_options_and_missing_master() {
    let mut fixture = Fixture::with_channels(&["default", "mail"]);
    for time in ["0", "-5", "soon", "11 years"] {
        fixture.run(&["queue:pause", "--for", time]);
    }
    fixture.run(&["queue:pause", "--all", "-t", "mail"]);
    fixture.run(&["queue:pause", "-t", "male"]);
    fixture.run(&["queue:quiet"]);
    fixture.run(&["queue:quiet", "-t", "default", "-t", "mail", "--json"]);
    fixture.run(&["queue:quiet", "--all"]);
    fixture.run(&["queue:scale", "-1", "-t", "mail"]);
    fixture.run(&["queue:scale", "-t", "mail", "=2"]);
    fixture.run(&["queue:scale", "two"]);
    fixture.run(&["queue:scale", "--help"]);
    assert_transcript!(fixture);
}

#[test]
fn sync_channel_cannot_be_paused() {
    let mut fixture = Fixture::with_config("[channels.default.driver]\ntype = \"sync\"\n");
    assert_eq!(fixture.run(&["queue:pause"]).code, 2);
    assert_eq!(fixture.run(&["queue:resume"]).code, 2);
    assert_eq!(fixture.run(&["queue:pause", "--all"]).code, 2);
}

#[test]
fn partial_success_has_its_own_exit_code() {
    let mut fixture = Fixture::with_config("[channels.default]\n[channels.now.driver]\ntype = \"sync\"\n");
    for channels in [["default", "now"], ["now", "default"]] {
        let said = fixture.run(&["queue:pause", "-t", channels[0], "-t", channels[1]]);
        assert!(said.code == 1 && said.err.contains("stores no jobs"), "{}", said.err);
    }
    assert_eq!(fixture.run(&["queue:pause", "-t", "now"]).code, 2);
    assert_eq!(fixture.run(&["queue:scale", "+1", "-t", "default", "-t", "now"]).code, 3);
}
