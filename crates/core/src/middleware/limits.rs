//! Layers that ask the master whether a job may run now.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::job::{JobCall, JobError, JobService, LimitClaim, LimitDecision};

type KeyFn = Arc<dyn Fn(&JobCall) -> Result<String, JobError> + Send + Sync>;

/// How long a job rests that may not run now, when nobody knows how long it takes.
const DEFAULT_RELEASE_DELAY: Duration = Duration::from_secs(1);

/// What a guard counts by: the job's name, or what a function makes of the run.
#[derive(Clone, Default)]
struct Key(Option<KeyFn>);

impl Key {
    fn by(key: impl Fn(&JobCall) -> Result<String, JobError> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(key)))
    }

    fn of(&self, call: &JobCall) -> Result<String, JobError> {
        match &self.0 {
            Some(key) => key(call),
            None => Ok(call.ctx().job().to_owned()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "by a function" } else { "by the job's name" })
    }
}

/// Runs the job if its claim is granted, else releases it.
fn guarded(
    inner: JobService,
    release_delay: Duration,
    claim: impl Fn(&JobCall) -> Result<LimitClaim, JobError> + Send + Sync + 'static,
) -> JobService {
    inner.wrap(move |call, next| {
        let claim = claim(&call);
        async move {
            let claim = claim?;
            // What makes no sense would be released for ever.
            claim.check().map_err(JobError::never)?;
            match call.ctx().claim(claim).await {
                Ok(LimitDecision::Granted) => next.run(call).await,
                Ok(LimitDecision::Wait(Duration::ZERO)) => Err(JobError::release(release_delay)),
                Ok(LimitDecision::Wait(time)) => Err(JobError::release(time)),
                // The master could not find out, as when the store is away: not the job's fault.
                Err(error) => {
                    call.ctx().log("warn", format!("could not ask whether the job may run: {error}"));
                    Err(JobError::release(release_delay))
                }
            }
        }
    })
}

/// At most so many jobs with the same key run at the same time, in all masters of the channel.
///
/// A job that finds its key taken is released and tried again after a second, or as [`NoOverlap::release_delay`] says. Layers
/// further in that release the job give the key back at once, as every end of the run does.
#[derive(Clone, Debug)]
pub struct NoOverlap {
    key: Key,
    limit: u32,
    release_delay: Duration,
}

impl NoOverlap {
    /// One job of each name at a time.
    #[must_use]
    pub fn by_job() -> Self {
        Self { key: Key::default(), limit: 1, release_delay: DEFAULT_RELEASE_DELAY }
    }

    /// One job of each key at a time. Keys are 1 to 256 bytes.
    #[must_use]
    pub fn by(key: impl Fn(&JobCall) -> Result<String, JobError> + Send + Sync + 'static) -> Self {
        Self { key: Key::by(key), ..Self::by_job() }
    }

    /// So many at a time instead of one; at least 1.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// How long a job rests that finds its key taken.
    #[must_use]
    pub fn release_delay(mut self, release_delay: Duration) -> Self {
        self.release_delay = release_delay;
        self
    }
}

impl Layer<JobService> for NoOverlap {
    type Service = JobService;

    fn layer(&self, inner: JobService) -> JobService {
        let Self { key, limit, release_delay } = self.clone();
        guarded(inner, release_delay, move |call| Ok(LimitClaim::Lock { key: key.of(call)?, limit }))
    }
}

/// At most so many jobs with the same key begin within some time, in all masters of the channel.
///
/// Without [`RateLimit::by`] all jobs of a name share a rate. Bursts of the whole number are allowed; a job that finds no
/// room is released until there is some.
#[derive(Clone, Debug)]
pub struct RateLimit {
    key: Key,
    count: u32,
    per: Duration,
}

impl RateLimit {
    /// `count` jobs, at least 1, in any stretch of `per`, a millisecond to ten years.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Self {
        Self { key: Key::default(), count, per }
    }

    /// With a rate for each key. Keys are 1 to 256 bytes.
    #[must_use]
    pub fn by(mut self, key: impl Fn(&JobCall) -> Result<String, JobError> + Send + Sync + 'static) -> Self {
        self.key = Key::by(key);
        self
    }
}

impl Layer<JobService> for RateLimit {
    type Service = JobService;

    fn layer(&self, inner: JobService) -> JobService {
        let Self { key, count, per } = self.clone();
        guarded(inner, DEFAULT_RELEASE_DELAY, move |call| {
            Ok(LimitClaim::Rate { key: key.of(call)?, count, per })
        })
    }
}

/// No jobs with a key for a while after some of them failed in a row; then one is let through to try, and its success
/// lets all others through again.
///
/// Errors, time-outs and crashes count as failures, and so does a job that fails for good. Each master counts for itself.
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    key: Key,
    failures: u32,
    cooldown: Duration,
}

impl CircuitBreaker {
    /// Opens for `cooldown`, a millisecond to ten years, after `failures`, at least 1, in a row.
    #[must_use]
    pub fn new(failures: u32, cooldown: Duration) -> Self {
        Self { key: Key::default(), failures, cooldown }
    }

    /// With a breaker for each key, such as the service that the job calls. Keys are 1 to 256 bytes.
    #[must_use]
    pub fn by(mut self, key: impl Fn(&JobCall) -> Result<String, JobError> + Send + Sync + 'static) -> Self {
        self.key = Key::by(key);
        self
    }
}

impl Layer<JobService> for CircuitBreaker {
    type Service = JobService;

    fn layer(&self, inner: JobService) -> JobService {
        let Self { key, failures, cooldown } = self.clone();
        guarded(inner, DEFAULT_RELEASE_DELAY, move |call| {
            Ok(LimitClaim::Breaker { key: key.of(call)?, failures, cooldown })
        })
    }
}
