//! The unsuccessful ends of a handler.

use std::fmt;
use std::time::Duration;

use super::{Outcome, RetryDecision};

/// The unsuccessful end of a handler.
///
/// Any error converts into a `JobError` with `?` and is retried by the channel's policy. The constructors choose another
/// consequence.
pub struct JobError {
    outcome: Outcome,
}

impl JobError {
    /// Retries after `delay`, if attempts are left.
    pub fn retry_after(delay: Duration, error: impl fmt::Display) -> Self {
        Self::failed(error.to_string(), RetryDecision::After(delay))
    }

    /// Fails the job permanently: another attempt would be pointless.
    pub fn never(error: impl fmt::Display) -> Self {
        Self::failed(error.to_string(), RetryDecision::Never)
    }

    /// Returns the job to the queue without counting an attempt; it runs again after `delay`.
    #[must_use]
    pub fn release(delay: Duration) -> Self {
        Self { outcome: Outcome::Released { after: delay } }
    }

    /// The text of the error; for a release, which is not an error, a word for logs.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.outcome {
            Outcome::Failed { error, .. } => error,
            Outcome::TimedOut { .. } => "ran longer than its time limit",
            Outcome::Interrupted => "interrupted",
            Outcome::Cancelled { .. } => "cancelled",
            _ => "released",
        }
    }

    /// The full outcome: a failure with its retry decision, or a release.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Boxes the error for tower layers; [`JobError::from_boxed`] restores it unchanged.
    #[must_use]
    pub fn into_boxed(self) -> Box<dyn std::error::Error + Send + Sync> {
        Box::new(BoxedJobError(self))
    }

    /// Restores an error boxed by [`JobError::into_boxed`]; any other error is retried by policy.
    #[must_use]
    pub fn from_boxed(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<BoxedJobError>() {
            Ok(boxed) => boxed.0,
            Err(other) => Self::from(other),
        }
    }

    /// Replaces a decision left to the policy by that of `decide`.
    pub(crate) fn with_decision(mut self, decide: impl FnOnce(&Self) -> RetryDecision) -> Self {
        if let Outcome::Failed { next: RetryDecision::ByPolicy, .. } = self.outcome {
            let decided = decide(&self);
            if let Outcome::Failed { next, .. } = &mut self.outcome {
                *next = decided;
            }
        }
        self
    }

    #[doc(hidden)]
    pub fn unknown_job(name: &str) -> Self {
        Self::failed(format!("no handler is registered for the job \"{name}\""), RetryDecision::UnknownJob)
    }

    #[doc(hidden)]
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }

    /// Wraps the outcome of a run that did not succeed.
    #[doc(hidden)]
    pub fn from_outcome(outcome: Outcome) -> Self {
        Self { outcome }
    }

    fn failed(error: String, next: RetryDecision) -> Self {
        Self { outcome: Outcome::Failed { error, next } }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for JobError {
    fn from(error: E) -> Self {
        let text = error_chain(&*error.into());
        Self::failed(text, RetryDecision::ByPolicy)
    }
}

/// An error with all its causes, on one line.
#[doc(hidden)]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A [`JobError`] on its way through code that knows only `std::error::Error`.
#[derive(Debug)]
struct BoxedJobError(JobError);

impl fmt::Display for BoxedJobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())
    }
}

impl std::error::Error for BoxedJobError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxed_error_keeps_its_kind() {
        let released = JobError::release(Duration::from_secs(3));
        let back = JobError::from_boxed(released.into_boxed()).into_outcome();
        assert_eq!(back, Outcome::Released { after: Duration::from_secs(3) });
        let foreign = JobError::from_boxed("no".into()).into_outcome();
        assert_eq!(foreign, Outcome::Failed { error: "no".into(), next: RetryDecision::ByPolicy });
    }

    #[test]
    fn job_decides_retry_only_where_error_did_not() {
        let never = |error: JobError| error.with_decision(|_| RetryDecision::Never).into_outcome();
        assert_eq!(never("x".into()), Outcome::Failed { error: "x".into(), next: RetryDecision::Never });
        let after = RetryDecision::After(Duration::from_secs(1));
        let asked = never(JobError::retry_after(Duration::from_secs(1), "x"));
        assert_eq!(asked, Outcome::Failed { error: "x".into(), next: after });
        assert_eq!(never(JobError::release(Duration::ZERO)), Outcome::Released { after: Duration::ZERO });
    }
}
