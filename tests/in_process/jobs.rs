//! The jobs of the tests. Each logs its actions to a list in the shared state.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aint_queue::job::JobService;
use aint_queue::middleware::NoOverlap;
use aint_queue::{App, AsyncFailedFn, AsyncJob, Context, FailedFn, Job, JobError};
use serde::{Deserialize, Serialize};

/// The logged actions, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn record(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

pub(crate) fn app(log: &Log) -> App {
    App::new()
        .job::<Note>()
        .async_job::<AsyncNote>()
        .job::<Fails>()
        .async_job::<AsyncFails>()
        .async_job::<Descendants>()
        .async_job::<NeverEnds>()
        .job::<BlocksThread>()
        .job::<ReleasesItself>()
        .async_job::<Exclusive>()
        .job::<Panics>()
        .state(log.clone())
}

/// Logs its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note(pub(crate) String);

pub(crate) fn note(text: &str) -> Note {
    Note(text.to_owned())
}

impl Job for Note {
    const NAME: &'static str = "note";

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        ctx.state::<Log>().record(self.0);
        Ok(())
    }
}

/// Logs its text after yielding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AsyncNote {
    pub(crate) text: String,
}

impl AsyncJob for AsyncNote {
    const NAME: &'static str = "async_note";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        tokio::task::yield_now().await;
        ctx.state::<Log>().record(self.text);
        Ok(())
    }
}

/// Fails until an attempt, or permanently.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fails {
    pub(crate) until: u32,
    pub(crate) never: bool,
}

impl Job for Fails {
    const NAME: &'static str = "fails";

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let attempt = ctx.attempt();
        ctx.state::<Log>().record(format!("attempt {attempt} of {}", ctx.max_attempts()));
        match attempt < self.until {
            true if self.never => Err(JobError::never(format!("no use: {attempt}"))),
            true => Err(format!("error {attempt}").into()),
            false => Ok(()),
        }
    }

    fn can_retry(error: &JobError, _: &Context) -> bool {
        !error.message().contains("error 9")
    }

    fn failed() -> Option<FailedFn<Self>> {
        Some(|_, failure, ctx| {
            ctx.state::<Log>().record(format!("failed: {}: {}", failure.reason.as_str(), failure.error));
            Ok(())
        })
    }
}

/// Fails, as does its failed callback.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AsyncFails {}

impl AsyncJob for AsyncFails {
    const NAME: &'static str = "async_fails";
    const MAX_ATTEMPTS: Option<u32> = Some(2);

    async fn handle(self, _: &Context) -> Result<(), JobError> {
        tokio::task::yield_now().await;
        Err("it is so".into())
    }

    fn retry_after(_: &JobError, _: &Context) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    fn failed() -> Option<AsyncFailedFn<Self>> {
        Some(|_, _, ctx| {
            Box::pin(async move {
                ctx.state::<Log>().record("callback");
                Err("the callback too".into())
            })
        })
    }
}

/// Pushes itself with one generation less, and logs the response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Descendants {
    pub(crate) generations: u32,
    /// Target channel, if not the own one.
    pub(crate) into: Option<String>,
}

impl AsyncJob for Descendants {
    const NAME: &'static str = "family";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        if let Some(generations) = self.generations.checked_sub(1) {
            let child = Self { generations, into: self.into.clone() };
            match &self.into {
                Some(channel) => ctx.to(channel).push(&child).await?,
                None => ctx.push(&child).await?,
            };
        }
        ctx.state::<Log>().record(format!("{} in {}", self.generations, ctx.channel()));
        Ok(())
    }
}

/// Never returns; logs its drop.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NeverEnds {}

impl AsyncJob for NeverEnds {
    const NAME: &'static str = "hangs";
    const TIMEOUT: Option<Duration> = Some(Duration::from_millis(50));
    const MAX_ATTEMPTS: Option<u32> = Some(1);

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        struct Dropped(Log);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.record("dropped");
            }
        }
        let _dropped = Dropped(ctx.state::<Log>().clone());
        std::future::pending().await
    }
}

/// Blocks until cancelled, then returns success or an error.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BlocksThread {
    pub(crate) done: bool,
}

impl Job for BlocksThread {
    const NAME: &'static str = "blocks";
    const TIMEOUT: Option<Duration> = Some(Duration::from_millis(20));
    const MAX_ATTEMPTS: Option<u32> = Some(1);

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        while !ctx.is_cancelled() {
            std::thread::yield_now();
        }
        if self.done { Ok(()) } else { Err("interrupted".into()) }
    }
}

/// Releases itself a number of times.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReleasesItself {
    pub(crate) times: usize,
}

impl Job for ReleasesItself {
    const NAME: &'static str = "again";

    fn handle(self, ctx: &Context) -> Result<(), JobError> {
        let log = ctx.state::<Log>();
        log.record("again");
        if log.0.lock().unwrap().len() <= self.times {
            return Err(JobError::release(Duration::from_secs(30)));
        }
        Ok(())
    }
}

/// Runs at most once at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exclusive {}

impl AsyncJob for Exclusive {
    const NAME: &'static str = "alone";

    async fn handle(self, ctx: &Context) -> Result<(), JobError> {
        ctx.state::<Log>().record("alone");
        Ok(())
    }

    fn layers(service: JobService) -> JobService {
        service.with(NoOverlap::by_job())
    }
}

/// Panics.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Panics {}

impl Job for Panics {
    const NAME: &'static str = "panics";
    const MAX_ATTEMPTS: Option<u32> = Some(1);

    fn handle(self, _: &Context) -> Result<(), JobError> {
        panic!("oh no")
    }
}
