//! Why a worker is started.

use std::fmt;

use crate::pool::recycling::RecycleReason;

/// Why a worker is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartReason {
    /// The configured minimum.
    Min,
    /// The minimum of `queue:scale`.
    ByHand,
    /// The load, in the words of the decision about the number of workers.
    Load(String),
    /// Takes over from a worker that has begun its last jobs.
    Spare,
    /// Replaces a worker, of this pid if it was known.
    Replacement(Option<i32>, RecycleReason),
    /// The first worker of a generation, which a reload waits for.
    Canary(u64),
    /// Runs a suspect of a crash alone.
    Suspect,
    /// Runs a job alone that was lost twice.
    LostTwice,
    /// A program that is started for one job.
    Job,
}

impl StartReason {
    /// The words of all reasons.
    pub(crate) const WORDS: [&str; 9] =
        ["min", "hand", "demand", "spare", "replace", "reload", "suspect", "lost", "job"];

    /// The word for metrics, of [`Self::WORDS`].
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::ByHand => "hand",
            Self::Load(_) => "demand",
            Self::Spare => "spare",
            Self::Canary(_) => "reload",
            Self::Replacement(_, reason) if reason.is_reload() => "reload",
            Self::Replacement(..) => "replace",
            Self::Suspect => "suspect",
            Self::LostTwice => "lost",
            Self::Job => "job",
        }
    }
}

/// The reason as `queue:status` shows it.
impl fmt::Display for StartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Min => f.write_str("min"),
            Self::ByHand => f.write_str("by hand"),
            Self::Load(decision) => f.write_str(decision),
            Self::Spare => f.write_str("spare"),
            Self::Replacement(Some(pid), reason) => write!(f, "replaces {pid}: {reason}"),
            Self::Replacement(None, reason) => write!(f, "replacement: {reason}"),
            Self::Canary(generation) => write!(f, "first of generation {generation}"),
            Self::Suspect => f.write_str("alone with a suspect"),
            Self::LostTwice => f.write_str("alone with a job that was lost twice"),
            Self::Job => f.write_str("its job"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_word_of_the_list() {
        let reasons = [
            StartReason::Min,
            StartReason::ByHand,
            StartReason::Load("backlog 9".to_owned()),
            StartReason::Spare,
            StartReason::Replacement(Some(7), RecycleReason::Jobs(3)),
            StartReason::Replacement(None, RecycleReason::Reload),
            StartReason::Suspect,
            StartReason::LostTwice,
            StartReason::Job,
        ];
        assert_eq!(reasons.map(|reason| reason.word()), StartReason::WORDS);
        assert_eq!(StartReason::Canary(2).word(), "reload");
    }
}
