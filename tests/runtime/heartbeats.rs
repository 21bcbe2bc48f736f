//! Heartbeats of running masters: one of them calls, and the calls end with the last.

use std::time::Duration;

use crate::alerts::master_is_watching;
use crate::drain::redis_line;
use crate::fixture::{Fixture, Master, text, until};
use crate::receiver::{Receiver, status};
use crate::redis::Server;

/// Channels with a heartbeat of the holder at `/one`, and one of each host at `/each`. The header says which master calls.
fn config(service: &Receiver, master: &str) -> String {
    let receiver = |path: &str, more: &str| {
        format!(
            "{{ type = \"heartbeat\", url = \"http://127.0.0.1:{}/{path}\", every = 1, headers = {{ x-master = \"{master}\" }}{more} }}",
            service.port()
        )
    };
    format!(
        "[channels.default]\n[channels.other]\n[alerts]\nevaluate_every = 1\n[alerts.receivers]\none = {}\neach = {}\n",
        receiver("one", ""),
        receiver("each", ", per_host = true"),
    )
}

fn calls(service: &Receiver, path: &str, master: &str) -> usize {
    let is_one = |request: &&crate::receiver::ReceivedRequest| {
        request.path == path && request.header("x-master") == master
    };
    service.requests().iter().filter(is_one).count()
}

/// Waits for three more calls of each kind: what a master must not send has no event, but what it sends beside has.
fn until_three_more(service: &Receiver, wanted: &[(&str, &str)]) {
    let before: Vec<_> = wanted.iter().map(|(path, master)| calls(service, path, master)).collect();
    until(&format!("three calls of {wanted:?}"), || {
        let mut all = wanted.iter().zip(&before);
        all.all(|((path, master), before)| calls(service, path, master) >= before + 3).then_some(())
    });
}

/// Two masters of both channels, of which the first holds the watches.
fn two_masters(service: &Receiver, driver: &str) -> ([Fixture; 2], [Master; 2]) {
    let fixtures = ["a", "b"].map(|master| Fixture::new(driver, &config(service, master)));
    let first = fixtures[0].listen(&["--channel", "default"]);
    until("the watch of the first master", || master_is_watching(&fixtures[0]));
    let second = fixtures[1].listen(&["--channel", "other"]);
    (fixtures, [first, second])
}

#[test]
fn two_masters_call_one_heartbeat() {
    let service = Receiver::start(|_| status(200));
    let server = Server::start();
    let (_fixtures, [first, second]) = two_masters(&service, &redis_line(&server));
    until_three_more(&service, &[("/each", "b"), ("/one", "a")]);
    until_three_more(&service, &[("/each", "b"), ("/one", "a")]);
    assert_eq!(calls(&service, "/one", "b"), 0, "the first master holds the watch");
    assert!(first.stop().success());
    until_three_more(&service, &[("/one", "b")]);
    assert!(second.stop().success());
}

#[test]
fn heartbeat_ends_with_the_last_master_and_check_is_critical() {
    let service = Receiver::start(|_| status(200));
    let server = Server::start();
    let (fixtures, [first, second]) = two_masters(&service, &redis_line(&server));
    until_three_more(&service, &[("/each", "b"), ("/one", "a")]);
    first.kill();
    // The lease of the dead master ends first.
    until_three_more(&service, &[("/one", "b")]);
    assert_ne!(fixtures[0].run(&["queue:status", "--check", "-t", "other"]).status.code(), Some(2));
    second.kill();
    let last = service.requests().len();
    let checked = until("no live master", || {
        let checked = fixtures[0].run(&["queue:status", "--check"]);
        let printed = text(&checked.stdout);
        let is_dead =
            |channel: &str| printed.contains(&format!("CRITICAL {channel}: no master is alive on any host"));
        (is_dead("default") && is_dead("other")).then_some(checked)
    });
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    assert!(text(&checked.stdout).starts_with("AINT-QUEUE CRITICAL - "), "{checked:?}");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(service.requests().len(), last, "the dead call nothing");
}

#[test]
fn heartbeat_needs_no_watch_that_another_configuration_holds() {
    let service = Receiver::start(|_| status(200));
    let server = Server::start();
    let driver = redis_line(&server);
    let text = "[channels.default]\n[channels.other]\n[alerts]\nevaluate_every = 1\nreceivers.team = { type = \"log\" }\n";
    let stranger = Fixture::new(&driver, text);
    let holder = stranger.listen(&["--all"]);
    for channel in ["default", "other"] {
        until("the watch of the stranger", || {
            stranger.json(&["queue:alerts", "--channel", channel])["watched_by"].as_str().map(|_| ())
        });
    }
    let fixtures = ["a", "b"].map(|master| Fixture::new(&driver, &config(&service, master)));
    let masters =
        [fixtures[0].listen(&["--channel", "default"]), fixtures[1].listen(&["--channel", "other"])];
    until_three_more(&service, &[("/each", "a"), ("/each", "b")]);
    // The choice is made once each has seen the report of the other.
    let of = |master: &str| calls(&service, "/one", master);
    let before = (of("a"), of("b"));
    until_three_more(&service, &[("/each", "a"), ("/each", "b")]);
    let made = (of("a") - before.0, of("b") - before.1);
    assert!((made.0 == 0) != (made.1 == 0), "{made:?} calls");
    for master in masters {
        assert!(master.stop().success());
    }
    assert!(holder.stop().success());
}
