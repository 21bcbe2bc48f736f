//! Workers that grow: replaced between two jobs, or killed at the hard limit.

use crate::fixture::{BINARY, Fixture, until};
use crate::samples::{Sample, Sampler, metric, reload, runs, sample};
use crate::size;

#[test]
fn leaking_worker_is_replaced_between_jobs() {
    const WORKERS: u64 = 8;
    let jobs = size(200, 1_000);
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 8\nmax_worker_number = 8\nmemory_limit = 64\n",
    );
    let master = fixture.listen(&[]);
    until("all workers", || (sample(&fixture).serving() == WORKERS).then_some(()));
    let sampler = Sampler::start(&fixture);
    fixture.push_lines(
        "default",
        (0..jobs).map(|_| r#"{"job":"leak","payload":{"mib":8,"ms":150}}"#.to_owned()),
    );
    fixture.until("default", "every job", |c| c.done == jobs);
    let samples = sampler.stop();

    assert_eq!(
        (runs(&fixture, "done"), runs(&fixture, "interrupted"), runs(&fixture, "crashed")),
        (jobs, 0, 0)
    );
    let recycled = metric(&fixture, "aint_queue_workers_recycled_total", ",limit=\"memory\"");
    println!("{jobs} jobs that leak 8 MiB: {recycled} workers replaced");
    assert!(recycled >= jobs / 20, "{recycled} were replaced");
    let outgoing = |s: &Sample| {
        s.rows().iter().filter(|row| !row["outgoing"].is_null() && row["state"] != "leaving").count()
    };
    for sample in &samples {
        assert_eq!(sample.serving(), WORKERS, "the successor was not ready first: {}", sample.report);
        assert!(outgoing(sample) <= 2, "more than a quarter at a time: {}", sample.report);
    }
    let most =
        samples.iter().flat_map(Sample::rows).filter_map(|row| row["memory"].as_u64()).max().unwrap() >> 20;
    assert!(most < 64 * 3, "a worker grew to {most} MiB");
    let replaces = |row: &serde_json::Value| row["why"].as_str().unwrap().contains(": memory ");
    assert!(samples.iter().flat_map(Sample::rows).any(replaces), "the status names the replaced worker");
    assert!(master.log().contains("replacing worker: memory "));
    assert!(master.stop().success());
}

#[test]
fn multi_slot_worker_drains_before_replacement() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"coroutine\"\nmax_coroutine = 20\nmax_handle_number = 100\n",
    );
    let master = fixture.listen(&[]);
    fixture.push_lines("default", (0..1_000).map(|_| r#"{"job":"sleep","payload":{"ms":30}}"#.to_owned()));
    fixture.until("default", "every job", |c| c.done == 1_000);
    assert_eq!((runs(&fixture, "done"), runs(&fixture, "interrupted")), (1_000, 0));
    assert!(metric(&fixture, "aint_queue_workers_recycled_total", ",limit=\"jobs\"") >= 9);
    assert!(master.stop().success());
}

#[test]
fn max_age_replaces_idle_workers() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 3\nmax_worker_number = 3\nmax_life_seconds = 1\n",
    );
    let master = fixture.listen(&[]);
    until("all workers", || (sample(&fixture).serving() == 3).then_some(()));
    let first: Vec<_> = sample(&fixture).rows().iter().map(|row| row["pid"].clone()).collect();
    until("all to be replaced", || {
        let now = sample(&fixture);
        assert!(now.serving() >= 3, "{}", now.report);
        now.rows().iter().all(|row| !first.contains(&row["pid"])).then_some(())
    });
    assert!(master.stop().success());
}

#[test]
fn job_over_memory_limit_is_killed_as_crashed() {
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmemory_hard_limit = 128\n",
    );
    let master = fixture.listen(&[]);
    let id = fixture.push("leak", r#"{"mib":200,"ms":20000}"#, &["--max-attempts", "1"]);
    fixture.until("default", "the job to fail", |c| c.failed == 1);
    let shown = fixture.json(&["queue:show", &id.to_string()]).to_string();
    assert!(shown.contains("more than memory_hard_limit = 128 MiB, and was killed"), "{shown}");
    assert!(shown.contains("\"crashed\""), "{shown}");
    assert_eq!(metric(&fixture, "aint_queue_workers_recycled_total", ",limit=\"memory_hard\""), 1);
    fixture.push("noop", "{}", &[]);
    fixture.until("default", "another job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn busy_pool_returns_below_its_memory() {
    const JOBS: u64 = 600;
    // The limit of the pool's memory precedes the fixed number of workers.
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 4\nmax_worker_number = 4\nmemory_limit = 150\npool_memory_limit = 150\n",
    );
    let master = fixture.listen(&[]);
    until("all workers", || (sample(&fixture).serving() == 4).then_some(()));
    let sampler = Sampler::start(&fixture);
    fixture
        .push_lines("default", (0..JOBS).map(|_| r#"{"job":"leak","payload":{"mib":1,"ms":5}}"#.to_owned()));
    fixture.until("default", "every job", |c| c.done == JOBS);
    let samples = sampler.stop();
    let used = |s: &Sample| s.rows().iter().filter_map(|row| row["memory"].as_u64()).sum::<u64>() >> 20;
    let most = samples.iter().map(used).max().unwrap();
    println!("at most {most} MiB together, with {:?} workers", samples.iter().map(Sample::serving).min());
    assert!(samples.iter().any(|s| s.serving() < 4), "four workers stay with {most} MiB");
    assert!(samples.iter().all(|s| s.serving() >= 1), "no worker serves");
    assert_eq!((runs(&fixture, "interrupted"), runs(&fixture, "crashed")), (0, 0));
    assert!(master.stop().success());
}

#[test]
fn pool_at_its_memory_is_replaced_in_waves() {
    // Each worker has about 40 MiB, so that four fit into the limit and five do not.
    let worker = "import json, os, time\n\
        kept = b'x' * (30 << 20)\n\
        time.sleep(0.3)\n\
        wire = os.fdopen(3, 'r+b', buffering=0)\n\
        wire.write(b'{\"type\":\"hello\",\"protocol\":1,\"jobs\":[\"nap\"]}\\n')\n\
        for line in wire:\n\
        \x20   frame = json.loads(line)\n\
        \x20   if frame['type'] == 'stop': break\n\
        \x20   time.sleep(0.02)\n\
        \x20   wire.write(b'{\"type\":\"done\",\"run\":%d}\\n' % frame['run'])\n";
    let fixture = Fixture::sqlite(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 4\nmax_worker_number = 8\nmemory_limit = 100\n\
         pool_memory_limit = 180\nprotocol = \"wire\"\ncommand = [\"python3\", \"worker.py\"]\n",
    );
    fixture.write("worker.py", worker);
    let master = fixture.listen(&[]);
    until("all workers", || (sample(&fixture).serving() == 4).then_some(()));
    fixture.push_lines("default", (0..600).map(|_| r#"{"job":"nap"}"#.to_owned()));
    let sampler = Sampler::start(&fixture);
    let told = reload(&fixture);
    let samples = sampler.stop();
    assert_eq!(told["generation"], 2);
    let fewest = samples.iter().map(Sample::serving).min().unwrap();
    assert!(fewest >= 2, "{fewest} of 4 serve: {}", master.log());
    fixture.until("default", "every job", |c| c.done == 600);
    assert!(master.stop().success());
}

#[test]
fn tight_memory_keeps_fresh_workers() {
    const WORKERS: usize = 5;
    let fixture = Fixture::sqlite(&format!(
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = {WORKERS}\nmax_worker_number = 20\n\
         memory_limit = 96\npool_memory_limit = 200\n\
         command = [\"sh\", \"-c\", \"echo >> started; exec {BINARY} __worker --demo-jobs\"]\n"
    ));
    let started = || std::fs::read_to_string(fixture.file("started")).unwrap_or_default().lines().count();
    let all = || (sample(&fixture).serving() == WORKERS as u64).then_some(());
    let master = fixture.listen(&[]);
    until("all workers", all);
    assert_eq!(started(), WORKERS, "{}", master.log());
    // The second reload replaces workers of the first before their memory has been measured.
    for reloads in 1..=2 {
        fixture.ok(&["queue:reload"]);
        until("all workers again", all);
        assert_eq!(started(), WORKERS * (1 + reloads), "{}", master.log());
    }
    assert!(master.stop().success());
}
