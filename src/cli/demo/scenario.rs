//! The scenario of the demo: its configuration, its jobs, and their expected results.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::demo_jobs;
use crate::job::{NewJob, Payload, Start};

/// Three channels, three modes, one embedded store. The workers run the demo jobs, not those of the application whose
/// command line this is.
pub(super) fn config(program: &Path) -> String {
    let command = json!([program.to_string_lossy(), demo_jobs::WORKER_ARGUMENT]);
    format!("{CONFIG}\n[defaults.worker]\nprotocol = \"wire\"\ncommand = {command}\n")
}

const CONFIG: &str = r#"
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

/// Number of jobs of each kind.
const QUICK: usize = 2000;
const SLOW: usize = 40;
const FLAKY: usize = 20;
const HOPELESS: usize = 3;
const KILLERS: usize = 1;
const MAILS: usize = 3000;
const LATER: usize = 100;
const REPORTS: usize = 40;
const ENDLESS: usize = 1;

/// Delay of the delayed mails.
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

/// Expected numbers of done and failed jobs of a channel.
pub(super) fn expected(channel: &str) -> (u64, u64) {
    let (done, failed) = match channel {
        "default" => (QUICK + SLOW + FLAKY, HOPELESS + KILLERS),
        "mail" => (MAILS + LATER, 0),
        _ => (REPORTS, ENDLESS),
    };
    (done as u64, failed as u64)
}

/// Text at the end, with a sentence about each feature shown.
pub(super) fn epilogue(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    format!(
        "
Shown in {seconds:.1} seconds:

  process-pool  Four long-lived processes ran {QUICK} quick and {SLOW} slow jobs of
                channel \"default\".
  retries       {FLAKY} jobs failed once, were retried after half a second and are
                done.
  failed        {HOPELESS} jobs failed in all three attempts; queue:failed would list
                them with their errors.
  crash         {KILLERS} job crashed its worker three times, alone in it each time, and
                failed as poison; no other job was affected.
  coroutine     One process of channel \"mail\" ran {MAILS} jobs of 200 ms, up to
                500 at once.
  delayed       {LATER} mails had a delay of {delay} seconds; none ran earlier.
  process       {REPORTS} jobs of channel \"reports\" ran in a new process each; the
                processes were started ahead of the jobs.
  time-out      {ENDLESS} job would have slept for a minute; it was ended after
                max_execute_seconds = 2.

Every job is accounted for. Next steps: queue:listen runs the jobs of your
channels, queue:push adds jobs, list shows all commands.
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
