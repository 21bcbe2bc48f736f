//! Concurrent and sequential jobs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::channel::sending_to;
use crate::fixture::until;
use crate::receiver::{CannedResponse, Receiver, status};

fn lines(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!(r#"{{"job":"hook","payload":{{"n":{n}}}}}"#))
}

#[test]
fn two_hundred_requests_are_under_way_at_once() {
    // The receiver answers only after the arrival of all requests.
    let receiver = Receiver::start(|_| CannedResponse::AfterConcurrent(200));
    let fixture = sending_to(&receiver, "");
    let master = fixture.listen(&[]);
    fixture.push_lines("default", lines(200));
    fixture.until("default", "all jobs done", |c| c.done == 200);
    let bodies: BTreeSet<_> = receiver.requests().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies.len(), 200);
    assert!(master.stop().success());
}

#[test]
fn connection_is_used_again() {
    let receiver = Receiver::start(|_| CannedResponse::Whole(200, Vec::new(), "thank you".to_owned()));
    let fixture = sending_to(&receiver, "max_coroutine = 1");
    let master = fixture.listen(&[]);
    fixture.push_lines("default", lines(100));
    fixture.until("default", "all jobs done", |c| c.done == 100);
    assert_eq!((receiver.requests().len(), receiver.connections()), (100, 1));
    assert!(receiver.requests().iter().all(|got| got.connection == 1));
    assert!(master.stop().success());
}

#[test]
fn queue_run_sends_webhook_without_a_master() {
    let receiver = Receiver::start(|_| status(200));
    let fixture = sending_to(&receiver, "");
    let id = fixture.push("hook", r#"{"a":1}"#, &[]);
    fixture.ok(&["queue:run", "--id", &id.to_string()]);
    assert_eq!(receiver.requests()[0].body, r#"{"a":1}"#);
}

#[test]
fn worker_death_loses_no_job() {
    let awake = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let awake = Arc::clone(&awake);
        move |_| if awake.load(Ordering::SeqCst) { status(200) } else { CannedResponse::Never }
    });
    let fixture = sending_to(&receiver, "");
    let master = fixture.listen(&[]);
    fixture.push_lines("default", lines(20));
    until("all requests pending", || (receiver.waiting() == 20).then_some(()));
    awake.store(true, Ordering::SeqCst);
    for worker in master.workers() {
        kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    }
    fixture.until("default", "all jobs done", |c| c.done == 20);
    // The cause of the crash is unknown, so no job's attempt is counted.
    assert!(receiver.requests().iter().all(|got| got.header("aint-queue-attempt") == "1"));
    assert!(master.stop().success());
}
