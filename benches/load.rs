//! Measures no-op jobs per second in `coroutine` mode on Redis, master and worker process included, and compares the figure with
//! a bare client loop over the same scripts. Run with `cargo bench --bench load`; needs a redis-server in PATH.
//!
//! Both are measured in turn, for several rounds of one run: the speed of a machine drifts, the ratio does not. Absolute figures
//! are printed for orientation only.

#![expect(unreachable_pub, reason = "a bench has no public interface")]
#![expect(clippy::unwrap_used, reason = "an error ends the bench")]

#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/support/redis.rs"]
mod redis;

use std::time::{Duration, Instant};

use aint_queue::job::{NewJob, Payload};
use aint_queue::store::redis::RedisStore;
use aint_queue::store::{Destination, MAX_BATCH, MAX_BATCH_BYTES, OutputChange, Settlement, Store, Turn};
use fixture::Fixture;

/// Jobs per measurement.
const JOBS: usize = 200_000;
const ROUNDS: usize = 5;
/// Lowest ratio that the product promises.
const PROMISED: f64 = 0.3;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = redis::Server::start();
    println!("{JOBS} no-op jobs with 100-byte payloads, coroutine mode, Redis, batches of up to {MAX_BATCH}");
    println!("{:>5}  {:>14}  {:>14}  {:>5}", "round", "bare loop/s", "with workers/s", "ratio");
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let bare = runtime.block_on(bare_loop(&server, &format!("bare{round}")));
        let full = runtime.block_on(with_workers(&server, &format!("full{round}")));
        println!("{round:>5}  {bare:>14.0}  {full:>14.0}  {:>5.2}", full / bare);
        ratios.push(full / bare);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    println!("median ratio {median:.2}, promised at least {PROMISED}");
    assert!(median >= PROMISED, "slower than promised");
}

async fn filled(server: &redis::Server, channel: &str) -> RedisStore {
    let store = RedisStore::connect(&server.config(), channel).await.unwrap();
    let payload = Payload::parse(format!("{{\"pad\":\"{}\"}}", "x".repeat(90))).unwrap();
    let batch = vec![NewJob::new("noop", payload); MAX_BATCH];
    for _ in 0..JOBS / MAX_BATCH {
        store.push(&batch).await.unwrap();
    }
    store
}

/// Measures a client that leases and settles in turns and runs nothing.
async fn bare_loop(server: &redis::Server, channel: &str) -> f64 {
    let store = filled(server, channel).await;
    let owner = store.join().await.unwrap();
    let (mut seq, mut done, mut settlements) = (0, 0, Vec::new());
    let begun = Instant::now();
    while done < JOBS {
        seq += 1;
        let turn = Turn {
            owner: &owner,
            seq,
            settlements: &settlements,
            releases: &[],
            want: MAX_BATCH,
            max_bytes: MAX_BATCH_BYTES,
            overdue: None,
            publish: None,
        };
        let reply = store.turn(turn).await.unwrap();
        done += settlements.len();
        let done_with =
            |id| Settlement { id, unique: None, to: Destination::Done, output: OutputChange::Keep };
        settlements = reply.leased.iter().map(|leased| done_with(leased.id())).collect();
    }
    rate(JOBS, begun)
}

/// Measures `queue:listen` with one worker process, from the first finished job to the last.
async fn with_workers(server: &redis::Server, channel: &str) -> f64 {
    let store = filled(server, channel).await;
    let config = server.config();
    let fixture = Fixture::new(
        &format!(
            r#"{{ type = "redis", connection = {{ host = "{}", port = {} }} }}"#,
            config.host, config.port
        ),
        &format!("[channels.{channel}.worker]\ntype = \"coroutine\"\n"),
    );
    let master = fixture.listen(&["-t", channel]);
    let done = async || usize::try_from(store.status().await.unwrap().done).unwrap();
    let mut first = done().await;
    while first == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        first = done().await;
    }
    let begun = Instant::now();
    while done().await < JOBS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = rate(JOBS - first, begun);
    assert!(master.stop().success());
    rate
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(jobs: usize, begun: Instant) -> f64 {
    jobs as f64 / begun.elapsed().as_secs_f64()
}
