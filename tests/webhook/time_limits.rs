//! Time limits and stops end requests.

use std::time::{Duration, Instant};

use crate::channel::{errors, sending_to, shown};
use crate::fixture::until;
use crate::receiver::{CannedResponse, Receiver, status};

#[test]
fn request_ends_at_job_timeout_and_worker_survives() {
    let receiver = Receiver::start(|got| match got.header("aint-queue-job") {
        "tarpit" => CannedResponse::Never,
        "halting" => CannedResponse::Stalled(200),
        _ => status(200),
    });
    let fixture = sending_to(&receiver, "");
    let master = fixture.listen(&[]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the first", |c| c.done == 1);
    let workers = master.workers();

    let begun = Instant::now();
    let id = fixture.push("tarpit", "{}", &["--timeout", "0.3", "--max-attempts", "1"]);
    until("the request to wait", || (receiver.waiting() == 1).then_some(()));
    fixture.until("default", "the time-out", |c| c.failed == 1);
    // The channel's own limit would end it after 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    until("the connection to be closed", || (receiver.waiting() == 0).then_some(()));
    assert_eq!(shown(&fixture, id)["reason"], "timeout");
    assert!(errors(&fixture, id)[0].contains("300ms"), "{:?}", errors(&fixture, id));

    // Its status is known before its time is up, so it is done whatever its body does.
    fixture.push("halting", "{}", &["--timeout", "0.3", "--max-attempts", "1"]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the others", |c| c.done == 3);
    assert_eq!(master.workers(), workers, "no worker had to be replaced");
    assert!(master.stop().success());
}

#[test]
fn forced_stop_leaves_job_for_next_master() {
    let receiver = Receiver::start(|_| CannedResponse::Never);
    let fixture = sending_to(&receiver, "max_execute_seconds = 0");
    let master = fixture.listen(&[]);
    let id = fixture.push("tarpit", "{}", &[]);
    until("the request to wait", || (receiver.waiting() == 1).then_some(()));
    master.force_stop();
    until("the connection to be closed", || (receiver.waiting() == 0).then_some(()));
    assert_eq!(fixture.counts("default").waiting, 1);
    let shown = shown(&fixture, id);
    assert_eq!(shown["attempts"], 0, "{shown}");
}
