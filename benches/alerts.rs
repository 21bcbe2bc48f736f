//! Measures jobs per second with and without handlers and receivers that hang: a webhook that never answers, a program that sleeps, a
//! mail server that says nothing, each for snapshots and for alerts. Run with `cargo bench --bench alerts` on an idle machine; needs a
//! redis-server in PATH.
//!
//! Both states are measured in turn, in pairs of one run of one master, which reloads its configuration in between: the speed of a
//! machine drifts, the ratio of a pair does not.

#![expect(unreachable_pub, reason = "a bench has no public interface")]
#![expect(clippy::unwrap_used, reason = "an error ends the bench")]

#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/support/redis.rs"]
mod redis;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use aint_queue::job::{NewJob, Payload};
use aint_queue::store::redis::RedisStore;
use aint_queue::store::{MAX_BATCH, Store};
use fixture::Fixture;

/// Pairs of measurements, each state first in every other pair.
const PAIRS: usize = 12;
/// Time of one measurement.
const MEASURED: Duration = Duration::from_secs(5);
/// Time after a reload in which the new workers reach their speed.
const SETTLING: Duration = Duration::from_secs(2);
/// Fewest waiting jobs: the channel always has work.
const BACKLOG: u64 = 20_000;
/// Lowest median ratio that the product promises.
const PROMISED: f64 = 0.99;
const CHANNEL: &str = "load";

/// A server that accepts connections and never says anything; returns its port.
fn silent_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        // Open connections stay open until the end of the bench.
        let _open: Vec<_> = listener.incoming().flatten().collect();
    });
    port
}

/// The configuration, with the hanging handlers or without. The receivers of alerts are in both, because they are started once.
fn config(server: &aint_queue::config::Redis, silent: u16, hangs: bool) -> String {
    let handlers = format!(
        r#"{{ type = "webhook", url = "http://127.0.0.1:{silent}/x" }},
           {{ type = "command", command = ["sleep", "1000"] }},
           {{ type = "email", to = ["a@example.com"], from = "b@example.com", smtp = "smtp://127.0.0.1:{silent}?tls=none" }}"#
    );
    let rules = r#"{ name = "always", when = "workers.max > 0", resend = 1 }"#;
    let (handlers, rules) = if hangs { (handlers.as_str(), rules) } else { ("", "") };
    let (host, port) = (&server.host, server.port);
    format!(
        "[defaults]\npid_path = \"run\"\n\
         driver = {{ type = \"redis\", connection = {{ host = \"{host}\", port = {port} }} }}\n\
         [channels.{CHANNEL}]\njob_snapshot = {{ interval = 1, handler = [{handlers}] }}\nalerts.rule = [{rules}]\n\
         worker = {{ type = \"coroutine\", demo_jobs = true }}\n\
         [alerts]\nevaluate_every = 1\ngroup_wait = 0\ngroup_interval = 1\n[alerts.receivers]\n\
         hook = {{ type = \"webhook\", url = \"http://127.0.0.1:{silent}/x\" }}\n\
         mail = {{ type = \"email\", to = [\"a@example.com\"], from = \"b@example.com\", smtp = \"smtp://127.0.0.1:{silent}?tls=none\" }}\n"
    )
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = redis::Server::start();
    let silent = silent_server();
    let fixture = Fixture::new("", "");
    let write = |hangs| {
        fixture.write("aint-queue.toml", &config(&server.config(), silent, hangs));
    };
    write(false);
    let master = fixture.listen(&[]);
    let store = runtime.block_on(RedisStore::connect(&server.config(), CHANNEL)).unwrap();
    println!("no-op jobs, coroutine mode, Redis; {PAIRS} pairs of {} s each", MEASURED.as_secs());
    println!("{:>4}  {:>12}  {:>12}  {:>6}", "pair", "without/s", "hanging/s", "ratio");
    let mut ratios = Vec::new();
    for pair in 1..=PAIRS {
        let mut rates = [0.0; 2];
        // Each state is first in every other pair.
        for hangs in [pair % 2 == 0, pair % 2 != 0] {
            write(hangs);
            fixture.ok(&["queue:reload"]);
            runtime.block_on(run(&store, SETTLING));
            rates[usize::from(hangs)] = runtime.block_on(run(&store, MEASURED));
        }
        let ratio = rates[1] / rates[0];
        println!("{pair:>4}  {:>12.0}  {:>12.0}  {ratio:>6.3}", rates[0], rates[1]);
        ratios.push(ratio);
    }
    assert!(master.stop().success());
    ratios.sort_by(f64::total_cmp);
    let (low, median, high) = (ratios[PAIRS / 4], ratios[PAIRS / 2], ratios[PAIRS * 3 / 4]);
    println!("median ratio {median:.3}, quartiles {low:.3} and {high:.3}, promised at least {PROMISED}");
    assert!(median >= PROMISED, "hanging handlers cost more than promised");
}

/// Keeps jobs waiting for this time; returns the jobs done per second.
async fn run(store: &RedisStore, time: Duration) -> f64 {
    let payload = Payload::parse(format!("{{\"pad\":\"{}\"}}", "x".repeat(90))).unwrap();
    let batch = vec![NewJob::new("noop", payload); MAX_BATCH];
    let (begun, before) = (Instant::now(), store.status().await.unwrap().done);
    loop {
        let counts = store.status().await.unwrap();
        if begun.elapsed() >= time {
            return rate(counts.done - before, begun.elapsed());
        }
        if counts.waiting < BACKLOG {
            store.push(&batch).await.unwrap();
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(jobs: u64, took: Duration) -> f64 {
    jobs as f64 / took.as_secs_f64()
}
