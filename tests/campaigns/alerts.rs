//! Repeated SIGKILL of the master that sends alerts: no message is lost, and a kill repeats at most one.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::random::seeded;
use crate::fixture::{Fixture, Master, until};
use crate::measurements::size;
use crate::redis::Server;

/// The log line of a master that continues the records of another.
const TAKEN_OVER: &str = "alerts watched by this master now: continuing";
/// More than the lease of a watch, by which the clock of the store is stepped.
const LEASE_AND_MORE: i64 = 31_000_000;

/// Two masters of a paused channel, which send to the same file.
struct Pair {
    server: Server,
    fixtures: [Fixture; 2],
    messages: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let server = Server::start_with_clock();
        let messages = tempfile::tempdir().unwrap();
        let file = messages.path().join("messages");
        // The program takes its time after it has the message: kills fall between a message and its record.
        let program = format!("cat >> {}; sleep 0.3", file.display());
        let text = format!(
            "[channels.default]\n[[channels.default.alerts.rule]]\nname = \"pile\"\nwhen = \"waiting > 2\"\n\
             [alerts]\nevaluate_every = 1\ngroup_wait = 0\ngroup_interval = 1\n\
             receivers.team = {{ type = \"command\", command = [\"sh\", \"-c\", \"{program}\"] }}\n"
        );
        let port = server.config().port;
        let driver =
            format!("{{ type = \"redis\", connection = {{ host = \"127.0.0.1\", port = {port} }} }}");
        let fixtures = [Fixture::new(&driver, &text), Fixture::new(&driver, &text)];
        Self { server, fixtures, messages }
    }

    fn file(&self) -> std::path::PathBuf {
        self.messages.path().join("messages")
    }
}

/// The statuses of the messages about the rule.
fn statuses(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let messages = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let alerts = messages.flat_map(|message| message["alerts"].as_array().unwrap().clone());
    let its = alerts.filter(|alert| alert["rule"] == "pile");
    its.map(|alert| alert["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn killed_senders_lose_no_message_and_repeat_at_most_one_each() {
    let pair = Pair::new();
    let mut random = seeded("killed senders of alerts");
    let rounds = size(4, 200);
    pair.fixtures[0].ok(&["queue:pause"]);
    let mut sender = pair.fixtures[0].listen(&[]);
    until("the watch of the first master", || {
        pair.fixtures[0].json(&["queue:alerts", "-t", "default"])["watched_by"].as_str().map(|_| ())
    });
    let mut other: Master = pair.fixtures[1].listen(&[]);
    // A first alert and its end: a sender without records has none to continue.
    pair.fixtures[0].push_lines("default", (0..3).map(|_| r#"{"job":"noop"}"#.to_owned()));
    until("the first message", || (statuses(&pair.file()) == ["firing"]).then_some(()));
    pair.fixtures[0].ok(&["queue:clear", "--yes"]);
    until("its end", || (statuses(&pair.file()) == ["firing", "resolved"]).then_some(()));
    let mut repeats = 0;
    for round in 0..rounds {
        let before = statuses(&pair.file()).len();
        let fixture = &pair.fixtures[(round + 1) % 2];
        let expected = if round % 2 == 0 {
            fixture.push_lines("default", (0..3).map(|_| r#"{"job":"noop"}"#.to_owned()));
            "firing"
        } else {
            fixture.ok(&["queue:clear", "--yes"]);
            "resolved"
        };
        // The kill falls before, into, or after the message.
        std::thread::sleep(Duration::from_millis(random.u64(..2_000)));
        sender.kill();
        pair.server.step_clock(LEASE_AND_MORE);
        until(&format!("the watch of the other master in round {round}"), || {
            let log = other.log();
            if log.contains(TAKEN_OVER) { Ok(()) } else { Err(log) }
        });
        let sent = until(&format!("the message {expected} of round {round}"), || {
            let sent = statuses(&pair.file());
            (sent.len() > before && sent.last().is_some_and(|last| last == expected)).then_some(sent)
        });
        // The new sender becomes the victim; the killed one comes back and watches.
        sender = std::mem::replace(&mut other, pair.fixtures[round % 2].listen(&[]));
        let of_round = &statuses(&pair.file())[before..];
        assert!(of_round.len() <= 2, "round {round} repeats more than one: {of_round:?} after {sent:?}");
        assert!(of_round.iter().all(|status| status == expected), "round {round}: {of_round:?}");
        repeats += of_round.len() - 1;
    }
    let all = statuses(&pair.file());
    assert_eq!(all.len(), 2 + rounds + repeats, "a late repeat: {all:?}");
    println!("{rounds} kills of the sending master: {rounds} messages, none lost, {repeats} repeated");
    assert!(sender.stop().success() && other.stop().success());
}
