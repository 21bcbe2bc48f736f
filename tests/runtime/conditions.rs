//! `queue:alerts --try`: a condition on the present and on the history of a channel.

use serde_json::{Value, json};

use crate::fixture::{Fixture, text, until};

const POOL: &str = "[channels.default.worker]\ntype = \"coroutine\"\n";

fn tried(fixture: &Fixture, condition: &str) -> Value {
    fixture.json(&["queue:alerts", "--try", condition, "--last", "5m"])
}

#[test]
fn condition_is_tried_on_the_present_and_on_the_history() {
    let fixture = Fixture::sqlite(POOL);
    fixture.ok(&["queue:pause"]);
    for _ in 0..3 {
        fixture.push("noop", "{}", &[]);
    }
    let master = fixture.listen(&[]);
    let now = tried(&fixture, "waiting >= 3 and paused and stuck_slots < 1");
    assert_eq!(now["now"], json!(true), "{now}");
    assert_eq!(now["values"], json!({ "waiting": 3.0, "paused": true, "stuck_slots": 0.0 }));
    assert_eq!(now["not_in_history"], json!(["stuck_slots"]));

    // Each try is a look, so the master samples every second.
    let episode = until("an episode of two seconds", || {
        let past = tried(&fixture, "waiting >= 3 and paused");
        let episode = past["episodes"][0].clone();
        (episode["seconds"].as_f64()? >= 2.0).then_some(episode)
    });
    assert!(episode["from"].as_str() < episode["to"].as_str(), "{episode}");
    let shown =
        fixture.ok(&["queue:alerts", "--try", "waiting >= 3 and paused", "--last", "5m", "--for", "1s"]);
    assert!(
        shown.starts_with("Now: true, in channel \"default\"\n  waiting  3\n  paused   true\n"),
        "{shown}"
    );
    assert!(shown.contains("\nLast 5 min: true for 1.0 s once, "), "{shown}");

    fixture.ok(&["queue:resume"]);
    fixture.until("default", "the jobs", |counts| counts.done == 3);
    let after = tried(&fixture, "waiting >= 3 or oldest_waiting > 1s");
    assert_eq!(after["now"], Value::Null, "nothing waits, so the age is unknown: {after}");
    assert_eq!(tried(&fixture, "waiting >= 3 and oldest_waiting > 1s")["now"], json!(false));
    let never = fixture.ok(&["queue:alerts", "--try", "waiting > 99", "--last", "5m"]);
    assert!(never.contains("\nLast 5 min: never true in "), "{never}");
    assert!(master.stop().success());
}

#[test]
fn mistakes_of_a_condition_and_a_missing_master_are_named() {
    let fixture = Fixture::sqlite(POOL);
    let wrong = fixture.run(&["queue:alerts", "--try", "waiting > 5 and oldest_waitng > 60"]);
    let why = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{why}");
    assert!(
        why.contains("column 17: there is no value \"oldest_waitng\": did you mean \"oldest_waiting\"?"),
        "{why}"
    );
    assert!(why.contains("\n  waiting > 5 and oldest_waitng > 60\n                  ^\n"), "{why}");
    let alone = fixture.run(&["queue:alerts", "--try", "waiting > 5"]);
    assert_eq!(alone.status.code(), Some(3), "{}", text(&alone.stderr));
}
