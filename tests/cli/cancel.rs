//! `queue:cancel` without a master.

use crate::fixture::{Fixture, assert_transcript};

#[test]
fn cancel_reports_each_job() {
    let mut fixture = Fixture::new();
    let failed = fixture.fail(&[("send_email", "no route to host")])[0].to_string();
    let waiting = fixture.push(&["noop", "--unique", "report"]).to_string();
    let delayed = fixture.push(&["noop", "--delay", "1h"]).to_string();
    fixture.run(&["queue:cancel", &waiting, &delayed, &failed, "17"]);
    fixture.run(&["queue:cancel", &waiting]);
    fixture.run(&["queue:cancel", &waiting, "--json"]);
    fixture.run(&["queue:failed"]);
    // The unique key of the cancelled job is free.
    fixture.push(&["noop", "--unique", "report"]);
    fixture.run(&["queue:cancel"]);
    fixture.run(&["queue:cancel", "seventeen"]);
    fixture.run(&["queue:cancel", "17", "--channel", "mail"]);
    assert_transcript!(fixture);
}
