//! Why the jobs of a channel do not run, in a sentence. Pure.

use super::blockers::{Explanation, are, blockers, joined};
use super::facts::{Facts, REPLACING_WORKER};
use crate::cli::{sanitize, time};

/// What the channel as a whole waits for.
pub(super) fn answer(facts: &Facts) -> Explanation {
    let channel = format!("Channel \"{}\"", facts.channel);
    let counts = &facts.counts;
    let blockers = blockers(facts);
    let rest = waiting(facts);
    if let Some(first) = blockers.first() {
        return Explanation::new(
            first.reason,
            format!("{channel} stands still: {}; {rest}.", joined(&blockers)),
        );
    }
    let view = facts.view();
    let (slots, free) = view.map_or((0, 0), |view| (view.slots, view.free));
    if counts.waiting == 0 {
        let (reason, does) = match (counts.reserved, counts.delayed) {
            (0, 0) => ("idle", "waits for work:"),
            (0, _) => ("delayed", "waits for work:"),
            _ => ("running", "works, and no job waits for a slot:"),
        };
        return Explanation::new(reason, format!("{channel} {does} {rest}."));
    }
    let replacing = view.is_some_and(|view| view.replacing);
    let (reason, text) = match (slots, free) {
        (_, 0) if replacing => ("no_slot", format!("waits for a slot: {REPLACING_WORKER}")),
        (0, 0) => {
            let error = view.and_then(|view| view.report.worker_error.as_deref());
            let error = error.map_or(String::new(), |error| format!(" ({})", sanitize::line(error)));
            ("starting", format!("waits for a worker to be ready{error}"))
        }
        (1, 0) => ("no_slot", "waits for a slot: the only one is busy".to_owned()),
        (slots, 0) => ("no_slot", format!("waits for a slot: all {slots} are busy")),
        (slots, free) => {
            ("next", format!("works: {free} of {} slots are free for what waits", slots.max(free)))
        }
    };
    Explanation::new(reason, format!("{channel} {text}; {rest}."))
}

/// What there is to do.
fn waiting(facts: &Facts) -> String {
    let counts = &facts.counts;
    let next = facts.next_due.map_or(String::new(), |due| format!(", the next until {}", time::local(due)));
    let parts: Vec<_> = [
        (counts.waiting, "waiting".to_owned()),
        (counts.reserved, "reserved".to_owned()),
        (counts.delayed, format!("delayed{next}")),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{} {word}", are(count)))
    .collect();
    if parts.is_empty() { "no job waits, runs or is delayed".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{ChannelDetails, ChannelStatus};
    use crate::cli::why::facts::MasterFacts;
    use crate::job::Timestamp;
    use crate::store::JobCounts;

    fn facts(waiting: u64, reserved: u64, delayed: u64, slots: usize, free: usize) -> Facts {
        let view = ChannelDetails { slots, free, ..ChannelDetails::default() };
        Facts {
            channel: "mail".to_owned(),
            now: Timestamp(1_796_029_200_000_000),
            counts: JobCounts { waiting, reserved, delayed, ..JobCounts::default() },
            master: MasterFacts::Answers { pid: 42, view: Box::new(view) },
            max_attempts: 3,
            next_due: (delayed > 0).then_some(Timestamp(1_796_029_300_000_000)),
        }
    }

    #[test]
    fn working_channel_shows_its_backlog() {
        for (facts, reason, says) in [
            (facts(0, 0, 0, 4, 4), "idle", "waits for work: no job waits, runs or is delayed."),
            (facts(0, 0, 1, 4, 4), "delayed", "1 job is delayed, the next until 2026-"),
            (
                facts(0, 2, 1, 4, 2),
                "running",
                "works, and no job waits for a slot: 2 jobs are reserved, 1 job is delayed, the next until ",
            ),
            (
                facts(7, 4, 0, 4, 0),
                "no_slot",
                "waits for a slot: all 4 are busy; 7 jobs are waiting, 4 jobs are reserved.",
            ),
            (facts(7, 1, 0, 1, 0), "no_slot", "the only one is busy"),
            (facts(7, 2, 0, 4, 2), "next", "works: 2 of 4 slots are free for what waits"),
            (facts(1, 0, 0, 0, 0), "starting", "waits for a worker to be ready; 1 job is waiting."),
        ] {
            let answer = answer(&facts);
            assert_eq!(answer.reason, reason, "{answer:?}");
            assert!(answer.text.starts_with("Channel \"mail\" ") && answer.text.contains(says), "{answer:?}");
        }
    }

    #[test]
    fn channel_replacing_a_worker_says_so() {
        let mut spent = facts(7, 1, 0, 1, 0);
        let MasterFacts::Answers { view, .. } = &mut spent.master else { unreachable!() };
        view.replacing = true;
        let answer = answer(&spent);
        assert_eq!(answer.reason, "no_slot");
        let says =
            "waits for a slot: its worker has run max_handle_number jobs and is being replaced; 7 jobs are";
        assert!(answer.text.contains(says), "{answer:?}");
    }

    #[test]
    fn blocked_channel_lists_all_reasons() {
        let mut still = facts(3, 0, 0, 0, 0);
        still.counts.paused = true;
        let MasterFacts::Answers { view, .. } = &mut still.master else { unreachable!() };
        view.report = ChannelStatus {
            store_error: Some("connection refused\x1b".to_owned()),
            ..ChannelStatus::default()
        };
        let answer = answer(&still);
        assert_eq!(answer.reason, "paused");
        assert_eq!(
            answer.text,
            "Channel \"mail\" stands still: the channel is paused until somebody runs queue:resume; also, its master 42 cannot \
             use the store: connection refused\\u{1b}; 3 jobs are waiting."
        );
    }
}
