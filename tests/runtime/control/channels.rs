//! Several channels in one master: each is stopped, quieted, paused and scaled by itself.

use crate::fixture::{Fixture, until};

const NAMES: [&str; 5] = ["stopped", "quiet", "paused", "scaled", "other"];

#[test]
fn each_channel_is_operated_independently() {
    let pool = "type = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 3\n";
    let channels: String = NAMES.iter().map(|name| format!("[channels.{name}.worker]\n{pool}")).collect();
    let fixture = Fixture::sqlite(&channels);
    let master = fixture.listen(&["--all"]);
    let pid = master.pid();
    let mut done = NAMES.map(|_| 0);
    // One job per channel: serving channels run it, the others keep it.
    let mut round = |resting: &[&str]| {
        for (n, name) in NAMES.iter().enumerate() {
            fixture.ok(&["queue:push", "noop", "-t", name]);
            if !resting.contains(name) {
                done[n] += 1;
            }
        }
        for (name, done) in NAMES.iter().zip(done) {
            let counts = fixture.until(name, "its jobs", |c| c.done == done && c.reserved == 0);
            assert_eq!(counts.waiting > 0, resting.contains(name), "{name}: {counts:?}");
        }
    };
    round(&[]);
    fixture.ok(&["queue:quiet", "-t", "quiet"]);
    round(&["quiet"]);
    fixture.ok(&["queue:pause", "-t", "paused"]);
    round(&["quiet", "paused"]);
    fixture.ok(&["queue:scale", "=3", "-t", "scaled"]);
    round(&["quiet", "paused"]);
    fixture.ok(&["queue:stop", "-t", "stopped"]);
    round(&["quiet", "paused", "stopped"]);

    let states = |name: &str| {
        let status = fixture.json(&["queue:status", "--workers", "-t", name]);
        let counts = &status["workers"]["counts"];
        let of = |state: &str| counts[state].as_u64().unwrap_or(0);
        let workers = of("idle") + of("busy") + of("booting");
        ([&status["running"], &status["quiet"], &status["paused"]].map(|v| v.as_bool().unwrap()), workers)
    };
    until("the third worker", || (states("scaled").1 == 3).then_some(()));
    assert_eq!(
        NAMES.map(|name| states(name).0),
        [
            [false, false, false],
            [true, true, false],
            [true, false, true],
            [true, false, false],
            [true, false, false],
        ]
    );
    assert_eq!(NAMES.map(|name| states(name).1), [0, 1, 1, 3, 1]);
    assert_eq!(fixture.json(&["queue:status", "-t", "other"])["pid"], pid);

    // Each state ends by itself too.
    fixture.ok(&["queue:resume", "-t", "quiet"]);
    fixture.until("quiet", "its jobs", |c| c.waiting + c.reserved == 0);
    assert_eq!(states("paused").0, [true, false, true]);
    fixture.ok(&["queue:resume", "-t", "paused"]);
    fixture.until("paused", "its jobs", |c| c.waiting + c.reserved == 0);
    assert!(master.stop().success());
}
