//! Layers that claim limits before a job runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::job::{JobCall, JobError, JobService, LimitClaim, LimitDecision};

type KeyFn = Arc<dyn Fn(&JobCall) -> Result<String, JobError> + Send + Sync>;

/// Release time of a refused job when the wait is unknown.
const DEFAULT_RELEASE_DELAY: Duration = Duration::from_secs(1);

/// The key of a limit: the job's name, or the result of a function of the call.
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

/// Runs the job if its claim is granted, otherwise releases it.
fn guarded(
    inner: JobService,
    release_delay: Duration,
    claim: impl Fn(&JobCall) -> Result<LimitClaim, JobError> + Send + Sync + 'static,
) -> JobService {
    inner.wrap(move |call, next| {
        let claim = claim(&call);
        async move {
            let claim = claim?;
            // An invalid claim would be released forever, so it fails the job.
            claim.check().map_err(JobError::never)?;
            match call.ctx().claim(claim).await {
                Ok(LimitDecision::Granted) => next.run(call).await,
                Ok(LimitDecision::Wait(Duration::ZERO)) => Err(JobError::release(release_delay)),
                Ok(LimitDecision::Wait(time)) => Err(JobError::release(time)),
                // The claim could not be decided, for example during an outage of the store; the job is not to blame.
                Err(error) => {
                    call.ctx().log("warn", format!("could not ask whether the job may run: {error}"));
                    Err(JobError::release(release_delay))
                }
            }
        }
    })
}

/// Bounds the jobs of one key that run at the same time, in all masters of the channel.
///
/// A job that finds no free place is released for a second, or for [`NoOverlap::release_delay`]. Every end of the run
/// returns the place, a release by an inner layer included.
#[derive(Clone, Debug)]
pub struct NoOverlap {
    key: Key,
    limit: u32,
    release_delay: Duration,
}

impl NoOverlap {
    /// A single job of each name at a time.
    #[must_use]
    pub fn by_job() -> Self {
        Self { key: Key::default(), limit: 1, release_delay: DEFAULT_RELEASE_DELAY }
    }

    /// A single job of each key at a time. Keys are 1 to 256 bytes.
    #[must_use]
    pub fn by(key: impl Fn(&JobCall) -> Result<String, JobError> + Send + Sync + 'static) -> Self {
        Self { key: Key::by(key), ..Self::by_job() }
    }

    /// Allows `limit` jobs at a time; at least 1.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the release time of a refused job.
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

/// Bounds the starts of jobs of one key within a period, in all masters of the channel.
///
/// Without [`RateLimit::by`] all jobs of a name share a rate. A refused job is released until there is room. No period has
/// more starts than `count`, wherever it begins.
///
/// The starts are spread over the period, unless [`RateLimit::burst`] allows some at once.
#[derive(Clone, Debug)]
pub struct RateLimit {
    key: Key,
    count: u32,
    burst: u32,
    per: Duration,
}

impl RateLimit {
    /// `count` starts (at least 1) per period `per` (a millisecond to ten years).
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Self {
        Self { key: Key::default(), count, burst: 1, per }
    }

    /// Allows `burst` starts at once, 1 to `count`, after a time without any.
    ///
    /// A burst costs rate, because the period that begins with it has no more starts than another: after it, jobs start once
    /// per `per` ÷ (`count` − `burst` + 1). With `RateLimit::new(5, second)`, a job starts every 200 ms; with `.burst(3)`,
    /// three at once and then one every 333 ms; with `.burst(5)`, five at once and then one every second.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// Uses a separate rate for each key. Keys are 1 to 256 bytes.
    #[must_use]
    pub fn by(mut self, key: impl Fn(&JobCall) -> Result<String, JobError> + Send + Sync + 'static) -> Self {
        self.key = Key::by(key);
        self
    }
}

impl Layer<JobService> for RateLimit {
    type Service = JobService;

    fn layer(&self, inner: JobService) -> JobService {
        let Self { key, count, burst, per } = self.clone();
        guarded(inner, DEFAULT_RELEASE_DELAY, move |call| {
            Ok(LimitClaim::Rate { key: key.of(call)?, count, burst, per })
        })
    }
}

/// Refuses jobs of one key for a while after failures in a row; then one job may try, and its success admits all others.
///
/// Errors, time-outs, crashes and permanent failures count as failures. Each master counts for itself.
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    key: Key,
    failures: u32,
    cooldown: Duration,
}

impl CircuitBreaker {
    /// Opens for `cooldown` (a millisecond to ten years) after `failures` in a row (at least 1).
    #[must_use]
    pub fn new(failures: u32, cooldown: Duration) -> Self {
        Self { key: Key::default(), failures, cooldown }
    }

    /// Uses a separate breaker for each key, such as the name of a remote service. Keys are 1 to 256 bytes.
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
