//! `queue:pause`, `queue:resume`, `queue:quiet`, `queue:scale` without a master.

use crate::rig::{Rig, assert_transcript};

#[test]
fn a_pause_is_set_shown_replaced_and_ended() {
    let mut rig = Rig::with_channels(&["default", "mail"]);
    rig.run(&["queue:pause"]);
    rig.run(&["queue:pause", "--for", "1h30m", "--all"]);
    rig.run(&["queue:status"]);
    rig.run(&["queue:status", "-t", "mail", "--json"]);
    rig.run(&["queue:pause", "-t", "mail", "--json"]);
    rig.run(&["queue:resume", "--all"]);
    rig.run(&["queue:resume", "-t", "mail", "--json"]);
    rig.run(&["queue:resume", "-q"]);
    assert_transcript!(rig);
}

#[test]
fn what_makes_no_sense_is_refused_and_what_needs_a_master_says_so() {
    let mut rig = Rig::with_channels(&["default", "mail"]);
    for time in ["0", "-5", "soon", "11 years"] {
        rig.run(&["queue:pause", "--for", time]);
    }
    rig.run(&["queue:pause", "--all", "-t", "mail"]);
    rig.run(&["queue:pause", "-t", "male"]);
    rig.run(&["queue:quiet"]);
    rig.run(&["queue:quiet", "-t", "default", "-t", "mail", "--json"]);
    rig.run(&["queue:quiet", "--all"]);
    rig.run(&["queue:scale", "-1", "-t", "mail"]);
    rig.run(&["queue:scale", "-t", "mail", "=2"]);
    rig.run(&["queue:scale", "two"]);
    rig.run(&["queue:scale", "--help"]);
    assert_transcript!(rig);
}

#[test]
fn a_channel_that_keeps_nothing_cannot_be_paused() {
    let mut rig = Rig::with_config("[channels.default.driver]\ntype = \"sync\"\n");
    assert_eq!(rig.run(&["queue:pause"]).code, 2);
    assert_eq!(rig.run(&["queue:resume"]).code, 2);
    assert_eq!(rig.run(&["queue:pause", "--all"]).code, 2);
}

#[test]
fn what_is_done_only_in_part_has_a_code_of_its_own() {
    let mut rig = Rig::with_config("[channels.default]\n[channels.now.driver]\ntype = \"sync\"\n");
    for channels in [["default", "now"], ["now", "default"]] {
        let said = rig.run(&["queue:pause", "-t", channels[0], "-t", channels[1]]);
        assert!(said.code == 1 && said.err.contains("keeps nothing"), "{}", said.err);
    }
    assert_eq!(rig.run(&["queue:pause", "-t", "now"]).code, 2);
    assert_eq!(rig.run(&["queue:scale", "+1", "-t", "default", "-t", "now"]).code, 3);
}
