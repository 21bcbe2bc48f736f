//! Unique keys: a stampede, the end of the holding job, and the death of its master.

use std::sync::Barrier;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Fixture, until};

const CHANNEL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";

fn unique_key_survives_everything(fixture: &Fixture) {
    // 20 threads push one key 500 times each, in batches.
    let line = r#"{"job":"sleep","payload":{"ms":2000},"unique":"report"}"#;
    let together = Barrier::new(20);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                together.wait();
                fixture.push_lines("default", (0..500).map(|_| line.to_owned()));
            });
        }
    });
    assert_eq!(fixture.counts("default").waiting, 1);
    let pushed = fixture.json(&["queue:push", "sleep", "--data", r#"{"ms":2000}"#, "--unique", "report"]);
    assert_eq!(pushed["added"], false);
    let id = pushed["id"].to_string();

    // The job runs, and its master, guardian and worker die.
    let master = fixture.listen(&[]);
    fixture.until("default", "the job to run", |c| c.reserved == 1);
    let worker = until("a worker", || master.workers().first().copied());
    for pid in [master.guardian(), worker] {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    master.kill();
    let again = fixture.json(&["queue:push", "noop", "--unique", "report"]);
    assert_eq!((again["added"].as_bool(), again["id"].to_string()), (Some(false), id.clone()));

    // The next master runs the job again, and its end releases the key.
    let master = fixture.listen(&[]);
    fixture.until("default", "the job to be done", |c| c.done == 1);
    assert_eq!(fixture.json(&["queue:push", "noop", "--unique", "report"])["added"], true);
    fixture.until("default", "the next job to be done", |c| c.done == 2);
    assert!(master.stop().success());
}

#[test]
fn unique_key_survives_stampede_and_kill_on_sqlite() {
    unique_key_survives_everything(&Fixture::sqlite(CHANNEL));
}

#[test]
fn unique_key_survives_stampede_and_kill_on_redis() {
    let server = crate::redis::Server::start();
    unique_key_survives_everything(&Fixture::new(&crate::drain::redis_line(&server), CHANNEL));
}
