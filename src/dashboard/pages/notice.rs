//! The result of an action, on the page that follows it.
//!
//! A cookie carries it there, and that page removes the cookie: neither a reload nor a link of another site shows it.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use maud::{Markup, html};

use crate::dashboard::parts::{NOTICE_COOKIE, Words, count};

/// A kind of result of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::dashboard) enum NoticeKind {
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
    /// With the processes that ended, and those that did not.
    Killed,
    /// A delayed job waits now.
    RunsNow,
    /// With the minimum number of workers.
    Scaled,
    /// With the generation that serves.
    Reloaded,
    /// With the number of jobs.
    Cleared,
    /// With the id of the job.
    Pushed,
    /// With the processes that ended, and those that did not.
    WorkerKilled,
    WorkerEnds,
    Silenced,
    Unsilenced,
    Tested,
}

/// A result of an action with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::dashboard) struct Notice {
    kind: NoticeKind,
    numbers: [u64; 2],
}

/// The words of the kinds, in addresses of programs and in the log.
const KINDS: [(NoticeKind, &str); 19] = [
    (NoticeKind::Retried, "retried"),
    (NoticeKind::Removed, "removed"),
    (NoticeKind::Cancelled, "cancelled"),
    (NoticeKind::Paused, "paused"),
    (NoticeKind::Resumed, "resumed"),
    (NoticeKind::Quiet, "quiet"),
    (NoticeKind::Nothing, "nothing"),
    (NoticeKind::UnderWay, "under-way"),
    (NoticeKind::Killed, "killed"),
    (NoticeKind::RunsNow, "runs-now"),
    (NoticeKind::Scaled, "scaled"),
    (NoticeKind::Reloaded, "reloaded"),
    (NoticeKind::Cleared, "cleared"),
    (NoticeKind::Pushed, "pushed"),
    (NoticeKind::WorkerKilled, "worker-killed"),
    (NoticeKind::WorkerEnds, "worker-ends"),
    (NoticeKind::Silenced, "silenced"),
    (NoticeKind::Unsilenced, "unsilenced"),
    (NoticeKind::Tested, "tested"),
];

impl From<NoticeKind> for Notice {
    fn from(kind: NoticeKind) -> Self {
        Self { kind, numbers: [0, 0] }
    }
}

impl Notice {
    pub(in crate::engine::dashboard) fn of(kind: NoticeKind, numbers: [u64; 2]) -> Self {
        Self { kind, numbers }
    }

    pub(in crate::engine::dashboard) fn is(self, kind: NoticeKind) -> bool {
        self.kind == kind
    }

    /// The word for the log and for programs.
    pub(in crate::engine::dashboard) fn word(self) -> &'static str {
        KINDS[self.kind as usize].1
    }

    /// The word with the numbers, as the log and the cookie have it.
    pub(in crate::engine::dashboard) fn text(self) -> String {
        match self.numbers {
            [0, 0] => self.word().to_owned(),
            [first, second] => format!("{}.{first}.{second}", self.word()),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let word = parts.next()?;
        let (kind, _) = KINDS.into_iter().find(|(_, known)| *known == word)?;
        let mut number = || parts.next().and_then(|number| number.parse().ok()).unwrap_or_default();
        Some(Self { kind, numbers: [number(), number()] })
    }

    /// The result that a request brings.
    pub(super) fn of_request(headers: &HeaderMap) -> Option<Self> {
        let sent = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find_map(|(name, value)| (name == NOTICE_COOKIE).then(|| Self::read(value)).flatten())
    }

    /// The sentence in a language.
    pub(in crate::engine::dashboard) fn sentence(self, words: &Words) -> String {
        let number = |number: u64| match self.kind {
            // An id is no count.
            NoticeKind::Pushed => number.to_string(),
            _ => count(Some(number)),
        };
        let [first, second] = self.numbers.map(number);
        words.notice(self.kind as usize).replace("{a}", &first).replace("{b}", &second)
    }
}

/// The notice of a page.
pub(super) fn notice(shown: Option<Notice>, words: &Words) -> Markup {
    html! {
        @if let Some(notice) = shown {
            p class="notice" role="status" { (notice.sentence(words)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_brings_a_known_result_with_its_numbers_only() {
        for (index, (kind, word)) in KINDS.into_iter().enumerate() {
            assert_eq!((kind as usize, Notice::from(kind).word()), (index, word));
            let notice = Notice::of(kind, [3, 1]);
            assert_eq!(Notice::read(&notice.text()), Some(notice));
        }
        assert_eq!(Notice::read("removed"), Some(NoticeKind::Removed.into()));
        for wrong in ["", "x", "<b>", "removed<b>", ".1.2"] {
            assert_eq!(Notice::read(wrong), None, "{wrong}");
        }
    }
}
