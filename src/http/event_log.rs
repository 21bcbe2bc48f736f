//! Counts of repeated events, with one log line per minute at most.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two lines about the same kind of event.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The number of events since the last line.
#[derive(Debug, Default)]
pub(super) struct EventCount {
    unlogged: u64,
    last_line: Option<Instant>,
}

impl EventCount {
    /// Counts an event.
    pub(super) fn add(&mut self) {
        self.unlogged += 1;
    }

    /// The number to log now; `None` while there is none, or the last line is too recent.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        let is_due = self.last_line.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        if self.unlogged == 0 || !is_due {
            return None;
        }
        self.last_line = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_event_is_logged_at_once_and_others_by_the_minute() {
        let (mut count, now) = (EventCount::default(), Instant::now());
        assert_eq!(count.take_due(now), None);
        count.add();
        assert_eq!(count.take_due(now), Some(1));
        count.add();
        count.add();
        assert_eq!(count.take_due(now + LOG_INTERVAL / 2), None);
        assert_eq!(count.take_due(now + LOG_INTERVAL), Some(2));
        assert_eq!(count.take_due(now + LOG_INTERVAL * 3), None, "nothing happened since");
    }
}
