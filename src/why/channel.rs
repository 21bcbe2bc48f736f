//! Explains why the jobs of a channel do not run. Pure.

use super::blockers::{blockers, joined};
use super::facts::Facts;
use super::reasons::{self, Explanation};
use crate::channel::ChannelDetails;
use crate::sanitize;
use crate::wording::{render, time};

/// The reason why the channel as a whole runs no more jobs than it does.
pub(crate) fn explain(facts: &Facts) -> Explanation {
    let channel = facts.channel.as_str();
    let backlog = backlog(facts);
    let blockers = blockers(facts);
    if let Some(first) = blockers.first() {
        let blocked = reasons::CHANNEL_BLOCKED.explain(&[
            ("channel", &channel),
            ("blockers", &joined(&blockers)),
            ("backlog", &backlog),
        ]);
        return Explanation { reason: first.reason, ..blocked };
    }
    let ChannelDetails { slots, free, replacing, report, .. } = facts.details().cloned().unwrap_or_default();
    let reason = match (facts.counts.waiting, slots, free) {
        (0, ..) => match (facts.counts.reserved, facts.counts.delayed) {
            (0, 0) => reasons::CHANNEL_IDLE,
            (0, _) => reasons::CHANNEL_DELAYED,
            _ => reasons::CHANNEL_RUNNING,
        },
        (_, _, 0) if replacing => reasons::CHANNEL_WORKER_REPLACED,
        (_, 0, 0) => reasons::CHANNEL_NO_WORKER,
        (_, 1, 0) => reasons::CHANNEL_SLOT_BUSY,
        (_, _, 0) => reasons::CHANNEL_SLOTS_BUSY,
        _ => reasons::CHANNEL_NEXT,
    };
    let detail = report.worker_error.map_or(String::new(), |error| format!(" ({})", sanitize::line(&error)));
    reason.explain(&[
        ("channel", &channel),
        ("slots", &slots.max(free)),
        ("free", &free),
        ("detail", &detail),
        ("backlog", &backlog),
    ])
}

/// The unfinished jobs of the channel.
fn backlog(facts: &Facts) -> String {
    let counts = &facts.counts;
    let next =
        facts.next_due.map_or(String::new(), |due| format!(", the next one until {}", time::local(due)));
    let parts: Vec<_> = [
        (counts.waiting, "waiting".to_owned()),
        (counts.reserved, "reserved".to_owned()),
        (counts.delayed, format!("delayed{next}")),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, state)| format!("{} {state}", render::jobs_are(count)))
    .collect();
    if parts.is_empty() { "no jobs are waiting, reserved or delayed".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::ChannelStatus;
    use crate::job::Timestamp;
    use crate::store::JobCounts;
    use crate::why::facts::Master;

    fn facts(waiting: u64, reserved: u64, delayed: u64, slots: usize, free: usize) -> Facts {
        let details = ChannelDetails { slots, free, ..ChannelDetails::default() };
        Facts {
            channel: "mail".to_owned(),
            now: Timestamp(1_796_029_200_000_000),
            counts: JobCounts { waiting, reserved, delayed, ..JobCounts::default() },
            master: Master::Answered {
                pid: 42,
                details: Box::new(details),
                other: None,
                differences: Vec::new(),
            },
            max_attempts: 3,
            next_due: (delayed > 0).then_some(Timestamp(1_796_029_300_000_000)),
            before: None,
        }
    }

    #[test]
    fn working_channel_shows_its_backlog() {
        for (facts, reason, says) in [
            (facts(0, 0, 0, 4, 4), "idle", "is idle: no jobs are waiting, reserved or delayed."),
            (facts(0, 0, 1, 4, 4), "delayed", "1 job is delayed, the next one until 2026-"),
            (
                facts(0, 2, 1, 4, 2),
                "running",
                "is running, and no job waits for a slot: 2 jobs are reserved, 1 job is delayed, the next one until ",
            ),
            (
                facts(7, 4, 0, 4, 0),
                "no_slot",
                "is waiting for a slot: all 4 are busy; 7 jobs are waiting, 4 jobs are reserved.",
            ),
            (facts(7, 1, 0, 1, 0), "no_slot", "the only one is busy"),
            (
                facts(7, 2, 0, 4, 2),
                "next",
                "is running: 2 of 4 slots free for waiting jobs; 7 jobs are waiting",
            ),
            (facts(1, 0, 0, 0, 0), "starting", "is waiting for a worker: none is ready; 1 job is waiting."),
        ] {
            let explained = explain(&facts);
            assert_eq!(explained.reason, reason, "{explained:?}");
            assert!(
                explained.text.starts_with("Channel \"mail\" ") && explained.text.contains(says),
                "{explained:?}"
            );
        }
    }

    #[test]
    fn channel_held_back_before_a_reexec_says_so() {
        let mut held = facts(7, 2, 0, 4, 2);
        let Master::Answered { details, .. } = &mut held.master else { unreachable!() };
        details.report.held_back_ms = Some(12_000);
        let explained = explain(&held);
        assert_eq!(explained.reason, "reexec");
        let says = "it takes no jobs until its running ones have ended or 12.0 s have passed, and re-executes itself then; 7 jobs";
        assert!(explained.text.contains(says), "{explained:?}");
    }

    #[test]
    fn channel_without_room_for_processes_says_so() {
        let mut full = facts(7, 2, 0, 4, 0);
        let Master::Answered { details, .. } = &mut full.master else { unreachable!() };
        details.report.pool.no_room =
            Some("could not run \"sh\": EAGAIN (Resource temporarily unavailable)".into());
        let explained = explain(&full);
        assert_eq!(explained.reason, "no_room");
        let says = "is blocked: the system has no room for another process: could not run \"sh\": EAGAIN (Resource temporarily unavailable) (raise";
        assert!(explained.text.contains(says), "{explained:?}");
        let Master::Answered { details, .. } = &mut full.master else { unreachable!() };
        details.free = 1;
        assert_eq!(explain(&full).reason, "next");
    }

    #[test]
    fn channel_replacing_a_worker_says_so() {
        let mut spent = facts(7, 1, 0, 1, 0);
        let Master::Answered { details, .. } = &mut spent.master else { unreachable!() };
        details.replacing = true;
        let explained = explain(&spent);
        assert_eq!(explained.reason, "no_slot");
        let says = "is waiting for a slot: its worker has run max_handle_number jobs and is being replaced; 7 jobs are";
        assert!(explained.text.contains(says), "{explained:?}");
    }

    #[test]
    fn blocked_channel_lists_all_reasons() {
        let mut still = facts(3, 0, 0, 0, 0);
        still.counts.paused = true;
        let Master::Answered { details, .. } = &mut still.master else { unreachable!() };
        details.report = ChannelStatus {
            store_error: Some("connection refused\x1b".to_owned()),
            ..ChannelStatus::default()
        };
        let explained = explain(&still);
        assert_eq!(explained.reason, "paused");
        assert_eq!(
            explained.text,
            "Channel \"mail\" is blocked: the channel is paused until queue:resume; also, the store is unavailable to master 42: \
             connection refused\\u{1b}; 3 jobs are waiting."
        );
    }
}
