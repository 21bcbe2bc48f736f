//! The messages about a channel to one receiver: which alerts the receiver knows, and when the next message is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::job::Timestamp;

/// The times between messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The time from the begin of a first alert to the first message, so that further alerts share it.
    pub group_wait: Duration,
    /// The time between two messages of which the later one has news, and before another try after a failed message.
    pub group_interval: Duration,
    /// Whether ends of alerts are sent.
    pub send_resolved: bool,
}

/// The alerts that concern a receiver now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concern {
    /// The firing alerts that the receiver may be sent, each with the time after which it is repeated.
    pub firing: BTreeMap<Fingerprint, Duration>,
    /// The alerts that do not fire any more. Alerts of which nothing may be sent now, such as silenced ones, are in neither.
    pub over: BTreeSet<Fingerprint>,
}

/// The alerts of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Firing alerts.
    pub firing: BTreeSet<Fingerprint>,
    /// Ended alerts, which the receiver knows as firing.
    pub resolved: BTreeSet<Fingerprint>,
}

/// The messages about a channel to one receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// The time at which the first alert was seen of which the receiver knows nothing; only while it knows no alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<Timestamp>,
    /// The last message, also if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<Timestamp>,
    /// The alerts that the receiver knows as firing, each with its last message.
    known: BTreeMap<Fingerprint, Timestamp>,
    /// The alerts of a message without a result: the receiver may know them as the message says, or as before. A sender that dies leaves
    /// them to the next one.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    doubted: BTreeSet<Fingerprint>,
}

impl Group {
    /// Whether the receiver may know this alert as firing.
    #[must_use]
    pub fn knows(&self, alert: Fingerprint) -> bool {
        self.known.contains_key(&alert) || self.doubted.contains(&alert)
    }

    /// The last message about this alert.
    #[must_use]
    pub fn last_sent(&self, alert: Fingerprint) -> Option<Timestamp> {
        self.known.get(&alert).copied()
    }

    /// Whether nothing of this group has to be kept.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.known.is_empty() && self.doubted.is_empty() && self.begun.is_none()
    }

    /// The message that is due now, if any.
    pub fn due(&mut self, concern: &Concern, timing: Timing, now: Timestamp) -> Option<Due> {
        let resolved: BTreeSet<_> = concern.over.iter().copied().filter(|alert| self.knows(*alert)).collect();
        if !timing.send_resolved {
            self.known.retain(|alert, _| !resolved.contains(alert));
            self.doubted.retain(|alert| !resolved.contains(alert));
        }
        let resolved = if timing.send_resolved { resolved } else { BTreeSet::new() };
        // The message about the end of an alert may have arrived before the alert began again.
        let is_new = |alert: &Fingerprint| !self.known.contains_key(alert) || self.doubted.contains(alert);
        let has_new = concern.firing.keys().any(is_new);
        if self.known.is_empty() && self.doubted.is_empty() {
            self.begun = has_new.then(|| self.begun.unwrap_or(now));
        } else {
            self.begun = None;
        }
        let passed = |since: Option<Timestamp>, time: Duration| since.is_none_or(|at| now.since(at) >= time);
        let repeats = || {
            let is_due = |(alert, resend): (&Fingerprint, &Duration)| {
                self.known.get(alert).is_some_and(|at| now.since(*at) >= *resend)
            };
            concern.firing.iter().any(is_due)
        };
        let is_due = if let Some(begun) = self.begun {
            now.since(begun) >= timing.group_wait && passed(self.retry_since(begun), timing.group_interval)
        } else {
            (has_new || !resolved.is_empty() || repeats()) && passed(self.tried, timing.group_interval)
        };
        is_due.then(|| {
            let due = Due { firing: concern.firing.keys().copied().collect(), resolved };
            self.doubted.extend(due.firing.union(&due.resolved).copied());
            due
        })
    }

    /// Notes the result of a message.
    pub fn sent(&mut self, due: &Due, delivered: bool, now: Timestamp) {
        self.tried = Some(now);
        self.doubted.retain(|alert| !due.firing.contains(alert) && !due.resolved.contains(alert));
        if delivered {
            self.begun = None;
            self.known.retain(|alert, _| !due.resolved.contains(alert));
            self.known.extend(due.firing.iter().map(|alert| (*alert, now)));
        }
    }

    /// A failed message since the group began: messages of an earlier group delay no new one.
    fn retry_since(&self, begun: Timestamp) -> Option<Timestamp> {
        self.tried.filter(|tried| *tried >= begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        group_wait: Duration::from_secs(10),
        group_interval: Duration::from_secs(60),
        send_resolved: true,
    };
    const RESEND: Duration = Duration::from_secs(600);

    fn at(second: u64) -> Timestamp {
        Timestamp(1_796_029_200_000_000 + second * 1_000_000)
    }

    fn concern(firing: &[u64], over: &[u64]) -> Concern {
        Concern {
            firing: firing.iter().map(|alert| (Fingerprint(*alert), RESEND)).collect(),
            over: over.iter().copied().map(Fingerprint).collect(),
        }
    }

    fn alerts(of: &[u64]) -> BTreeSet<Fingerprint> {
        of.iter().copied().map(Fingerprint).collect()
    }

    /// A group with the delivered messages so far: seconds, firing, resolved.
    #[derive(Default)]
    struct Receiver {
        group: Group,
        messages: Vec<(u64, Vec<u64>, Vec<u64>)>,
    }

    impl Receiver {
        /// Asks every five seconds of `seconds`, and delivers what is due.
        fn run(&mut self, seconds: std::ops::Range<u64>, concern: &Concern) {
            for second in seconds.step_by(5) {
                if let Some(due) = self.group.due(concern, TIMING, at(second)) {
                    let ids = |alerts: &BTreeSet<Fingerprint>| alerts.iter().map(|alert| alert.0).collect();
                    self.messages.push((second, ids(&due.firing), ids(&due.resolved)));
                    self.group.sent(&due, true, at(second));
                }
            }
        }
    }

    #[test]
    fn alerts_that_begin_together_share_a_message() {
        let mut receiver = Receiver::default();
        receiver.run(0..5, &concern(&[1], &[]));
        receiver.run(5..600, &concern(&[1, 2], &[]));
        assert_eq!(receiver.messages, [(10, vec![1, 2], vec![])]);
    }

    #[test]
    fn alert_that_ends_within_the_wait_is_never_sent() {
        let mut receiver = Receiver::default();
        receiver.run(0..10, &concern(&[1], &[]));
        receiver.run(10..300, &concern(&[], &[1]));
        assert_eq!(receiver.messages, []);
        receiver.run(300..400, &concern(&[1], &[]));
        assert_eq!(receiver.messages, [(310, vec![1], vec![])], "the next begin waits as the first did");
    }

    #[test]
    fn news_wait_for_the_interval_and_ends_are_sent_once() {
        let mut receiver = Receiver::default();
        receiver.run(0..20, &concern(&[1], &[]));
        receiver.run(20..40, &concern(&[1, 2], &[]));
        receiver.run(40..1000, &concern(&[2], &[1]));
        assert_eq!(
            receiver.messages,
            [(10, vec![1], vec![]), (70, vec![2], vec![1]), (670, vec![2], vec![])],
            "then the alert is repeated"
        );
        receiver.run(1000..2000, &concern(&[], &[1, 2]));
        assert_eq!(receiver.messages[3..], [(1000, vec![], vec![2])]);
        assert!(receiver.group.is_idle());
    }

    #[test]
    fn failed_message_is_tried_again_after_the_interval() {
        let (mut group, firing) = (Group::default(), concern(&[1], &[]));
        assert_eq!(group.due(&firing, TIMING, at(0)), None);
        let due = group.due(&firing, TIMING, at(10)).unwrap();
        group.sent(&due, false, at(10));
        assert_eq!(group.due(&firing, TIMING, at(65)), None);
        assert_eq!(group.due(&firing, TIMING, at(70)), Some(due.clone()));
        group.sent(&due, true, at(70));
        assert!(group.knows(Fingerprint(1)));
        assert_eq!(group.last_sent(Fingerprint(1)), Some(at(70)));
    }

    /// The group as the next sender reads it, after one that died between its message and the record.
    fn left_by_a_dead_sender(group: &Group) -> Group {
        serde_json::from_str(&serde_json::to_string(group).unwrap()).unwrap()
    }

    #[test]
    fn begin_after_an_unrecorded_end_is_sent() {
        let mut receiver = Receiver::default();
        receiver.run(0..20, &concern(&[1], &[]));
        let ended = concern(&[], &[1]);
        let due = receiver.group.due(&ended, TIMING, at(100)).unwrap();
        assert_eq!(due.resolved, alerts(&[1]));
        let next = left_by_a_dead_sender(&receiver.group);
        let mut receiver = Receiver { group: next, ..Receiver::default() };
        receiver.run(105..400, &concern(&[1], &[]));
        assert_eq!(receiver.messages, [(105, vec![1], vec![])], "once, whether the end has arrived or not");
        receiver.run(400..500, &ended);
        assert_eq!(receiver.messages[1..], [(400, vec![], vec![1])]);
        assert!(receiver.group.is_idle());
    }

    #[test]
    fn end_after_an_unrecorded_begin_is_sent() {
        let mut group = Group::default();
        group.due(&concern(&[1], &[]), TIMING, at(0));
        assert!(group.due(&concern(&[1], &[]), TIMING, at(10)).is_some());
        let mut receiver = Receiver { group: left_by_a_dead_sender(&group), ..Receiver::default() };
        receiver.run(100..300, &concern(&[], &[1]));
        assert_eq!(receiver.messages, [(100, vec![], vec![1])]);
        assert!(receiver.group.is_idle());
    }

    #[test]
    fn silenced_alert_is_neither_repeated_nor_resolved() {
        let mut receiver = Receiver::default();
        receiver.run(0..20, &concern(&[1], &[]));
        receiver.run(20..5000, &concern(&[], &[]));
        assert_eq!(receiver.messages.len(), 1);
        receiver.run(5000..5010, &concern(&[], &[1]));
        assert_eq!(receiver.messages[1..], [(5000, vec![], vec![1])], "its end is sent after the silence");
    }

    #[test]
    fn receiver_without_ends_forgets_ended_alerts() {
        let timing = Timing { send_resolved: false, ..TIMING };
        let mut group = Group::default();
        group.due(&concern(&[1], &[]), timing, at(0));
        let due = group.due(&concern(&[1], &[]), timing, at(10)).unwrap();
        group.sent(&due, true, at(10));
        assert_eq!(group.due(&concern(&[], &[1]), timing, at(200)), None);
        assert!(!group.knows(Fingerprint(1)));
        assert_eq!(due.firing, alerts(&[1]));
    }
}
