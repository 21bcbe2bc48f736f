//! Logs refused pushes: one line per minute and channel while there are any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::store::RefusedPushes;

/// Shortest time between two looks at the counts.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two lines about a channel.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The log of the refused pushes of this process.
#[derive(Debug)]
pub(super) struct RefusedPushLog {
    /// Wakes the log after a refused push.
    refusals: &'static Notify,
    /// The last look.
    looked: Option<Instant>,
    /// The next look, if a push was refused since the lines.
    next: Option<Instant>,
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
    pub(super) fn new(refusals: &'static Notify) -> Self {
        Self { refusals, looked: None, next: None, lines: BTreeMap::new() }
    }

    /// Waits until a look is due. A dropped wait can be taken up again.
    pub(super) async fn tick(&mut self) {
        loop {
            let soonest = self.looked.map_or_else(Instant::now, |looked| looked + LOOK_INTERVAL);
            let next = self.next;
            tokio::select! {
                () = sleep_until(next.unwrap_or(soonest)), if next.is_some() => return,
                () = self.refusals.notified(), if next.is_none_or(|next| next > soonest) => self.next = Some(soonest),
            }
        }
    }

    /// Logs the pushes that were refused since the last lines.
    pub(super) fn log(&mut self, now: Instant) {
        self.log_these(RefusedPushes::by_channel(), now);
    }

    fn log_these(&mut self, refused: Vec<(Arc<str>, RefusedPushes)>, now: Instant) {
        for (channel, refused) in &refused {
            if let Some(reasons) = self.due(channel, *refused, now) {
                warn!(
                    %channel,
                    "pushes refused: {reasons}; queue:status shows the room of the channel: add workers, raise the limit, or push less"
                );
            }
        }
        self.looked = Some(now);
        let held_back = |(channel, refused): &(Arc<str>, RefusedPushes)| {
            let line = self.lines.get(channel).filter(|line| line.refused.total() < refused.total())?;
            Some(line.at + LINE_INTERVAL)
        };
        self.next = refused.iter().filter_map(held_back).min();
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

    fn log() -> RefusedPushLog {
        RefusedPushLog::new(Box::leak(Box::new(Notify::new())))
    }

    /// The time until the next look, within an hour.
    async fn wait(log: &mut RefusedPushLog) -> Option<Duration> {
        let begun = Instant::now();
        tokio::time::timeout(Duration::from_secs(3_600), log.tick()).await.ok()?;
        Some(begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn log_sleeps_until_a_push_is_refused() {
        let mut log = log();
        let refused = |max_waiting| {
            vec![(Arc::from("mail"), RefusedPushes { max_waiting, ..RefusedPushes::default() })]
        };
        assert_eq!(wait(&mut log).await, None, "nothing was refused");
        log.refusals.notify_one();
        assert_eq!(wait(&mut log).await, Some(Duration::ZERO));
        log.log_these(refused(1), Instant::now());
        assert_eq!(wait(&mut log).await, None, "all is in the log");
        // A flood is looked at once per second at most, and its next line waits for its time.
        log.refusals.notify_one();
        assert_eq!(wait(&mut log).await, Some(Duration::ZERO));
        log.log_these(refused(2), Instant::now());
        log.refusals.notify_one();
        assert_eq!(wait(&mut log).await, Some(LOOK_INTERVAL));
        log.log_these(refused(3), Instant::now());
        assert_eq!(wait(&mut log).await, Some(LINE_INTERVAL - LOOK_INTERVAL));
        log.log_these(refused(3), Instant::now());
        assert_eq!(wait(&mut log).await, None);
    }

    #[tokio::test]
    async fn first_refusal_is_logged_at_once_and_others_by_the_minute() {
        let (mut log, now, mail) = (log(), Instant::now(), Arc::from("mail"));
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
