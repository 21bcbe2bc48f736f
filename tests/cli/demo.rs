//! The demo, as it is without a terminal.

use crate::rig::Rig;

#[test]
fn the_demo_accounts_for_every_job_and_fits_a_narrow_terminal() {
    let mut rig = Rig::new();
    let said = rig.run(&["demo"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for text in
        ["default-queue (process-pool)", "mail-queue (coroutine)", "reports-queue (process)", "poison"]
    {
        assert!(said.out.contains(text), "no {text} in {}", said.out);
    }
    for line in said.out.lines().chain(said.err.lines()) {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    assert!(crate::rig::holds_only(&rig.path("."), &[]), "the store of the demo is elsewhere");
}
