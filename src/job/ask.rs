//! What a running job can ask its master, and how the answer comes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

use super::{JobId, MAX_DELAY, MAX_UNIQUE_KEY_BYTES, NewJob};

/// The way from a run to whoever can answer it.
pub(crate) trait Link: Send + Sync {
    /// Says how far the run is.
    fn progress(&self, percent: f64);

    /// Writes a line into the log.
    fn log(&self, level: &str, message: String);

    /// Runs code of the run on a thread that nobody has told of it.
    fn enter(&self, code: &mut dyn FnMut()) {
        code();
    }

    /// Asks; the sender is dropped when nobody will answer.
    fn ask(&self, ask: Ask) -> oneshot::Receiver<Answer>;
}

/// What a run asks.
#[derive(Debug)]
pub(crate) enum Ask {
    /// To push jobs.
    Push {
        /// Into this channel instead of the run's own.
        channel: Option<String>,
        /// The jobs.
        jobs: Vec<NewJob>,
    },
    /// To go on.
    Claim(Claim),
}

/// Something that only so many runs may have. Keys are 1 to 256 bytes; each kind has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
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

impl Claim {
    /// Checks key and numbers.
    pub(crate) fn check(&self) -> Result<(), String> {
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
pub enum Claimed {
    /// The run has it until it ends.
    Granted,
    /// Not now. It may be asked again after this long; zero when nobody knows.
    Wait(Duration),
}

/// What a question is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
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
pub enum AskError {
    /// It was refused, or could not be done.
    #[error("{0}")]
    Refused(String),
    /// The master is gone, or this run is none of its any more.
    #[error("the master does not answer any more")]
    Gone,
}

/// An answer on its way: await it, or [`wait`](Asking::wait) for it in a blocking handler. The question was sent already;
/// dropping this only means not to hear the answer.
#[derive(Debug)]
#[must_use = "await it, or call wait() in a blocking handler, to know whether it worked"]
pub struct Asking<T> {
    state: State,
    read: fn(Answer) -> Option<T>,
}

#[derive(Debug)]
enum State {
    Asked(oneshot::Receiver<Answer>),
    Refused(String),
}

impl<T> Asking<T> {
    pub(super) fn new(answer: oneshot::Receiver<Answer>, read: fn(Answer) -> Option<T>) -> Self {
        Self { state: State::Asked(answer), read }
    }

    pub(super) fn refused(why: String) -> Self {
        Self { state: State::Refused(why), read: |_| None }
    }

    /// Blocks this thread until the answer is there.
    ///
    /// # Errors
    /// When it was refused or nobody answers.
    ///
    /// # Panics
    /// In asynchronous code, which must await instead.
    pub fn wait(self) -> Result<T, AskError> {
        match self.state {
            State::Asked(answer) => read(answer.blocking_recv(), self.read),
            State::Refused(why) => Err(AskError::Refused(why)),
        }
    }
}

impl<T> Future for Asking<T> {
    type Output = Result<T, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reader = self.read;
        match &mut self.state {
            State::Asked(answer) => Poll::Ready(read(ready!(Pin::new(answer).poll(cx)), reader)),
            State::Refused(why) => Poll::Ready(Err(AskError::Refused(std::mem::take(why)))),
        }
    }
}

fn read<T>(
    answer: Result<Answer, oneshot::error::RecvError>,
    read: fn(Answer) -> Option<T>,
) -> Result<T, AskError> {
    match answer {
        Ok(Answer::Error(why)) => Err(AskError::Refused(why)),
        Ok(answer) => read(answer).ok_or(AskError::Gone),
        Err(_) => Err(AskError::Gone),
    }
}

pub(super) fn one_id(answer: Answer) -> Option<JobId> {
    ids(answer)?.into_iter().next()
}

pub(super) fn ids(answer: Answer) -> Option<Vec<JobId>> {
    match answer {
        Answer::Pushed(ids) => Some(ids.into_iter().map(JobId).collect()),
        _ => None,
    }
}

pub(super) fn claimed(answer: Answer) -> Option<Claimed> {
    match answer {
        Answer::Granted => Some(Claimed::Granted),
        Answer::Wait(time) => Some(Claimed::Wait(time)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_outside_its_range_is_refused_with_the_range() {
        let lock = |key: &str, limit| Claim::Lock { key: key.into(), limit }.check();
        assert_eq!(lock("k", 1), Ok(()));
        assert!(lock("", 1).unwrap_err().contains("1 to 256"));
        assert!(lock(&"k".repeat(257), 1).unwrap_err().contains("257 bytes"));
        assert!(lock("k", 0).unwrap_err().contains("\"limit\""));
        let rate = |per| Claim::Rate { key: "k".into(), count: 1, per }.check();
        assert_eq!(rate(Duration::from_millis(1)), Ok(()));
        assert!(rate(Duration::ZERO).unwrap_err().contains("\"per\""));
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_an_error() {
        let (sender, answer) = oneshot::channel();
        drop(sender);
        assert_eq!(Asking::new(answer, one_id).await, Err(AskError::Gone));
        assert_eq!(Asking::<JobId>::refused("no".into()).await, Err(AskError::Refused("no".into())));
    }
}
