//! Failure of a command: exit code, operation, cause, and remedy.

use std::error::Error;
use std::fmt;

use crate::config::{ConfigError, UndeclaredChannel};
use crate::store::{PushError, StoreError};

/// Exit codes other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Failed, or only partly done.
    Failed = 1,
    /// The command line or its input was refused; nothing was done.
    Usage = 2,
    /// The master is not running, or already running.
    Running = 3,
    /// The configuration is invalid.
    Config = 4,
    /// The store is unavailable.
    Store = 5,
}

/// Failure of a command, printed as "could not ...: cause" and a hint.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    doing: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    /// The remedy; empty when there is none.
    hint: String,
    silent: bool,
}

impl Failure {
    /// `doing` completes the phrase "could not ...".
    pub(crate) fn new(exit: Exit, doing: impl Into<String>) -> Self {
        Self { exit, doing: doing.into(), cause: None, hint: String::new(), silent: false }
    }

    /// A failure that is not printed, for example because the reader of the output is gone.
    pub(crate) fn silent() -> Self {
        Self { silent: true, ..Self::new(Exit::Failed, "") }
    }

    /// The configuration cannot be used.
    pub(crate) fn config(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::Unreadable { .. } => {
                "name a readable file, or use config/aint-queue.toml or aint-queue.toml by leaving out --config and AINT_QUEUE_CONFIG"
            }
            ConfigError::Distrusted(_) => "name it with --config or AINT_QUEUE_CONFIG if it is the right one",
            ConfigError::Invalid(_) => {
                "docs/configuration.md lists every key; a running master keeps its previous configuration, and SIGTERM stops it"
            }
        };
        Self::new(Exit::Config, "load the configuration").because(error).hint(hint)
    }

    /// Failure of a store call.
    pub(crate) fn store(doing: impl Into<String>, error: StoreError) -> Self {
        let (exit, hint) = match &error {
            StoreError::Unavailable { .. } => (
                Exit::Store,
                "check that the store is running and that the driver settings, shown by config:check, are right",
            ),
            // These messages contain their own remedy.
            StoreError::Full { .. } | StoreError::Corrupt { .. } | StoreError::Refused { .. } => {
                (Exit::Store, "")
            }
            StoreError::Lost | StoreError::Replayed => (Exit::Failed, ""),
        };
        Self::new(exit, doing).because(error).hint(hint)
    }

    /// Failure of a push.
    pub(crate) fn push(doing: impl Into<String>, error: PushError) -> Self {
        match error {
            PushError::Store(error) => Self::store(doing, error),
            PushError::Job { why, .. } => Self::new(Exit::Usage, doing).because(why),
            PushError::Payload { why, .. } => Self::new(Exit::Usage, doing).because(why),
            error @ PushError::NeverFits { .. } => Self::new(Exit::Store, doing).because(error),
            error => Self::new(Exit::Failed, doing).because(error),
        }
    }

    /// Adds the cause; its chain of sources is printed as well.
    pub(crate) fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a remedy, in the imperative. An empty text is none.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Replaces the operation, and prints the failure even if it was silent: something has been done.
    pub(crate) fn doing(self, doing: impl Into<String>) -> Self {
        let cause = self.cause.or_else(|| self.silent.then(|| "the reader is gone".into()));
        Self { doing: doing.into(), cause, silent: false, ..self }
    }

    /// Replaces the exit code.
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Whether a store did not answer.
    pub(crate) fn is_store_down(&self) -> bool {
        let error = self.cause.as_deref().and_then(|cause| cause.downcast_ref::<StoreError>());
        matches!(error, Some(StoreError::Unavailable { .. }))
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }
}

impl Failure {
    /// The sentence without the remedy.
    pub(crate) fn message(&self) -> String {
        format!("could not {}{}", self.doing, self.causes())
    }

    /// The causes, each after a colon.
    fn causes(&self) -> String {
        let mut text = String::new();
        let mut cause: Option<&dyn Error> = self.cause.as_deref().map(|cause| cause as &dyn Error);
        let mut said = String::new();
        while let Some(error) = cause {
            let next = error.to_string();
            // Some libraries repeat their source in their own message.
            if !said.ends_with(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            (said, cause) = (next, error.source());
        }
        text
    }

    /// The sentence without the operation.
    pub(crate) fn cause(&self) -> String {
        self.causes().trim_start_matches(": ").to_owned()
    }

    /// The remedy, if there is one.
    pub(crate) fn remedy(&self) -> Option<&str> {
        (!self.hint.is_empty()).then_some(self.hint.as_str())
    }
}

impl From<UndeclaredChannel> for Failure {
    fn from(error: UndeclaredChannel) -> Self {
        Self::new(Exit::Usage, "find the channel")
            .because(error)
            .hint("name a declared channel with --channel, or declare this one in the configuration file")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        if let Some(remedy) = self.remedy() { write!(f, "\nhint: {remedy}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_one_sentence_with_remedy() {
        let cause = std::io::Error::other("connection refused");
        let error = StoreError::Unavailable {
            place: "redis at x:1".into(),
            doing: "pushing",
            source: Box::new(cause),
        };
        let failure = Failure::push("push the job \"noop\"", PushError::Store(error));
        assert_eq!(failure.exit(), Exit::Store);
        let expected = "could not push the job \"noop\": the store at redis at x:1 is not available while pushing: \
                        connection refused\nhint: check that the store is running and that the driver settings, shown \
                        by config:check, are right";
        assert_eq!(failure.to_string(), expected);
    }
}
