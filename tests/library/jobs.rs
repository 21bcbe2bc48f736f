//! The jobs of the application. Each appends lines about its actions to the file that `LOG` names.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aint_queue::job::{FailReason, JobService};
use aint_queue::middleware::{CircuitBreaker, NoOverlap, RateLimit, Skip};
use aint_queue::{App, AsyncFailedFn, AsyncJob, Context, FailedFn, Job, JobError, Priority, PushOptions};
use serde::{Deserialize, Serialize};

/// Environment variable with the path of the log file.
pub const LOG: &str = "LIBRARY_TEST_LOG";

pub fn app() -> App {
    crate::snapshots::register(crate::after_run_end::register(App::new()))
        .job::<Blocking>()
        .async_job::<Asynchronous>()
        .job::<Doomed>()
        .async_job::<AsyncDoomed>()
        .job::<Opinionated>()
        .job::<Killer>()
        .async_job::<Slow>()
        .job::<Parent>()
        .async_job::<AsyncParent>()
        .async_job::<Alone>()
        .async_job::<Limited>()
        .async_job::<Fragile>()
        .job::<Skipped>()
        .async_job::<Panics>()
        .job::<Sleeps>()
        .async_job::<Ticks>()
        .state(Greeting("hello".to_owned()))
        .state_with(|| Ok::<_, std::io::Error>(Counter(AtomicU32::new(0))))
        .middleware(|call, next| async move {
            if call.ctx().header("loud").is_some() {
                write(&format!("before {}", call.ctx().job()));
                let ended = next.run(call).await;
                write("after");
                return ended;
            }
            next.run(call).await
        })
}

pub struct Greeting(String);
pub struct Counter(AtomicU32);

pub fn write(line: &str) {
    let path = std::env::var(LOG).expect("the test names a file");
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the file can be opened");
    // Write each line with one call, so that lines of several processes do not mix.
    file.write_all(format!("{line}\n").as_bytes()).expect("the file can be written");
}

macro_rules! data {
    ($name:ident { $($field:ident: $type:ty),* }) => {
        #[derive(Serialize, Deserialize)]
        pub struct $name { $(pub $field: $type),* }
    };
}

data!(Blocking { text: String });
impl Job for Blocking {
    const NAME: &'static str = "blocking";
    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let nth = ctx.state::<Counter>().0.fetch_add(1, Ordering::Relaxed);
        let greeting = &ctx.state::<Greeting>().0;
        write(&format!("{greeting} {} #{nth} {:?}", self.text, ctx.header("tenant")));
        Ok(())
    }
}

data!(Asynchronous { text: String });
impl AsyncJob for Asynchronous {
    const NAME: &'static str = "asynchronous";
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        write(&format!("{} {} {:?}", ctx.state::<Greeting>().0, self.text, ctx.header("traceparent")));
        Ok(())
    }
}

data!(Doomed { how: String });
impl Job for Doomed {
    const NAME: &'static str = "doomed";
    const MAX_ATTEMPTS: Option<u32> = Some(2);
    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        write(&format!("attempt {} of {}", ctx.attempt(), ctx.max_attempts()));
        match self.how.as_str() {
            "error" => Err("no".into()),
            "never" => Err(JobError::never("no use")),
            "panic" => panic!("at the disco"),
            "abort" => std::process::abort(),
            "sleep" => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            other => Err(JobError::never(format!("unknown: {other}"))),
        }
    }
    fn failed() -> Option<FailedFn<Self>> {
        Some(|job, failure, ctx| {
            write(&format!(
                "failed {} after {}: {}: {}",
                job.how,
                ctx.attempt(),
                failure.reason.as_str(),
                failure.error
            ));
            Ok(())
        })
    }
}

data!(AsyncDoomed { callback: String });
impl AsyncJob for AsyncDoomed {
    const NAME: &'static str = "async_doomed";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        Err("no".into())
    }
    fn failed() -> Option<AsyncFailedFn<Self>> {
        Some(|job, failure, _| {
            Box::pin(async move {
                write(&format!("failed: {}", failure.error));
                match job.callback.as_str() {
                    "abort" => std::process::abort(),
                    "error" => Err("neither".into()),
                    _ => Ok(()),
                }
            })
        })
    }
}

data!(Opinionated { times: u32 });
impl Job for Opinionated {
    const NAME: &'static str = "opinionated";
    const MAX_ATTEMPTS: Option<u32> = Some(50);
    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        write(&format!("attempt {}", ctx.attempt()));
        if ctx.attempt() <= self.times { Err("again".into()) } else { panic!("enough") }
    }
    fn can_retry(error: &JobError, _: &Context) -> bool {
        !error.message().contains("enough")
    }
    fn retry_after(_: &JobError, ctx: &Context) -> Option<Duration> {
        Some(Duration::from_millis(u64::from(ctx.attempt())))
    }
}

data!(Killer {});
impl Job for Killer {
    const NAME: &'static str = "killer";
    const MAX_ATTEMPTS: Option<u32> = Some(10);
    fn handle(self, _: &Context) -> Result<(), JobError> {
        std::process::abort()
    }
    fn failed() -> Option<FailedFn<Self>> {
        Some(|_, failure, _| {
            assert_eq!(failure.reason, FailReason::Poison);
            write("poison");
            Ok(())
        })
    }
}

data!(Slow { tidy: bool });
impl AsyncJob for Slow {
    const NAME: &'static str = "slow";
    const TIMEOUT: Option<Duration> = Some(Duration::from_millis(150));
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        write("begins");
        if self.tidy {
            ctx.cancelled().await;
            let left = ctx.time_left().unwrap_or_default();
            write(if left < Duration::from_millis(50) { "tidies up" } else { "cancelled too early" });
            return Ok(());
        }
        std::future::pending().await
    }
}

data!(Parent { text: String });
impl Job for Parent {
    const NAME: &'static str = "parent";
    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        ctx.progress(50.0);
        // Delayed, so that the job cannot run and free its key between the two pushes.
        let soon = Duration::from_millis(200);
        let options =
            PushOptions::new().priority(Priority::High).unique("child").header("tenant", "t1").delay(soon);
        let first = ctx.push_with(&Blocking { text: self.text.clone() }, &options).wait()?;
        let second = ctx.push_with(&Blocking { text: self.text }, &options).wait()?;
        assert_eq!(first, second, "the key is held");
        let refused = ctx.push_with(&Blocking { text: String::new() }, &PushOptions::new().unique("")).wait();
        write(&format!("refused: {}", refused.unwrap_err()));
        Ok(())
    }
}

data!(AsyncParent { children: usize });
impl AsyncJob for AsyncParent {
    const NAME: &'static str = "async_parent";
    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let children: Vec<_> = (0..self.children).map(|n| Asynchronous { text: n.to_string() }).collect();
        let ids = ctx.push_many(&children).await?;
        assert_eq!(ids.len(), self.children);
        Ok(())
    }
}

data!(Alone { key: u32 });
impl AsyncJob for Alone {
    const NAME: &'static str = "alone";
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        write(&format!("in {}", self.key));
        tokio::time::sleep(Duration::from_millis(30)).await;
        write(&format!("out {}", self.key));
        Ok(())
    }
    fn layers(service: JobService) -> JobService {
        let by_key = NoOverlap::by(|call| Ok(call.parse::<Self>()?.key.to_string()));
        service.with(by_key.release_delay(Duration::from_millis(20)))
    }
}

data!(Limited {});
impl AsyncJob for Limited {
    const NAME: &'static str = "limited";
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        write("ran");
        Ok(())
    }
    fn layers(service: JobService) -> JobService {
        service.with(RateLimit::new(5, Duration::from_secs(3600)).burst(5))
    }
}

data!(Fragile { ok: bool });
impl AsyncJob for Fragile {
    const NAME: &'static str = "fragile";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        write(if self.ok { "works" } else { "breaks" });
        if self.ok { Ok(()) } else { Err("broken".into()) }
    }
    fn layers(service: JobService) -> JobService {
        service.with(CircuitBreaker::new(2, Duration::from_millis(400)))
    }
}

data!(Skipped { n: u32 });
impl Job for Skipped {
    const NAME: &'static str = "skipped";
    fn handle(self, _: &Context) -> Result<(), JobError> {
        tracing::info!(n = self.n, "running");
        write(&format!("ran {}", self.n));
        Ok(())
    }
    fn layers(service: JobService) -> JobService {
        service.with(Skip::when(|call| call.parse::<Self>().is_ok_and(|job| job.n % 2 == 1)))
    }
}

data!(Panics {});
impl AsyncJob for Panics {
    const NAME: &'static str = "panics";
    const MAX_ATTEMPTS: Option<u32> = Some(1);
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        tokio::task::yield_now().await;
        panic!("no way")
    }
}

data!(Sleeps { ms: u64 });
impl Job for Sleeps {
    const NAME: &'static str = "sleeps";
    fn handle(self, _: &Context) -> Result<(), JobError> {
        std::thread::sleep(Duration::from_millis(self.ms));
        write("slept");
        Ok(())
    }
}

data!(Ticks { n: u32 });
impl AsyncJob for Ticks {
    const NAME: &'static str = "ticks";
    async fn handle(self, _: &Context) -> Result<(), JobError> {
        tracing::warn!(n = self.n, "ticking");
        write("ticked");
        Ok(())
    }
}
