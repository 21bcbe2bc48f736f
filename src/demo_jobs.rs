//! Built-in jobs of the `aint-queue` binary, for experiments, its demo and its tests.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::job::{AsyncJob, Context, Job, JobError, Registry};
use crate::worker;

/// First argument that makes a program run as the worker of its `demo`, with the jobs of this module alone.
pub const WORKER_ARGUMENT: &str = "__demo_worker";

/// Second argument of a worker whose channel runs the jobs of this module.
pub const ON_ARGUMENT: &str = "--demo-jobs";

/// Registers all jobs of this module.
pub fn register(registry: &mut Registry) {
    registry.add_async::<Noop>();
    registry.add::<Echo>();
    registry.add_async::<Sleep>();
    registry.add::<Fail>();
    registry.add::<Burn>();
    registry.add::<Crash>();
    registry.add::<Print>();
    registry.add::<Leak>();
    registry.add::<Hang>();
}

/// Makes the registered jobs of this module fail with a message that says how to switch them on.
pub fn switch_off(registry: &mut Registry) {
    let mut demo = Registry::default();
    register(&mut demo);
    registry.refuse(demo.names(), |name| {
        format!(
            "\"{name}\" is a demo job, and channels of a configuration file run none: set demo_jobs = true in the worker table of \
             this channel to run it"
        )
    });
}

/// The worker of `demo`: an application of a user has other jobs, and the demo shows the same everywhere.
#[must_use]
pub fn worker_main() -> ExitCode {
    let mut registry = Registry::default();
    register(&mut registry);
    worker::main(&registry)
}

/// Does nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Noop {}

impl AsyncJob for Noop {
    const NAME: &'static str = "noop";

    async fn handle(self, _: &Context) -> Result<(), JobError> {
        Ok(())
    }
}

/// Prints its message.
#[derive(Debug, Serialize, Deserialize)]
pub struct Echo {
    /// The text.
    pub message: String,
}

impl Job for Echo {
    const NAME: &'static str = "echo";

    fn handle(self, _: &Context) -> Result<(), JobError> {
        writeln!(io::stdout(), "{}", self.message)?;
        Ok(())
    }
}

/// Sleeps.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sleep {
    /// Length in milliseconds.
    pub ms: u64,
}

impl AsyncJob for Sleep {
    const NAME: &'static str = "sleep";

    async fn handle(self, _: &Context) -> Result<(), JobError> {
        tokio::time::sleep(Duration::from_millis(self.ms)).await;
        Ok(())
    }
}

/// Returns an error.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fail {
    /// The error's text.
    #[serde(default = "failed_as_asked")]
    pub message: String,
    /// Number of attempts that fail; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Fails permanently at once.
    #[serde(default)]
    pub r#final: bool,
}

fn failed_as_asked() -> String {
    "failed as asked".to_owned()
}

impl Job for Fail {
    const NAME: &'static str = "fail";

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        match self.times {
            Some(times) if ctx.attempt() > times => Ok(()),
            _ if self.r#final => Err(JobError::never(self.message)),
            _ => Err(self.message.into()),
        }
    }
}

/// Keeps a processor core busy.
#[derive(Debug, Serialize, Deserialize)]
pub struct Burn {
    /// Length in milliseconds.
    pub ms: u64,
}

impl Job for Burn {
    const NAME: &'static str = "burn";

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let until = Instant::now() + Duration::from_millis(self.ms);
        let mut mixed = self.ms;
        while Instant::now() < until && !ctx.is_cancelled() {
            for _ in 0..10_000 {
                mixed = std::hint::black_box(mixed.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            }
        }
        // A burn that was asked to end has not done its work, so it must not count as done.
        if Instant::now() < until { Err("asked to end before the time was over".into()) } else { Ok(()) }
    }
}

/// Kills its worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Crash {
    /// Signal number; SIGKILL when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

impl Job for Crash {
    const NAME: &'static str = "crash";

    fn handle(self, _: &Context) -> Result<(), JobError> {
        let signal = match self.signal {
            None => Signal::SIGKILL,
            Some(number) => Signal::try_from(number)
                .map_err(|_| JobError::never(format!("{number} is not the number of a signal")))?,
        };
        // The runtime catches some signals once, to report stack overflows; the second one kills.
        for _ in 0..2 {
            kill(Pid::this(), signal)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(JobError::never(format!("the worker survived {signal}")))
    }
}

/// Prints a lot, to test that output does not stall a worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Print {
    /// Amount for standard output, and the same for standard error, in KiB.
    pub kib: u32,
}

impl Job for Print {
    const NAME: &'static str = "print";

    fn handle(self, _: &Context) -> Result<(), JobError> {
        // 16 lines of 64 bytes are a KiB.
        let line = format!("{:-<63}\n", "print ");
        for _ in 0..self.kib {
            for _ in 0..16 {
                io::stdout().write_all(line.as_bytes())?;
                io::stderr().write_all(line.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Leaks memory, to test the replacement of workers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Leak {
    /// Amount in MiB.
    pub mib: usize,
    /// Wait after that, in milliseconds.
    #[serde(default)]
    pub ms: u64,
}

impl Job for Leak {
    const NAME: &'static str = "leak";

    fn handle(self, _: &Context) -> Result<(), JobError> {
        // The pages must be written to count as used memory.
        std::mem::forget(std::hint::black_box(vec![1u8; self.mib << 20]));
        std::thread::sleep(Duration::from_millis(self.ms));
        Ok(())
    }
}

/// Sleeps and ignores cancellation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hang {
    /// Length in milliseconds.
    pub ms: u64,
}

impl Job for Hang {
    const NAME: &'static str = "hang";

    fn handle(self, _: &Context) -> Result<(), JobError> {
        std::thread::sleep(Duration::from_millis(self.ms));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Outcome, RetryDecision};

    fn context(attempt: u32) -> Context {
        Context::detached("test", attempt)
    }

    fn fail(data: &str, attempt: u32) -> Option<Outcome> {
        let job: Fail = serde_json::from_str(data).unwrap();
        job.handle(&context(attempt)).err().map(JobError::into_outcome)
    }

    #[test]
    fn fail_fails_as_often_and_finally_as_configured() {
        let failed = |error: &str, next| Some(Outcome::Failed { error: error.to_owned(), next });
        assert_eq!(fail("{}", 9), failed("failed as asked", RetryDecision::ByPolicy));
        assert_eq!(fail(r#"{"message":"no","final":true}"#, 1), failed("no", RetryDecision::Never));
        assert_eq!(fail(r#"{"message":"no","times":2}"#, 2), failed("no", RetryDecision::ByPolicy));
        assert_eq!(fail(r#"{"message":"no","times":2}"#, 3), None);
    }

    #[test]
    fn cancelled_burn_is_not_done() {
        let asked = context(1);
        asked.cancel();
        let outcome = Burn { ms: 60_000 }.handle(&asked).unwrap_err().into_outcome();
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        assert!(Burn { ms: 0 }.handle(&context(1)).is_ok());
    }

    #[test]
    fn crash_refuses_unknown_signals() {
        let job = Crash { signal: Some(9999) };
        let outcome = job.handle(&context(1)).unwrap_err().into_outcome();
        assert!(matches!(outcome, Outcome::Failed { next: RetryDecision::Never, .. }));
    }
}
