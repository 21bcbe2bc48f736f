//! Requests of a running job to its master, and their responses.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

use super::{JobId, MAX_DELAY, MAX_UNIQUE_KEY_BYTES, NewJob};

/// The environment of a run: the worker process or the in-process runner.
#[doc(hidden)]
pub trait RunHost: Send + Sync {
    /// Reports progress in percent.
    fn progress(&self, percent: f64);

    /// Writes a line into the log.
    fn log(&self, level: &str, message: String);

    /// Runs code of the run on a thread that the host does not know yet.
    fn enter(&self, code: &mut dyn FnMut()) {
        code();
    }

    /// Sends a request. The host drops the sender when no response will come.
    fn request(&self, request: JobRequest) -> oneshot::Receiver<Response>;
}

/// A request of a run.
#[derive(Debug)]
#[doc(hidden)]
pub enum JobRequest {
    /// Push jobs.
    Push {
        /// Target channel; `None` for the run's own.
        channel: Option<String>,
        /// The jobs.
        jobs: Vec<NewJob>,
    },
    /// Claim a limit.
    Claim(LimitClaim),
}

/// A claim for a limited resource. Keys are 1 to 256 bytes; each kind has its own key space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitClaim {
    /// At most `limit` runs with this key at the same time, in all masters of the channel.
    Lock {
        /// Name of the lock.
        key: String,
        /// Most holders, at least 1.
        limit: u32,
    },
    /// At most `count` runs with this key in any period `per`, in all masters of the channel: `burst` runs at once, then one
    /// every `per` ÷ (`count` − `burst` + 1).
    Rate {
        /// Name of the rate.
        key: String,
        /// Runs per period, at least 1.
        count: u32,
        /// Runs that may start at once, 1 to `count`.
        burst: u32,
        /// Length of the period: a millisecond to ten years.
        per: Duration,
    },
    /// No runs with this key for `cooldown` after `failures` failures in a row; then one run may try. Each master counts
    /// for itself.
    Breaker {
        /// Name of the breaker.
        key: String,
        /// Failures in a row that open the breaker, at least 1.
        failures: u32,
        /// Time for which the breaker stays open: a millisecond to ten years.
        cooldown: Duration,
    },
}

impl LimitClaim {
    /// Checks key and numbers; the error names the broken rule.
    #[doc(hidden)]
    pub fn check(&self) -> Result<(), String> {
        let (key, number, time) = match self {
            Self::Lock { key, limit } => (key, ("limit", *limit), None),
            Self::Rate { key, count, per, .. } => (key, ("count", *count), Some(("per_ms", *per))),
            Self::Breaker { key, failures, cooldown } => {
                (key, ("failures", *failures), Some(("cooldown_ms", *cooldown)))
            }
        };
        if !(1..=MAX_UNIQUE_KEY_BYTES).contains(&key.len()) {
            let bytes = key.len();
            return Err(format!(
                "the key of a claim has {bytes} bytes; 1 to {MAX_UNIQUE_KEY_BYTES} are allowed"
            ));
        }
        if number.1 == 0 {
            return Err(format!("\"{}\" must be at least 1", number.0));
        }
        if let Self::Rate { count, burst, .. } = self
            && !(1..=*count).contains(burst)
        {
            return Err(format!("\"burst\" is {burst}; 1 to \"count\", which is {count}, are allowed"));
        }
        match time {
            Some((name, time)) if time < Duration::from_millis(1) || time > MAX_DELAY => {
                Err(format!("\"{name}\" must be from a millisecond to ten years"))
            }
            _ => Ok(()),
        }
    }
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitDecision {
    /// Granted until the end of the run.
    Granted,
    /// Refused; claim again after this time, zero when the time is unknown.
    Wait(Duration),
}

/// The response to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Claim granted until the end of the run.
    Granted,
    /// Claim refused; claim again after this time.
    Wait(Duration),
    /// Jobs pushed: their ids, in order.
    Pushed(Vec<u64>),
    /// Request failed, with the reason.
    Error(String),
}

/// Failure of a request.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// The master refused the request or could not carry it out.
    #[error("{0}")]
    Refused(String),
    /// The master is gone, or the run has ended for it.
    #[error("the master no longer responds")]
    Gone,
}

/// A response under way: await it, or call [`wait`](PendingResponse::wait) in a blocking handler. The request is sent
/// already; dropping this value only discards the response.
#[derive(Debug)]
#[must_use = "await it, or call wait() in a blocking handler, to learn the result"]
pub struct PendingResponse<T> {
    answer: oneshot::Receiver<Response>,
    read: fn(Response) -> Option<T>,
}

impl<T> PendingResponse<T> {
    pub(super) fn new(answer: oneshot::Receiver<Response>, read: fn(Response) -> Option<T>) -> Self {
        Self { answer, read }
    }

    pub(super) fn refused(why: String) -> Self {
        let (refusal, answer) = oneshot::channel();
        // The receiver is still in this function, so the send cannot fail.
        let _ = refusal.send(Response::Error(why));
        Self { answer, read: |_| None }
    }

    /// Blocks this thread until the response is here.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; [`RequestError::Gone`] when no response will come.
    ///
    /// # Panics
    /// In asynchronous code, which must await instead.
    pub fn wait(self) -> Result<T, RequestError> {
        read(self.answer.blocking_recv(), self.read)
    }
}

impl<T> Future for PendingResponse<T> {
    type Output = Result<T, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(read(ready!(Pin::new(&mut self.answer).poll(cx)), self.read))
    }
}

fn read<T>(
    answer: Result<Response, oneshot::error::RecvError>,
    read: fn(Response) -> Option<T>,
) -> Result<T, RequestError> {
    match answer {
        Ok(Response::Error(why)) => Err(RequestError::Refused(why)),
        Ok(answer) => read(answer).ok_or(RequestError::Gone),
        Err(_) => Err(RequestError::Gone),
    }
}

pub(super) fn one_id(answer: Response) -> Option<JobId> {
    ids(answer)?.into_iter().next()
}

pub(super) fn ids(answer: Response) -> Option<Vec<JobId>> {
    match answer {
        Response::Pushed(ids) => Some(ids.into_iter().map(JobId).collect()),
        _ => None,
    }
}

pub(super) fn claimed(answer: Response) -> Option<LimitDecision> {
    match answer {
        Response::Granted => Some(LimitDecision::Granted),
        Response::Wait(time) => Some(LimitDecision::Wait(time)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_outside_its_range_is_refused_with_the_range() {
        let lock = |key: &str, limit| LimitClaim::Lock { key: key.into(), limit }.check();
        assert_eq!(lock("k", 1), Ok(()));
        assert!(lock("", 1).unwrap_err().contains("1 to 256"));
        assert!(lock(&"k".repeat(257), 1).unwrap_err().contains("257 bytes"));
        assert!(lock("k", 0).unwrap_err().contains("\"limit\""));
        let rate = |per| LimitClaim::Rate { key: "k".into(), count: 1, burst: 1, per }.check();
        assert_eq!(rate(Duration::from_millis(1)), Ok(()));
        assert!(rate(Duration::ZERO).unwrap_err().contains("\"per_ms\""));
        for burst in [0, 4] {
            let claim = LimitClaim::Rate { key: "k".into(), count: 3, burst, per: Duration::from_secs(1) };
            assert!(claim.check().unwrap_err().contains(&format!("\"burst\" is {burst}; 1 to")));
        }
    }

    #[tokio::test]
    async fn missing_response_is_an_error() {
        let (sender, answer) = oneshot::channel();
        drop(sender);
        assert_eq!(PendingResponse::new(answer, one_id).await, Err(RequestError::Gone));
        assert_eq!(
            PendingResponse::<JobId>::refused("no".into()).await,
            Err(RequestError::Refused("no".into()))
        );
    }
}
