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
    until("the pending request", || (receiver.waiting() == 1).then_some(()));
    fixture.until("default", "the timeout", |c| c.failed == 1);
    // The default limit of the channel is 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    until("the closed connection", || (receiver.waiting() == 0).then_some(()));
    assert_eq!(shown(&fixture, id)["reason"], "timeout");
    assert!(errors(&fixture, id)[0].contains("300ms"), "{:?}", errors(&fixture, id));

    // The status arrives in time, so the job is done although its body does not end.
    fixture.push("halting", "{}", &["--timeout", "0.3", "--max-attempts", "1"]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the others", |c| c.done == 3);
    assert_eq!(master.workers(), workers, "no worker was replaced");
    assert!(master.stop().success());
}

#[test]
fn forced_stop_leaves_job_for_next_master() {
    let receiver = Receiver::start(|_| CannedResponse::Never);
    let fixture = sending_to(&receiver, "max_execute_seconds = 0");
    let master = fixture.listen(&[]);
    let id = fixture.push("tarpit", "{}", &[]);
    until("the pending request", || (receiver.waiting() == 1).then_some(()));
    master.force_stop();
    until("the closed connection", || (receiver.waiting() == 0).then_some(()));
    assert_eq!(fixture.counts("default").waiting, 1);
    let shown = shown(&fixture, id);
    assert_eq!(shown["attempts"], 0, "{shown}");
}
