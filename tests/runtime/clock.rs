//! Steps of the clock under a running master: of the machine with SQLite, of the server with Redis.

use crate::fixture::{Fixture, until};
use crate::redis::Server;
use crate::redis::clock::Clock;

const CHANNEL: &str = "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\n";
/// Steps in microseconds: 0.5 s, 1.5 s, 3 s and an hour back, an hour forward. Each is followed by the way back.
const STEPS: [i64; 5] = [-500_000, -1_500_000, -3_000_000, -3_600_000_000, 3_600_000_000];

fn works_through_steps(fixture: &Fixture, step_clock: impl Fn(i64)) {
    let master = fixture.listen(&[]);
    let (mut last, mut done) = (0, 0);
    for (n, step) in STEPS.into_iter().flat_map(|step| [step, -step]).enumerate() {
        let mut push = |more: &[&str]| {
            let id = fixture.push("noop", "{}", more);
            assert!(id > last, "{id} after {last}, step {step}");
            last = id;
        };
        push(&[]);
        step_clock(step);
        push(&[]);
        done += 2;
        let status = fixture.json(&["queue:status"]);
        if step <= -1_500_000 {
            let seconds = status["clock_behind_seconds"].as_f64().unwrap_or_else(|| panic!("{status}"));
            let wanted = -step as f64 / 1e6;
            assert!(seconds <= wanted && seconds > wanted - 1.5, "{seconds} after {step}");
            let shown = fixture.ok(&["queue:status"]);
            assert!(shown.contains(" s behind the highest time of the store: "), "{shown}");
        }
        // What begins after the step has its own length.
        push(&["--delay", "1"]);
        let key = format!("k{n}");
        push(&["--unique", &key, "--unique-for", "1"]);
        done += 2;
        let again = || fixture.json(&["queue:push", "noop", "--unique", &key, "--unique-for", "1"]);
        assert_eq!(again()["added"], false, "step {step}");
        fixture.until("default", "the jobs", |counts| counts.done >= done);
        last = until("the end of the timed key", || {
            let pushed = again();
            (pushed["added"] == true).then(|| pushed["id"].as_u64().unwrap())
        });
        done += 1;
        fixture.ok(&["queue:pause", "--for", "1s"]);
        push_and_wait(fixture, &mut last, &mut done);
    }
    let status = fixture.json(&["queue:status"]);
    assert_eq!((status["failed"].as_u64(), status["running"].as_bool()), (Some(0), Some(true)));
    assert!(master.log().contains("store clock was set back"), "{}", master.log());
    assert!(master.stop().success());
}

fn push_and_wait(fixture: &Fixture, last: &mut u64, done: &mut u64) {
    let id = fixture.push("noop", "{}", &[]);
    assert!(id > *last, "{id} after {last}");
    (*last, *done) = (id, *done + 1);
    fixture.until("default", "the pause to end", |counts| counts.done >= *done);
}

#[test]
fn channel_works_while_the_clock_of_the_machine_steps() {
    let clock = Clock::new();
    let fixture = Fixture::sqlite(CHANNEL).with_environment(clock.environment());
    works_through_steps(&fixture, |micros| clock.step(micros));
}

#[test]
fn channel_works_while_the_clock_of_the_server_steps() {
    let server = Server::start_with_clock();
    let fixture = Fixture::new(&crate::drain::redis_line(&server), CHANNEL);
    works_through_steps(&fixture, |micros| server.step_clock(micros));
}
