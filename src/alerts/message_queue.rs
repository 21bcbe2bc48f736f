//! The messages that wait for one receiver. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::Fingerprint;
use super::notification::{Alert, AlertStatus, Notification};
use super::outbox::Delivered;
use crate::job::Timestamp;

/// Most messages that wait.
const MAX_WAITING: usize = 100;

/// A message that waits, and those who wait for its result.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The message.
    pub(super) message: Notification,
    /// Where its result goes.
    pub(super) results: Vec<UnboundedSender<Delivered>>,
}

/// Messages in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct MessageQueue(VecDeque<Waiting>);

impl MessageQueue {
    /// Adds a message. Returns the one that is dropped for it: the oldest without an end of an alert, best of all one whose alerts
    /// are in a later message, too. Ends are joined into one message of their channel and never dropped.
    pub(super) fn push(&mut self, waiting: Waiting) -> Option<Waiting> {
        self.0.push_back(waiting);
        if self.0.len() <= MAX_WAITING {
            return None;
        }
        let oldest = self.repeated().or_else(|| self.0.iter().position(|waiting| !has_end(&waiting.message)));
        if let Some(oldest) = oldest {
            return self.0.remove(oldest);
        }
        self.join_ends();
        None
    }

    /// Takes the oldest message; with `joined` all messages of its channel as one.
    pub(super) fn pop(&mut self, joined: bool) -> Option<Waiting> {
        let first = self.0.pop_front()?;
        if !joined {
            return Some(first);
        }
        let is_alike = |waiting: &Waiting| {
            waiting.message.channel == first.message.channel
                && waiting.message.is_test == first.message.is_test
        };
        let (alike, others) = self.0.drain(..).partition::<VecDeque<_>, _>(is_alike);
        self.0 = others;
        Some(alike.into_iter().fold(first, join))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The oldest message without an end whose alerts are all in a later message.
    fn repeated(&self) -> Option<usize> {
        (0..self.0.len()).find(|at| {
            let message = &self.0[*at].message;
            let is_later = |alert: &Alert| {
                let later = self.0.iter().skip(at + 1).flat_map(|later| &later.message.alerts);
                later.into_iter().any(|other| other.fingerprint == alert.fingerprint)
            };
            !has_end(message) && message.alerts.iter().all(is_later)
        })
    }

    /// Joins the messages of each channel.
    fn join_ends(&mut self) {
        let mut joined = VecDeque::new();
        while let Some(message) = self.pop(true) {
            joined.push_back(message);
        }
        self.0 = joined;
    }
}

fn has_end(message: &Notification) -> bool {
    message.alerts.iter().any(|alert| alert.status != AlertStatus::Firing)
}

/// Joins two messages of a channel: each alert in its last state, those that fire first.
fn join(mut older: Waiting, mut newer: Waiting) -> Waiting {
    let mut last: BTreeMap<Fingerprint, Alert> = BTreeMap::new();
    let alerts = older.message.alerts.drain(..).chain(newer.message.alerts.drain(..));
    last.extend(alerts.map(|alert| (alert.fingerprint, alert)));
    let mut alerts: Vec<Alert> = last.into_values().collect();
    alerts.sort_by_key(|alert| (alert.status != AlertStatus::Firing, std::cmp::Reverse(alert.severity)));
    older.results.append(&mut newer.results);
    Waiting { message: Notification { alerts, ..newer.message }, results: older.results }
}

/// The messages that a chat service takes: so many at once, and then one every few seconds.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// The time at which the bucket is full again.
    full_at: Timestamp,
}

impl TokenBucket {
    /// Messages at once.
    const SIZE: u32 = 15;
    /// Time between two messages after them: 15 in a minute.
    const INTERVAL: Duration = Duration::from_secs(4);

    pub(super) fn new() -> Self {
        Self { full_at: Timestamp(0) }
    }

    /// Takes the token of a message; otherwise the time until there is one.
    pub(super) fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        let full_at = self.full_at.max(now);
        let missing = full_at.since(now);
        let most = Self::INTERVAL * (Self::SIZE - 1);
        if missing > most {
            return Err(missing - most);
        }
        self.full_at = full_at.after(Self::INTERVAL);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{AT, notification, resolved};
    use super::*;

    /// A queue whose results have no reader.
    #[derive(Default)]
    struct Queue(MessageQueue);

    impl Queue {
        fn push(&mut self, message: Notification) -> Option<Notification> {
            Some(self.0.push(Waiting { message, results: Vec::new() })?.message)
        }

        fn pop(&mut self, joined: bool) -> Option<Notification> {
            Some(self.0.pop(joined)?.message)
        }

        fn len(&self) -> usize {
            self.0.len()
        }
    }

    fn firing(fingerprint: u64) -> Notification {
        let mut message = notification();
        message.alerts[0].fingerprint = Fingerprint(fingerprint);
        message
    }

    fn end(fingerprint: u64, channel: &str) -> Notification {
        let mut message = resolved();
        message.alerts[0].fingerprint = Fingerprint(fingerprint);
        message.channel = channel.into();
        message
    }

    #[test]
    fn full_queue_drops_the_oldest_repeat_and_no_end() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(end(1, "mail")), None);
        for n in 2..=50 {
            assert_eq!(queue.push(firing(n)), None);
        }
        for n in 2..=51 {
            assert_eq!(queue.push(firing(n.max(3))), None);
        }
        assert_eq!(queue.push(end(2, "mail")), Some(firing(2)), "its end follows in this queue");
        assert_eq!(queue.push(firing(4)), Some(firing(3)), "the oldest of those that are repeated");
        assert_eq!(queue.len(), MAX_WAITING);
        assert_eq!(queue.pop(false), Some(end(1, "mail")));
    }

    #[test]
    fn queue_of_ends_joins_them_by_channel() {
        let mut queue = Queue::default();
        for n in 0..=100 {
            assert_eq!(queue.push(end(n, if n % 2 == 0 { "a" } else { "b" })), None);
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(
            queue.pop(false).map(|message| (message.channel.to_string(), message.alerts.len())),
            Some(("a".to_owned(), 51))
        );
    }

    #[test]
    fn joined_message_has_the_last_state_of_each_alert() {
        let mut queue = Queue::default();
        for message in [firing(1), firing(2), end(3, "other"), end(1, "mail"), firing(4)] {
            queue.push(message);
        }
        let joined = queue.pop(true).unwrap();
        let states: Vec<_> = joined
            .alerts
            .iter()
            .map(|alert| (alert.fingerprint.0, alert.status == AlertStatus::Firing))
            .collect();
        assert_eq!(states, [(2, true), (4, true), (1, false)]);
        assert_eq!(queue.pop(true).unwrap().channel.to_string(), "other");
        assert_eq!(queue.pop(true), None);
    }

    #[test]
    fn bucket_allows_a_burst_and_then_fifteen_in_a_minute() {
        let mut bucket = TokenBucket::new();
        for _ in 0..15 {
            assert_eq!(bucket.take(AT), Ok(()));
        }
        assert_eq!(bucket.take(AT), Err(Duration::from_secs(4)));
        let later = AT.after(Duration::from_secs(3));
        assert_eq!(bucket.take(later), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(AT.after(Duration::from_secs(4))), Ok(()));
        let minute = AT.after(Duration::from_secs(64));
        assert_eq!((0..20).filter(|_| bucket.take(minute).is_ok()).count(), 15);
    }
}
