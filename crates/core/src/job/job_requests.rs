//! What a running job can ask its master, and how the answer comes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

use super::{JobId, MAX_DELAY, MAX_UNIQUE_KEY_BYTES, NewJob};

/// The way from a run to whoever can answer it.
#[doc(hidden)]
pub trait RunHost: Send + Sync {
    /// Says how far the run is.
    fn progress(&self, percent: f64);

    /// Writes a line into the log.
    fn log(&self, level: &str, message: String);

    /// Runs code of the run on a thread that nobody has told of it.
    fn enter(&self, code: &mut dyn FnMut()) {
        code();
    }

    /// Asks; the sender is dropped when nobody will answer.
    fn request(&self, request: JobRequest) -> oneshot::Receiver<Response>;
}

/// What a run asks.
#[derive(Debug)]
#[doc(hidden)]
pub enum JobRequest {
    /// To push jobs.
    Push {
        /// Into this channel instead of the run's own.
        channel: Option<String>,
        /// The jobs.
        jobs: Vec<NewJob>,
    },
    /// To go on.
    Claim(LimitClaim),
}

/// Something that only so many runs may have. Keys are 1 to 256 bytes; each kind has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitClaim {
    /// At most `limit` runs with this key at the same time, in all masters of the channel.
    Lock {
        /// What is locked.
        key: String,
        /// At least 1.
        limit: u32,
    },
    /// At most `count` runs with this key within any stretch of `per`, in all masters of the channel.
    Rate {
        /// What is counted.
        key: String,
        /// At least 1.
        count: u32,
        /// A millisecond to ten years.
        per: Duration,
    },
    /// No runs with this key for `cooldown` after `failures` of them failed in a row; then one is let through to try. Each
    /// master has its own.
    Breaker {
        /// What may break.
        key: String,
        /// At least 1.
        failures: u32,
        /// How long it stays open: a millisecond to ten years.
        cooldown: Duration,
    },
}

impl LimitClaim {
    /// Checks key and numbers.
    #[doc(hidden)]
    pub fn check(&self) -> Result<(), String> {
        let (key, number, time) = match self {
            Self::Lock { key, limit } => (key, ("limit", *limit), None),
            Self::Rate { key, count, per } => (key, ("count", *count), Some(("per", *per))),
            Self::Breaker { key, failures, cooldown } => {
                (key, ("failures", *failures), Some(("cooldown", *cooldown)))
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
        match time {
            Some((name, time)) if time < Duration::from_millis(1) || time > MAX_DELAY => {
                Err(format!("\"{name}\" must be from a millisecond to ten years"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a claim was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitDecision {
    /// The run has it until it ends.
    Granted,
    /// Not now. It may be asked again after this long; zero when nobody knows.
    Wait(Duration),
}

/// What a question is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A claim: the run has it.
    Granted,
    /// A claim: not now. It may be asked again after this long.
    Wait(Duration),
    /// A push: the ids of the jobs, in their order.
    Pushed(Vec<u64>),
    /// Why it could not be done.
    Error(String),
}

/// Why a question was not answered as hoped.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// It was refused, or could not be done.
    #[error("{0}")]
    Refused(String),
    /// The master is gone, or this run is none of its any more.
    #[error("the master does not answer any more")]
    Gone,
}

/// An answer on its way: await it, or [`wait`](PendingResponse::wait) for it in a blocking handler. The question was sent already;
/// dropping this only means not to hear the answer.
#[derive(Debug)]
#[must_use = "await it, or call wait() in a blocking handler, to know whether it worked"]
pub struct PendingResponse<T> {
    state: PendingState,
    read: fn(Response) -> Option<T>,
}

#[derive(Debug)]
enum PendingState {
    Asked(oneshot::Receiver<Response>),
    Refused(String),
}

impl<T> PendingResponse<T> {
    pub(super) fn new(answer: oneshot::Receiver<Response>, read: fn(Response) -> Option<T>) -> Self {
        Self { state: PendingState::Asked(answer), read }
    }

    pub(super) fn refused(why: String) -> Self {
        Self { state: PendingState::Refused(why), read: |_| None }
    }

    /// Blocks this thread until the answer is there.
    ///
    /// # Errors
    /// When it was refused or nobody answers.
    ///
    /// # Panics
    /// In asynchronous code, which must await instead.
    pub fn wait(self) -> Result<T, RequestError> {
        match self.state {
            PendingState::Asked(answer) => read(answer.blocking_recv(), self.read),
            PendingState::Refused(why) => Err(RequestError::Refused(why)),
        }
    }
}

impl<T> Future for PendingResponse<T> {
    type Output = Result<T, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reader = self.read;
        match &mut self.state {
            PendingState::Asked(answer) => Poll::Ready(read(ready!(Pin::new(answer).poll(cx)), reader)),
            PendingState::Refused(why) => Poll::Ready(Err(RequestError::Refused(std::mem::take(why)))),
        }
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
        let rate = |per| LimitClaim::Rate { key: "k".into(), count: 1, per }.check();
        assert_eq!(rate(Duration::from_millis(1)), Ok(()));
        assert!(rate(Duration::ZERO).unwrap_err().contains("\"per\""));
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
