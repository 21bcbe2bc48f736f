//! `queue:cancel` without a master.

use crate::rig::{Rig, assert_transcript};

#[test]
fn what_is_cancelled_and_what_is_not_is_told() {
    let mut rig = Rig::new();
    let failed = rig.fail(&[("send_email", "no route to host")])[0].to_string();
    let waiting = rig.push(&["noop", "--unique", "report"]).to_string();
    let delayed = rig.push(&["noop", "--delay", "1h"]).to_string();
    rig.run(&["queue:cancel", &waiting, &delayed, &failed, "17"]);
    rig.run(&["queue:cancel", &waiting]);
    rig.run(&["queue:cancel", &waiting, "--json"]);
    rig.run(&["queue:failed"]);
    // Its key is free.
    rig.push(&["noop", "--unique", "report"]);
    rig.run(&["queue:cancel"]);
    rig.run(&["queue:cancel", "seventeen"]);
    rig.run(&["queue:cancel", "17", "--channel", "mail"]);
    assert_transcript!(rig);
}
