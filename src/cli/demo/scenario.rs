//! Who plays in the demo: its configuration, its jobs, and what must have become of them.

use std::time::Duration;

use serde_json::json;

use crate::job::{NewJob, Payload, Start};

/// Three channels, three modes, one embedded store.
pub(super) const CONFIG: &str = r#"
[defaults]
pid_path = "run"
stop_wait_seconds = 5
backoff = { kind = "fixed", base = 0.5, max = 1, jitter = 0.2 }
driver = { type = "sqlite", path = "demo.db" }

[channels.default.worker]
type = "process-pool"
min_worker_number = 4
max_worker_number = 4

[channels.mail.worker]
type = "coroutine"
max_coroutine = 500

[channels.reports.worker]
type = "process"
max_execute_seconds = 2
"#;

/// How many jobs of each kind there are.
const QUICK: usize = 2000;
const SLOW: usize = 40;
const FLAKY: usize = 20;
const HOPELESS: usize = 3;
const KILLERS: usize = 1;
const MAILS: usize = 3000;
const LATER: usize = 100;
const REPORTS: usize = 40;
const ENDLESS: usize = 1;

/// How long the delayed mails wait.
const DELAY: Duration = Duration::from_secs(3);

/// The jobs of a channel, in the order they are pushed.
pub(super) fn jobs(channel: &str) -> Vec<NewJob> {
    let mut jobs = Vec::new();
    let mut add = |count: usize, job: &str, payload: serde_json::Value| {
        let payload = Payload::of(&payload).expect("the payloads of the demo are small");
        jobs.extend(std::iter::repeat_n(NewJob::new(job, payload), count));
    };
    match channel {
        "default" => {
            add(KILLERS, "crash", json!({}));
            add(HOPELESS, "fail", json!({ "message": "the address does not exist" }));
            add(FLAKY, "fail", json!({ "message": "the other side is busy", "times": 1 }));
            add(SLOW, "sleep", json!({ "ms": 100 }));
            add(QUICK, "noop", json!({}));
        }
        "mail" => {
            add(MAILS, "sleep", json!({ "ms": 200 }));
            add(LATER, "noop", json!({}));
            for job in &mut jobs[MAILS..] {
                job.start = Start::After(DELAY);
            }
        }
        _ => {
            add(ENDLESS, "sleep", json!({ "ms": 60_000 }));
            jobs[0].meta.max_attempts = Some(1);
            let payload = Payload::of(&json!({ "ms": 20 })).expect("it is small");
            jobs.extend(std::iter::repeat_n(NewJob::new("burn", payload), REPORTS));
        }
    }
    jobs
}

/// How many jobs of a channel must end in done and in failed.
pub(super) fn expected(channel: &str) -> (u64, u64) {
    let (done, failed) = match channel {
        "default" => (QUICK + SLOW + FLAKY, HOPELESS + KILLERS),
        "mail" => (MAILS + LATER, 0),
        _ => (REPORTS, ENDLESS),
    };
    (done as u64, failed as u64)
}

/// A sentence on each thing there was to see.
pub(super) fn epilogue(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    format!(
        "
What you just saw, in {seconds:.1} seconds:

  process-pool  Four long-lived processes ran {QUICK} quick and {SLOW} slow jobs of the
                channel \"default\".
  retries       {FLAKY} jobs failed at first; each was tried again half a second
                later and is done.
  failed        {HOPELESS} jobs failed in all of their three attempts and are kept, with
                their errors, for queue:failed.
  crash         {KILLERS} job killed its worker three times, each time alone in it, and
                was set aside as poison; no other job noticed.
  coroutine     One process of the channel \"mail\" ran {MAILS} jobs of 200 ms, up to
                500 of them at once.
  delayed       {LATER} mails were pushed for {delay} seconds later and did not run a
                moment earlier.
  process       {REPORTS} jobs of the channel \"reports\" each had a fresh process, and
                none waited for its start.
  time-out      {ENDLESS} job would have slept for a minute; it was ended after
                max_execute_seconds = 2.

Every job is accounted for. Next: queue:listen serves your own channels,
queue:push gives them work; list shows the rest.
",
        delay = DELAY.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_job_has_an_expected_outcome() {
        for channel in ["default", "mail", "reports"] {
            let (done, failed) = expected(channel);
            assert_eq!(jobs(channel).len() as u64, done + failed, "{channel}");
            assert!(jobs(channel).iter().all(|job| job.check().is_ok()));
        }
    }
}
