//! Pool sizes that follow the backlog.

use std::time::{Duration, Instant};

use crate::fixture::{Fixture, until};
use crate::samples::{Sample, Sampler, metric, runs, sample};
use crate::{size, time_limit};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn backlog_scales_to_max_and_back_after_cool_down() {
    const MIN: u64 = 2;
    const MAX: u64 = 50;
    const COOL_DOWN: Duration = Duration::from_secs(3);
    let jobs = size(3_000, 10_000);
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 50\ncool_down_seconds = 3\n",
    );
    let master = fixture.listen(&[]);
    until("the minimum of workers", || (sample(&fixture).serving() == MIN).then_some(()));
    let sampler = Sampler::start(&fixture);
    fixture.push_lines("default", (0..jobs).map(|_| r#"{"job":"sleep","payload":{"ms":50}}"#.to_owned()));
    let pushed = Instant::now();
    fixture.until("default", "every job", |c| c.done == jobs);
    let done = Instant::now();
    until("the minimum of workers again", || (sample(&fixture).all() == MIN).then_some(()));
    let back = Instant::now();
    let samples = sampler.stop();

    let full = samples.iter().find(|s| s.serving() == MAX).expect("the pool reaches its maximum");
    let up = full.at.saturating_duration_since(pushed);
    println!(
        "{jobs} jobs of 50 ms: {up:?} from the push to {MAX} workers, {:?} back from the last job",
        back - done
    );
    println!("{} samples, {:?} for all jobs", samples.len(), done - pushed);
    assert!(up <= time_limit(2 * SECOND), "it took {up:?} to grow");
    assert!(back - done <= COOL_DOWN + time_limit(2 * SECOND), "it took {:?} to shrink", back - done);
    let fell = samples.iter().find(|s| s.at > full.at && s.serving() < MAX).expect("it shrinks");
    assert!(done.saturating_duration_since(fell.at) <= SECOND / 2, "it shrank while there was work");
    let is_outside = |s: &&Sample| !(MIN..=MAX).contains(&s.serving()) || s.all() > MAX + MAX / 4;
    let outside = samples.iter().find(is_outside);
    assert!(outside.is_none(), "outside its bounds: {}", outside.unwrap().report);
    assert_eq!(
        (runs(&fixture, "done"), runs(&fixture, "interrupted"), runs(&fixture, "crashed")),
        (jobs, 0, 0)
    );

    // The status and the log give the reason for the size.
    let scaled = samples.last().unwrap().report["pool"]["scaled"].clone();
    assert_eq!((&scaled[0]["from"], &scaled[0]["decision"]["workers"]), (&2.into(), &50.into()), "{scaled}");
    assert!(scaled[0]["decision"]["load"]["waiting"].as_u64().unwrap() > 100, "{scaled}");
    let whys: Vec<_> = full.rows().iter().map(|row| row["why"].as_str().unwrap()).collect();
    assert_eq!(whys.iter().filter(|why| **why == "min").count(), 2, "{whys:?}");
    assert!(whys.iter().filter(|why| why.starts_with("backlog ")).count() >= 40, "{whys:?}");
    assert!(metric(&fixture, "aint_queue_scale_decisions_total", ",direction=\"down\"") >= 1);
    // The reason begins with "max" only if the backlog asks for more workers than the maximum.
    let is_told = |log: &str| log.contains("scaling: max, backlog ") || log.contains("scaling: backlog ");
    until("the log line", || is_told(&master.log()).then_some(()));
    let shown = fixture.ok(&["queue:status", "--workers"]);
    assert!(shown.contains("2 wanted: min") && shown.contains("│ idle "), "{shown}");
    assert!(master.stop().success());
}

#[test]
fn idle_pool_is_empty_and_first_push_starts_worker() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 0\ncool_down_seconds = 1\nflex_interval = 0.1\n",
    );
    let master = fixture.listen(&[]);
    assert_eq!(sample(&fixture).all(), 0);
    for round in 1..=2 {
        fixture.push("noop", "{}", &[]);
        fixture.until("default", "the job", |c| c.done == round);
        until("no worker", || (sample(&fixture).all() == 0).then_some(()));
    }
    let rows = fixture.json(&["queue:status", "--workers"]);
    assert_eq!(rows["workers"]["target"], 0, "{rows}");
    // A job that queue:run executes needs no pool.
    fixture.push("noop", "{}", &[]);
    until("the job", || (fixture.counts("default").done == 3).then_some(()));
    assert!(master.stop().success());
}

#[test]
fn static_pool_keeps_its_minimum() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\ndynamic_mode = false\nmin_worker_number = 2\nmax_worker_number = 20\n",
    );
    let master = fixture.listen(&[]);
    until("both workers", || sample(&fixture).serving() == 2);
    let sampler = Sampler::start(&fixture);
    fixture.push_lines("default", (0..100).map(|_| r#"{"job":"sleep","payload":{"ms":20}}"#.to_owned()));
    fixture.until("default", "every job", |c| c.done == 100);
    let samples = sampler.stop();
    assert!(samples.iter().all(|s| (s.serving(), s.all()) == (2, 2)), "it grew or shrank");
    assert!(!samples.is_empty());
    assert!(master.stop().success());
}

#[test]
fn pool_stays_within_its_memory() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 20\nmemory_limit = 48\npool_memory_limit = 200\nflex_interval = 0.2\n",
    );
    let master = fixture.listen(&[]);
    let sampler = Sampler::start(&fixture);
    // Each worker grows to 30 MiB or more, so that twenty exceed the limit of the pool.
    fixture.push_lines(
        "default",
        (0..150).map(|_| r#"{"job":"leak","payload":{"mib":25,"ms":100}}"#.to_owned()),
    );
    fixture.until("default", "every job", |c| c.done == 150);
    let samples = sampler.stop();
    let most = samples.iter().map(Sample::serving).max().unwrap();
    assert!((2..20).contains(&most), "{most} workers");
    assert!(
        samples.iter().any(|s| s.report["pool"]["why"].as_str().unwrap().starts_with("pool_memory_limit"))
    );
    assert_eq!((runs(&fixture, "interrupted"), runs(&fixture, "crashed")), (0, 0));
    assert!(master.stop().success());
}

#[test]
fn started_jobs_do_not_count_as_waiting() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 20\nflex_interval = 0.05\n",
    );
    let master = fixture.listen(&[]);
    until("the minimum of workers", || (sample(&fixture).serving() == 2).then_some(()));
    fixture.push_lines("default", (0..2).map(|_| r#"{"job":"sleep","payload":{"ms":1000}}"#.to_owned()));
    let sampler = Sampler::start(&fixture);
    fixture.until("default", "both jobs", |c| c.done == 2);
    let samples = sampler.stop();
    assert!(samples.iter().any(|s| s.count("busy") == 2));
    let grown = samples.iter().find(|s| s.all() > 2);
    assert!(grown.is_none(), "it grew for jobs that run: {}", grown.unwrap().report["pool"]["scaled"]);
    assert!(master.stop().success());
}

#[test]
fn pool_grows_before_short_jobs_wait_for_long_ones() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 2\nmax_worker_number = 20\ncapacity = 100\nmax_execute_seconds = 0\n",
    );
    let master = fixture.listen(&[]);
    // Enough fast jobs for the autoscaler to know their run time.
    fixture.push_lines("default", (0..40).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    fixture.until("default", "the fast jobs", |c| c.done == 40);
    fixture.push_lines("default", (0..2).map(|_| r#"{"job":"sleep","payload":{"ms":600000}}"#.to_owned()));
    until("every slot to be taken", || (sample(&fixture).count("busy") == 2).then_some(()));
    fixture.push_lines("default", (0..3).map(|_| r#"{"job":"noop","payload":{}}"#.to_owned()));
    fixture.until("default", "the others", |c| c.done == 43);
    assert!(sample(&fixture).all() <= 4, "more workers than needed: {}", sample(&fixture).report);
    assert!(master.force_stop().success());
}
