//! Logs refused pushes: one line per minute and channel while there are any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::warn;

use crate::store::RefusedPushes;

/// Time between two looks at the counts.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two lines about a channel.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The log of the refused pushes of this process.
#[derive(Debug)]
pub(super) struct RefusedPushLog {
    looks: Interval,
    /// The last line about each channel.
    lines: BTreeMap<Arc<str>, LoggedRefusals>,
}

/// The last line about a channel: its time and the count in it.
#[derive(Clone, Copy, Debug)]
struct LoggedRefusals {
    at: Instant,
    refused: RefusedPushes,
}

impl RefusedPushLog {
    pub(super) fn new() -> Self {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { looks, lines: BTreeMap::new() }
    }

    /// Waits for the next look.
    pub(super) async fn tick(&mut self) {
        self.looks.tick().await;
    }

    /// Logs the pushes that were refused since the last lines.
    pub(super) fn log(&mut self, now: Instant) {
        for (channel, refused) in RefusedPushes::by_channel() {
            if let Some(reasons) = self.due(&channel, refused, now) {
                warn!(
                    %channel,
                    "pushes refused: {reasons}; queue:status shows the room of the channel: add workers, raise the limit, or push less"
                );
            }
        }
    }

    /// The refused pushes since the last line about the channel, by reason, if a line is due.
    fn due(&mut self, channel: &Arc<str>, refused: RefusedPushes, now: Instant) -> Option<String> {
        let last = self.lines.get(channel);
        if last.is_some_and(|line| now.duration_since(line.at) < LINE_INTERVAL) {
            return None;
        }
        let before = last.map(|line| line.refused).unwrap_or_default();
        let new: Vec<_> = refused
            .by_reason()
            .into_iter()
            .zip(before.by_reason())
            .map(|((reason, now), (_, before))| (reason, now.saturating_sub(before)))
            .filter(|(_, new)| *new > 0)
            .map(|(reason, new)| format!("{new} by {reason}"))
            .collect();
        if new.is_empty() {
            return None;
        }
        self.lines.insert(Arc::clone(channel), LoggedRefusals { at: now, refused });
        Some(new.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_refusal_is_logged_at_once_and_others_by_the_minute() {
        let (mut log, now, mail) = (RefusedPushLog::new(), Instant::now(), Arc::from("mail"));
        let refused = |max_waiting, memory| RefusedPushes { max_waiting, memory, ..RefusedPushes::default() };
        assert_eq!(log.due(&mail, refused(0, 0), now), None);
        assert_eq!(log.due(&mail, refused(1, 0), now).as_deref(), Some("1 by max_waiting"));
        assert_eq!(log.due(&mail, refused(5, 1), now + LINE_INTERVAL / 2), None);
        assert_eq!(log.due(&Arc::from("other"), refused(0, 2), now).as_deref(), Some("2 by memory"));
        let text = log.due(&mail, refused(5, 1), now + LINE_INTERVAL);
        assert_eq!(text.as_deref(), Some("4 by max_waiting, 1 by memory"));
        assert_eq!(log.due(&mail, refused(5, 1), now + LINE_INTERVAL * 3), None, "nothing happened since");
    }
}
