//! The result of an action, on the page that follows it.

use maud::{Markup, html};

use super::Asked;
use crate::dashboard::parts::Words;

/// A result of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::dashboard) enum Notice {
    Retried,
    Removed,
    Cancelled,
    Paused,
    Resumed,
    Quiet,
    /// The job or the channel was not in a state for the action any more.
    Nothing,
    /// The action takes longer than the page waits.
    UnderWay,
}

impl Notice {
    const ALL: [Self; 8] = [
        Self::Retried,
        Self::Removed,
        Self::Cancelled,
        Self::Paused,
        Self::Resumed,
        Self::Quiet,
        Self::Nothing,
        Self::UnderWay,
    ];

    /// The word of the notice in addresses and in the log.
    pub(in crate::engine::dashboard) fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Removed => "removed",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Quiet => "quiet",
            Self::Nothing => "nothing",
            Self::UnderWay => "under-way",
        }
    }
}

/// The notice that the address of a page names.
pub(super) fn notice(asked: &Asked, words: &Words) -> Markup {
    let named = asked.parameter("done");
    let notice = Notice::ALL.into_iter().find(|notice| Some(notice.as_str()) == named);
    html! {
        @if let Some(notice) = notice {
            p class="notice" role="status" { (words.notice(notice as usize)) }
        }
    }
}
