//! Time limits and stops end requests.

use std::time::{Duration, Instant};

use crate::channel::{errors, sending_to, shown};
use crate::receiver::{Receiver, Reply, status};
use crate::site::until;

#[test]
fn a_request_ends_with_the_time_of_its_job_and_its_worker_goes_on() {
    let receiver = Receiver::start(|got| match got.header("aint-queue-job") {
        "tarpit" => Reply::Silence,
        "halting" => Reply::Halting(200),
        _ => status(200),
    });
    let site = sending_to(&receiver, "");
    let master = site.listen(&[]);
    site.push("hook", "{}", &[]);
    site.until("default", "the first", |c| c.done == 1);
    let workers = master.workers();

    let begun = Instant::now();
    let id = site.push("tarpit", "{}", &["--timeout", "0.3", "--max-attempts", "1"]);
    until("the request to wait", || (receiver.waiting() == 1).then_some(()));
    site.until("default", "the time-out", |c| c.failed == 1);
    // The channel's own limit would end it after 10 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    until("the connection to be closed", || (receiver.waiting() == 0).then_some(()));
    assert_eq!(shown(&site, id)["reason"], "timeout");
    assert!(errors(&site, id)[0].contains("300ms"), "{:?}", errors(&site, id));

    // Its status is known before its time is up, so it is done whatever its body does.
    site.push("halting", "{}", &["--timeout", "0.3", "--max-attempts", "1"]);
    site.push("hook", "{}", &[]);
    site.until("default", "the others", |c| c.done == 3);
    assert_eq!(master.workers(), workers, "no worker had to be replaced");
    assert!(master.stop().success());
}

#[test]
fn a_stop_that_is_forced_leaves_the_job_for_the_next_master() {
    let receiver = Receiver::start(|_| Reply::Silence);
    let site = sending_to(&receiver, "max_execute_seconds = 0");
    let master = site.listen(&[]);
    let id = site.push("tarpit", "{}", &[]);
    until("the request to wait", || (receiver.waiting() == 1).then_some(()));
    master.force_stop();
    until("the connection to be closed", || (receiver.waiting() == 0).then_some(()));
    assert_eq!(site.counts("default").waiting, 1);
    let shown = shown(&site, id);
    assert_eq!(shown["attempts"], 0, "{shown}");
}
