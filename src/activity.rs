//! The last actions and events of a master, for people: in memory, bounded, the newest first.
//!
//! The dashboard adds the actions of its operators, the control socket those of commands, and the service loop reloads by signals and
//! ends of channels. Each is a line of the log, too, which keeps them for good.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

use aint_queue_core::mutex::lock;

use crate::job::Timestamp;

/// Most entries; older ones are in the log only.
const MAX_ENTRIES: usize = 500;
/// Most characters of a text of an entry.
const MAX_CHARS: usize = 300;

/// The last actions and events, from which readers take copies.
#[derive(Debug, Default)]
pub struct Activity(Mutex<VecDeque<ActivityEntry>>);

/// An action or an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityEntry {
    /// The time, by the clock of this machine.
    pub at: Timestamp,
    /// The name of a token, `cli uid 0`, or `master`.
    pub who: String,
    /// The word of the action.
    pub action: &'static str,
    /// The channel; empty for the whole master.
    pub channel: String,
    /// The target within the channel: the id of a job, a rule, a number of workers; empty without one.
    pub target: String,
    /// The result in a word or a sentence.
    pub result: String,
}

impl Activity {
    /// Adds an entry of now.
    pub fn add(&self, who: &str, action: &'static str, channel: &str, target: &str, result: &str) {
        let cut = |text: &str| text.chars().take(MAX_CHARS).collect();
        let entry = ActivityEntry {
            at: SystemTime::now().into(),
            who: cut(who),
            action,
            channel: cut(channel),
            target: cut(target),
            result: cut(result),
        };
        let mut entries = lock(&self.0);
        if entries.len() >= MAX_ENTRIES {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// The entries, the newest first.
    #[must_use]
    pub fn entries(&self) -> Vec<ActivityEntry> {
        lock(&self.0).iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_entries_are_kept_and_texts_are_cut() {
        let activity = Activity::default();
        for number in 0..MAX_ENTRIES + 3 {
            activity.add("ann", "retry", "mail", &number.to_string(), &"x".repeat(1_000));
        }
        let entries = activity.entries();
        assert_eq!((entries.len(), entries[0].target.as_str()), (MAX_ENTRIES, "502"));
        assert_eq!((entries[MAX_ENTRIES - 1].target.as_str(), entries[0].result.len()), ("3", MAX_CHARS));
    }
}
