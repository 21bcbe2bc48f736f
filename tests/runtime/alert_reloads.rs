//! Reloads and alerts: nothing is repeated, and nothing goes to another receiver.

use std::fs;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::alerts::{let_evaluate, master_is_watching};
use crate::fixture::{Fixture, SQLITE, text, until};
use crate::receiver::{CannedResponse, Receiver, status};

const SOON: &str = "[alerts]\nevaluate_every = 1\ngroup_wait = 0\ngroup_interval = 1\n";

fn replace(fixture: &Fixture, from: &str, to: &str) {
    let text = fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    assert!(text.contains(from), "{text}");
    fixture.write("aint-queue.toml", &text.replace(from, to));
}

#[test]
fn reload_repeats_no_message_that_is_on_its_way() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let hook = Receiver::start(move |_| CannedResponse::Held(Arc::clone(&held)));
    let receiver =
        format!("receivers.hook = {{ type = \"webhook\", url = \"http://127.0.0.1:{}/x\" }}\n", hook.port());
    let rule =
        "[channels.default]\n[[channels.default.alerts.rule]]\nname = \"pile\"\nwhen = \"waiting > 2\"\n";
    let fixture = Fixture::new(SQLITE, &format!("{rule}{SOON}{receiver}"));
    fixture.ok(&["queue:pause"]);
    let master = fixture.listen(&[]);
    for _ in 0..3 {
        fixture.push("noop", "{}", &[]);
    }
    until("the request", || (hook.requests().len() == 1).then_some(()));
    let conditions = || -> Vec<String> {
        let listed = fixture.json(&["queue:alerts", "--channel", "default"]);
        let text = |alert: &Value| alert["condition"].as_str().unwrap().to_owned();
        listed["alerts"].as_array().unwrap().iter().map(text).collect()
    };
    replace(&fixture, "waiting > 2", "waiting > 1");
    fixture.ok(&["queue:reload"]);
    until("the new rule", || (conditions() == ["waiting > 1"]).then_some(()));
    gate.close();
    until("the record of the message", || {
        fixture.ok(&["queue:alerts"]).contains("Receiver hook: took a message").then_some(())
    });
    let_evaluate(&fixture, 2);
    assert_eq!(hook.requests().len(), 1);
    fixture.ok(&["queue:resume"]);
    until("the end", || (hook.requests().len() == 2).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn changed_handlers_send_no_alert_to_another_receiver() {
    let (a, b) = (Receiver::start(|_| status(200)), Receiver::start(|_| status(200)));
    let handler = |server: &Receiver, when: &str| {
        format!("{{ type = \"webhook\", url = \"http://127.0.0.1:{}/x\", when = \"{when}\" }}", server.port())
    };
    let list = |handlers: &[String]| format!("job_snapshot.handler = [{}]\n", handlers.join(", "));
    let both = list(&[handler(&a, "failed > 100"), handler(&b, "failed > 100")]);
    let fixture = Fixture::new(SQLITE, &format!("[channels.default]\n{both}{SOON}"));
    fixture.ok(&["queue:pause"]);
    let master = fixture.listen(&[]);
    until("the watch", || master_is_watching(&fixture));
    // Without the first handler, the second one is the first of its type.
    let one = list(&[handler(&b, "waiting > 2")]);
    replace(&fixture, &both, &one);
    let reloaded = fixture.run(&["queue:reload"]);
    let said = text(&reloaded.stdout) + &text(&reloaded.stderr);
    assert!(said.contains("channels.default.job_snapshot.handler with when"), "{said}");
    for _ in 0..3 {
        fixture.push("noop", "{}", &[]);
    }
    until("the message", || (b.requests().len() == 1).then_some(()));
    // With a new one before it, it is the second.
    let two = list(&[handler(&a, "failed > 100"), handler(&b, "waiting > 2")]);
    replace(&fixture, &one, &two);
    fixture.ok(&["queue:reload"]);
    fixture.ok(&["queue:resume"]);
    until("the end", || (b.requests().len() == 2).then_some(()));
    assert_eq!(a.requests().len(), 0);
    assert!(master.stop().success());
}

#[test]
fn mistaken_rules_are_refused_and_the_old_ones_stay() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("a");
    let good = "when = \"waiting > 2\"";
    let team = format!("receivers.team = {{ type = \"file\", path = {:?} }}\n", file.to_str().unwrap());
    let rule = format!("[channels.default]\n[[channels.default.alerts.rule]]\nname = \"pile\"\n{good}\n");
    let fixture = Fixture::new(SQLITE, &format!("{rule}{SOON}{team}"));
    let master = fixture.listen(&[]);
    let brackets = format!("{}waiting > 2{}", "(".repeat(500), ")".repeat(500));
    let too_long = format!("{}waiting > 2{}", "(".repeat(600), ")".repeat(600));
    let deep = format!("{}waiting > 2{}", "(".repeat(20), ")".repeat(20));
    for (wrong, said) in [
        (format!("when = \"{brackets}\""), "when is no condition, column 129 of it: "),
        (format!("when = \"{too_long}\""), "a condition has at most 1024 bytes"),
        (format!("when = \"{deep}\""), "column 18 of it: a condition is nested at most 16 deep"),
        ("when = \"wating > 2\"".to_owned(), "did you mean"),
        (format!("{good}\nsummary = \"{{{{ waiting\""), "summary is refused: "),
        (format!("{good}\nsummary = \"{{{{ wating }}}}\""), "did you mean"),
    ] {
        replace(&fixture, good, &wrong);
        let checked = fixture.run(&["config:check"]);
        let printed = text(&checked.stdout) + &text(&checked.stderr);
        assert_eq!(checked.status.code(), Some(4), "{wrong}: {printed}");
        assert_eq!(printed.matches(said).count(), 1, "{wrong}: {printed}");
        assert!(printed.len() < 3_000, "{wrong}: {printed}");
        let reloaded = fixture.run(&["queue:reload"]);
        assert!(!reloaded.status.success() && text(&reloaded.stderr).contains(said), "{wrong}: {reloaded:?}");
        replace(&fixture, &wrong, good);
    }
    let tried = fixture.run(&["queue:alerts", "--try", &brackets]);
    assert_eq!(tried.status.code(), Some(2), "{tried:?}");
    // Jobs run, and the rule of the start is in force.
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "the job", |counts| counts.done == 1);
    fixture.ok(&["queue:pause"]);
    for _ in 0..3 {
        fixture.push("noop", "{}", &[]);
    }
    until("the message", || fs::read_to_string(&file).unwrap_or_default().contains("pile").then_some(()));
    assert!(master.stop().success());
}
