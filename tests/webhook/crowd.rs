//! Many jobs at once, and one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::channel::sending_to;
use crate::receiver::{Receiver, Reply, status};
use crate::site::until;

fn lines(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!(r#"{{"job":"hook","payload":{{"n":{n}}}}}"#))
}

#[test]
fn two_hundred_requests_are_under_way_at_once() {
    // None is answered before all are there.
    let receiver = Receiver::start(|_| Reply::Together(200));
    let site = sending_to(&receiver, "");
    let master = site.listen(&[]);
    site.push_lines("default", lines(200));
    site.until("default", "all to be done", |c| c.done == 200);
    let bodies: BTreeSet<_> = receiver.requests().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies.len(), 200);
    assert!(master.stop().success());
}

#[test]
fn a_connection_is_used_again() {
    let receiver = Receiver::start(|_| Reply::Answer(200, Vec::new(), "thank you".to_owned()));
    let site = sending_to(&receiver, "max_coroutine = 1");
    let master = site.listen(&[]);
    site.push_lines("default", lines(100));
    site.until("default", "all to be done", |c| c.done == 100);
    assert_eq!((receiver.requests().len(), receiver.connections()), (100, 1));
    assert!(receiver.requests().iter().all(|got| got.connection == 1));
    assert!(master.stop().success());
}

#[test]
fn a_single_job_is_sent_by_a_command_without_a_master() {
    let receiver = Receiver::start(|_| status(200));
    let site = sending_to(&receiver, "");
    let id = site.push("hook", r#"{"a":1}"#, &[]);
    site.ok(&["queue:run", "--id", &id.to_string()]);
    assert_eq!(receiver.requests()[0].body, r#"{"a":1}"#);
}

#[test]
fn the_death_of_the_worker_loses_no_job() {
    let awake = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let awake = Arc::clone(&awake);
        move |_| if awake.load(Ordering::SeqCst) { status(200) } else { Reply::Silence }
    });
    let site = sending_to(&receiver, "");
    let master = site.listen(&[]);
    site.push_lines("default", lines(20));
    until("all requests to wait", || (receiver.waiting() == 20).then_some(()));
    awake.store(true, Ordering::SeqCst);
    for worker in master.workers() {
        kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    }
    site.until("default", "all to be done", |c| c.done == 20);
    // Nobody knows which of them killed it, so it is an attempt of none.
    assert!(receiver.requests().iter().all(|got| got.header("aint-queue-attempt") == "1"));
    assert!(master.stop().success());
}
