//! Alerts of running masters: sent once, by one of them, also across restarts, kills and hand-overs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixture::{Fixture, SQLITE, until};
use crate::receiver::{CannedResponse, Receiver};
use crate::redis::Server;

/// A channel with one rule of its own, and a receiver that writes lines into a file. Messages come as soon as they may.
fn config(file: &Path, rule: &str) -> String {
    format!(
        "[channels.default]\n[[channels.default.alerts.rule]]\n{rule}\n[alerts]\nevaluate_every = 1\ngroup_wait = 0\n\
         group_interval = 1\n[alerts.receivers]\nteam = {{ type = \"file\", path = {:?} }}\n",
        file.to_str().unwrap()
    )
}

const BACKLOG: &str = "name = \"pile\"\nwhen = \"waiting > 2\"";

/// The messages in a file: the statuses of the alerts of `rule`.
fn statuses(file: &Path, rule: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let messages = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let alerts = messages.flat_map(|message| message["alerts"].as_array().unwrap().clone());
    let its = alerts.filter(|alert| alert["rule"] == rule);
    its.map(|alert| alert["status"].as_str().unwrap().to_owned()).collect()
}

fn until_statuses(files: &[&PathBuf], wanted: &[&str]) {
    until(&format!("the messages {wanted:?}"), || {
        let found: Vec<_> = files.iter().flat_map(|file| statuses(file, "pile")).collect();
        assert!(found.len() <= wanted.len(), "{found:?}");
        (found == wanted).then_some(())
    });
}

/// The alerts in `queue:alerts`: rule and state.
fn shown(fixture: &Fixture) -> Vec<(String, String)> {
    let listed = fixture.json(&["queue:alerts", "--channel", "default"]);
    let text = |alert: &Value, key: &str| alert[key].as_str().unwrap().to_owned();
    listed["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| (text(alert, "rule"), text(alert, "state")))
        .collect()
}

/// Lets the rules be evaluated some times: what must not be sent has no event to wait for.
pub fn let_evaluate(fixture: &Fixture, times: u64) {
    until("the watch", || master_is_watching(fixture));
    std::thread::sleep(std::time::Duration::from_secs(times));
}

#[test]
fn restart_repeats_no_message_and_forgets_no_end() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("a");
    let fixture = Fixture::new(SQLITE, &config(&file, BACKLOG));
    fixture.ok(&["queue:pause"]);
    let master = fixture.listen(&[]);
    for _ in 0..3 {
        fixture.push("noop", "{}", &[]);
    }
    until_statuses(&[&file], &["firing"]);
    assert_eq!(shown(&fixture), [("pile".to_owned(), "firing".to_owned())]);
    until("the metrics", || {
        let metrics = fixture.ok(&["queue:status", "--metrics"]);
        [
            r#"aint_queue_alerts{channel="default",rule="pile",severity="warning",state="firing"} 1"#,
            r#"aint_queue_alerts{channel="default",rule="slow",severity="warning",state="pending"} 0"#,
            r#"aint_queue_alert_messages_total{receiver="team",result="sent"} 1"#,
            r#"aint_queue_alert_messages_total{receiver="team",result="dropped"} 0"#,
        ]
        .iter()
        .all(|line| metrics.contains(line))
        .then_some(())
    });
    let listed = fixture.ok(&["queue:alerts"]);
    assert!(listed.contains("waiting 3") && listed.contains("Receiver team: took a message"), "{listed}");
    let checked = fixture.run(&["queue:status", "--check"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(
        crate::fixture::text(&checked.stdout).starts_with("AINT-QUEUE WARNING - default: alert pile fires")
    );

    assert!(master.stop().success());
    let checked = fixture.run(&["queue:status", "--check"]);
    assert_eq!(checked.status.code(), Some(2), "no master: {checked:?}");
    let master = fixture.listen(&[]);
    let_evaluate(&fixture, 3);
    until_statuses(&[&file], &["firing"]);
    fixture.ok(&["queue:resume"]);
    until_statuses(&[&file], &["firing", "resolved"]);
    assert_eq!(shown(&fixture), []);
    assert!(fixture.ok(&["queue:alerts"]).contains("pile, after "));
    assert_eq!(fixture.run(&["queue:status", "--check"]).status.code(), Some(0));
    assert!(master.stop().success());
}

pub fn master_is_watching(fixture: &Fixture) -> Option<()> {
    fixture.json(&["queue:alerts", "--channel", "default"])["watched_by"].as_str().map(|_| ())
}

#[test]
fn other_master_sends_the_end_after_a_kill() {
    let server = Server::start();
    let driver = crate::drain::redis_line(&server);
    let files = tempfile::tempdir().unwrap();
    let (a, b) = (files.path().join("a"), files.path().join("b"));
    let (one, two) =
        (Fixture::new(&driver, &config(&a, BACKLOG)), Fixture::new(&driver, &config(&b, BACKLOG)));
    one.ok(&["queue:pause"]);
    let first = one.listen(&[]);
    until("the watch of the first master", || master_is_watching(&one));
    let second = two.listen(&[]);
    for _ in 0..3 {
        one.push("noop", "{}", &[]);
    }
    until_statuses(&[&a, &b], &["firing"]);
    assert_eq!(statuses(&a, "pile").len(), 1, "the holder of the watch has sent");

    // A silence given on one host holds on all.
    one.ok(&["queue:alerts", "--silence", "pile", "1h", "--comment", "known"]);
    assert!(two.ok(&["queue:alerts"]).contains("known"));
    first.kill();
    until("the watch of the second master", || {
        second.log().contains("alerts watched by this master now").then_some(())
    });
    two.ok(&["queue:resume"]);
    two.until("default", "the jobs", |counts| counts.done == 3);
    let_evaluate(&two, 2);
    until_statuses(&[&a, &b], &["firing"]);
    two.ok(&["queue:alerts", "--unsilence", "pile"]);
    until_statuses(&[&a, &b], &["firing", "resolved"]);
    assert_eq!(statuses(&b, "pile"), ["resolved"]);
    assert!(second.stop().success());
}

#[test]
fn failures_of_another_master_fire_an_alert() {
    let server = Server::start();
    let driver = crate::drain::redis_line(&server);
    let files = tempfile::tempdir().unwrap();
    let (a, b) = (files.path().join("a"), files.path().join("b"));
    let rule = "name = \"pile\"\nwhen = \"failure_rate > 50%\"";
    let (one, two) = (Fixture::new(&driver, &config(&a, rule)), Fixture::new(&driver, &config(&b, rule)));
    let first = one.listen(&[]);
    until("the watch of the first master", || master_is_watching(&one));
    one.ok(&["queue:quiet"]);
    let second = two.listen(&[]);
    two.push_lines("default", (0..30).map(|_| r#"{"job":"fail","max_attempts":1}"#.to_owned()));
    until_statuses(&[&a, &b], &["firing"]);
    assert_eq!(statuses(&a, "pile").len(), 1);
    assert!(second.stop().success() && first.stop().success());
}

#[test]
fn channel_without_a_master_fires_an_alert_of_another() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("a");
    let text = config(&file, "name = \"no_master\"\nenabled = false")
        + "[[alerts.rule]]\nname = \"no_master\"\nfor = 0\n[channels.lonely]\n";
    let fixture = Fixture::new(SQLITE, &text);
    fixture.push("noop", "{}", &["-t", "lonely"]);
    let master = fixture.listen(&["--channel", "default"]);
    until("the message", || (statuses(&file, "no_master") == ["firing"]).then_some(()));
    let other = fixture.listen(&["--channel", "lonely"]);
    until("the end", || (statuses(&file, "no_master") == ["firing", "resolved"]).then_some(()));
    assert!(other.stop().success() && master.stop().success());
}

#[test]
fn reload_applies_new_rules() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("a");
    let fixture = Fixture::new(SQLITE, &config(&file, "name = \"pile\"\nwhen = \"waiting > 100\""));
    fixture.ok(&["queue:pause"]);
    let master = fixture.listen(&[]);
    for _ in 0..3 {
        fixture.push("noop", "{}", &[]);
    }
    let_evaluate(&fixture, 2);
    assert_eq!(statuses(&file, "pile"), [""; 0]);
    let text = fs::read_to_string(fixture.file("aint-queue.toml")).unwrap();
    fixture.write("aint-queue.toml", &text.replace("waiting > 100", "waiting > 2"));
    fixture.ok(&["queue:reload"]);
    until_statuses(&[&file], &["firing"]);
    assert!(master.stop().success());
}

#[test]
fn store_that_is_down_fires_an_alert_of_its_host() {
    let mut server = Server::start();
    let driver = crate::drain::redis_line(&server);
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("a");
    let fixture =
        Fixture::new(&driver, &config(&file, "name = \"store_down\"\nwhen = \"store.down_for > 1s\""));
    let master = fixture.listen(&[]);
    until("the watch", || master_is_watching(&fixture));
    server.kill();
    until("the message", || (statuses(&file, "store_down") == ["firing"]).then_some(()));
    let checked = fixture.run(&["queue:status", "--check"]);
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    server.restart();
    until("the end", || (statuses(&file, "store_down") == ["firing", "resolved"]).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn muted_and_failing_receivers_are_shown_by_every_host() {
    let ding = Receiver::start(|_| {
        let refusal = r#"{"errcode":130101,"errmsg":"send too fast"}"#.to_owned();
        CannedResponse::Whole(200, Vec::new(), refusal)
    });
    let slack = Receiver::start(|_| crate::receiver::status(404));
    let server = Server::start();
    let driver = crate::drain::redis_line(&server);
    let files = tempfile::tempdir().unwrap();
    let receivers = format!(
        "ding = {{ type = \"dingtalk\", url = \"http://127.0.0.1:{}/x\" }}\nslack = {{ type = \"slack\", url = \"http://127.0.0.1:{}/x\" }}\n",
        ding.port(),
        slack.port()
    );
    let text = config(&files.path().join("a"), BACKLOG) + &receivers;
    let (one, two) = (Fixture::new(&driver, &text), Fixture::new(&driver, &text));
    one.ok(&["queue:pause"]);
    let master = one.listen(&[]);
    for _ in 0..3 {
        one.push("noop", "{}", &[]);
    }
    let deliveries = until("the reports of the master", || {
        let listed = two.json(&["queue:alerts", "--channel", "default"]);
        let deliveries = listed["deliveries"].as_array().unwrap().clone();
        (deliveries.len() == 2 && deliveries[1]["failed"].as_u64() > Some(0)).then_some(deliveries)
    });
    assert_eq!((&deliveries[0]["receiver"], &deliveries[1]["receiver"]), (&"ding".into(), &"slack".into()));
    assert!(deliveries[0]["muted_until"].is_string() && deliveries[0]["error"].is_string(), "{deliveries:?}");
    let shown = two.ok(&["queue:alerts"]);
    assert!(shown.contains("Receiver ding on ") && shown.contains(": muted until "), "{shown}");
    assert!(shown.contains("Receiver slack: failed ") && shown.contains("404 Not Found"), "{shown}");
    assert!(shown.contains("Receiver slack on ") && shown.contains(" failed\n"), "{shown}");
    assert!(master.stop().success());
}

#[test]
fn master_started_later_repeats_nothing_to_a_program() {
    let server = Server::start();
    let driver = crate::drain::redis_line(&server);
    let files = tempfile::tempdir().unwrap();
    let (file, program) = (files.path().join("a"), files.path().join("program"));
    let append = format!("cat >> {}", program.display());
    let receiver = format!("pager = {{ type = \"command\", command = [\"sh\", \"-c\", \"{append}\"] }}\n");
    let text = config(&file, BACKLOG) + &receiver;
    let fixtures = [0, 1, 2].map(|_| Fixture::new(&driver, &text));
    let [one, two, three] = &fixtures;
    one.ok(&["queue:pause"]);
    let first = one.listen(&[]);
    until("the watch of the first master", || master_is_watching(one));
    let second = two.listen(&[]);
    for _ in 0..3 {
        one.push("noop", "{}", &[]);
    }
    until_statuses(&[&file], &["firing"]);
    until_statuses(&[&program], &["firing"]);
    let third = three.listen(&[]);
    // The sender gives the watch up; the next holder reads the sent messages.
    assert!(first.stop().success());
    let_evaluate(three, 3);
    until_statuses(&[&file], &["firing"]);
    until_statuses(&[&program], &["firing"]);
    three.ok(&["queue:resume"]);
    until_statuses(&[&file], &["firing", "resolved"]);
    until_statuses(&[&program], &["firing", "resolved"]);
    assert!(second.stop().success() && third.stop().success());
}

#[test]
fn program_of_a_receiver_gets_no_secret_of_the_master() {
    let config = "[alerts.receivers]\n\
        program = { type = \"command\", command = [\"sh\", \"-c\", \"env > env.$$; mv env.$$ env.txt\"] }\n\
        hook = { type = \"webhook\", url = \"${HOOK_URL}\" }\n";
    let environment = [("HOOK_URL", "http://127.0.0.1:1/hunter2"), ("PLAIN", "seen")];
    let fixture = Fixture::new(SQLITE, &format!("[channels.default]\n{config}"))
        .with_environment(environment.map(|(name, value)| (name, value.to_owned())));
    fixture.ok(&["queue:alerts", "--test", "program"]);
    let shown = std::fs::read_to_string(fixture.file("env.txt")).unwrap();
    assert!(shown.contains("PLAIN=seen") && !shown.contains("hunter2"), "{shown}");
    std::fs::remove_file(fixture.file("env.txt")).unwrap();
    // The same from a running master.
    let rule = "[[alerts.rule]]\nname = \"always\"\nwhen = \"waiting >= 0\"\n";
    fixture.write(
        "aint-queue.toml",
        &std::fs::read_to_string(fixture.file("aint-queue.toml")).unwrap().replace(
            "[alerts.receivers]",
            &format!("{rule}[alerts]\nevaluate_every = 1\ngroup_wait = 0\n[alerts.receivers]"),
        ),
    );
    let _master = fixture.listen(&[]);
    let shown = until("the message of the program", || {
        std::fs::read_to_string(fixture.file("env.txt")).ok().filter(|shown| shown.contains("PLAIN"))
    });
    assert!(!shown.contains("hunter2"), "{shown}");
}
