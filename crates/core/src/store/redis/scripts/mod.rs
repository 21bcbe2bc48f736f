//! The scripts: each is a file in `scripts/` whose head documents keys, arguments, reply and order of steps.
//!
//! A script consists of shared fragments (`scripts/lib`) and its own text, in one variant for servers with script flags
//! (Redis 7, Valkey) and one for older servers. Calls use the hash of that text.

#[cfg(test)]
mod producer;

use std::sync::LazyLock;

/// A script as sent to a server.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The complete text.
    pub(super) text: String,
    /// The hash used in calls.
    pub(super) sha: String,
}

/// Effect of a script on the server's memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Reads only.
    Reads,
    /// Ends or moves jobs; must work when memory is short.
    Writes,
    /// Adds jobs; is refused when memory is short.
    Adds,
}

struct Parts {
    script: Script,
    effect: Effect,
    fragments: &'static [&'static str],
    text: &'static str,
}

const CHANNEL_KEYS: &str = include_str!("lib/channel_keys.lua");
const MEMORY_CHECK: &str = include_str!("lib/memory_check.lua");
const PRELUDE: &str = include_str!("lib/prelude.lua");
const OWN_KEYS: &str = include_str!("lib/own_keys.lua");
const LOCK_MEMBERS: &str = include_str!("lib/lock_members.lua");
const KEPT_JOBS: &str = include_str!("lib/kept_jobs.lua");
const ZSET_POSITION: &str = include_str!("lib/zset_position.lua");
const OWNER_CALL: &str = include_str!("lib/owner_call.lua");
const PAUSE_STATE: &str = include_str!("lib/pause_state.lua");
const FOREIGN_ENTRIES: &str = include_str!("lib/foreign_entries.lua");
const COUNTS: &str = include_str!("lib/counts.lua");
const ALL_OWNERS: &str = include_str!("lib/all_owners.lua");

/// Declares [`Script`] and the parts of each: name, effect, file, fragments.
macro_rules! scripts {
    ($($script:ident, $effect:ident, $file:literal $(, $fragment:ident)*;)*) => {
        /// A script.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Script {
            $($script),*
        }

        /// All scripts, in the order of [`Script`].
        const PARTS: &[Parts] = &[$(Parts {
            script: Script::$script,
            effect: Effect::$effect,
            fragments: &[$($fragment),*],
            text: include_str!(concat!($file, ".lua")),
        }),*];
    };
}

scripts! {
    Push, Adds, "push";
    Join, Writes, "join";
    Turn, Writes, "turn", OWN_KEYS, OWNER_CALL, LOCK_MEMBERS, PAUSE_STATE, KEPT_JOBS, FOREIGN_ENTRIES;
    Held, Writes, "held", OWN_KEYS, OWNER_CALL;
    Fetch, Reads, "fetch", OWN_KEYS;
    Take, Writes, "take", OWN_KEYS, OWNER_CALL;
    EndOwner, Writes, "end_owner", OWN_KEYS;
    Expired, Reads, "expired";
    Metas, Reads, "metas";
    Free, Writes, "free", OWN_KEYS;
    Status, Reads, "status", PAUSE_STATE, COUNTS;
    Find, Reads, "find", OWN_KEYS, ALL_OWNERS;
    Page, Reads, "page", ZSET_POSITION, FOREIGN_ENTRIES;
    Requeue, Writes, "requeue", OWN_KEYS;
    Discard, Writes, "discard", OWN_KEYS, ALL_OWNERS;
    ClearBegin, Writes, "clear_begin";
    ClearPeek, Reads, "clear_peek";
    ClearApply, Writes, "clear_apply";
    ClearKeys, Writes, "clear_keys";
    ClearReserved, Writes, "clear_reserved", OWN_KEYS;
    Pause, Writes, "pause", PAUSE_STATE;
    Claim, Writes, "claim", OWN_KEYS, LOCK_MEMBERS;
    Holder, Reads, "holder";
    Quarantine, Writes, "quarantine", OWN_KEYS, FOREIGN_ENTRIES;
    MoveForeign, Writes, "move_foreign", FOREIGN_ENTRIES;
    RecordLimits, Writes, "record_limits", OWN_KEYS;
    Unlisted, Reads, "unlisted", OWN_KEYS, ALL_OWNERS;
    Masters, Reads, "masters";
    LookAtAlerts, Writes, "look_at_alerts", PAUSE_STATE, COUNTS;
    Silence, Writes, "silence";
    Alerts, Reads, "alerts";
    Kept, Reads, "kept", OWN_KEYS, KEPT_JOBS, ZSET_POSITION;
    KeptJob, Reads, "kept_job", OWN_KEYS, KEPT_JOBS;
    TrimKept, Writes, "trim_kept", OWN_KEYS, KEPT_JOBS;
}

static WITH_FLAGS: LazyLock<Vec<Loaded>> = LazyLock::new(|| PARTS.iter().map(|p| p.load(true)).collect());
static PLAIN: LazyLock<Vec<Loaded>> = LazyLock::new(|| PARTS.iter().map(|p| p.load(false)).collect());

impl Script {
    /// The variant of the script for servers with or without script flags.
    pub(super) fn loaded(self, flags: bool) -> &'static Loaded {
        let all: &'static [Loaded] = if flags { &WITH_FLAGS } else { &PLAIN };
        &all[self as usize]
    }
}

impl Parts {
    fn load(&self, flags: bool) -> Loaded {
        debug_assert_eq!(PARTS[self.script as usize].text, self.text, "the table is in the order of Script");
        let mut text = String::new();
        if flags {
            text.push_str(match self.effect {
                Effect::Reads => "#!lua flags=no-writes,allow-oom\n",
                Effect::Writes => "#!lua flags=allow-oom\n",
                Effect::Adds => "#!lua\n",
            });
        }
        // A fragment may return early from its checks, but only the script's own text returns at its end, so the
        // concatenation is one valid program.
        text.push_str(CHANNEL_KEYS);
        let is_check = |fragment: &&str| **fragment == *OWN_KEYS;
        for fragment in self.fragments.iter().copied().filter(is_check) {
            text.push_str(fragment);
        }
        if !flags && self.effect == Effect::Writes {
            text.push_str(MEMORY_CHECK);
        }
        text.push_str(PRELUDE);
        for fragment in self.fragments.iter().copied().filter(|fragment| !is_check(fragment)) {
            text.push_str(fragment);
        }
        text.push_str(self.text);
        let sha = redis::Script::new(&text).get_hash().to_owned();
        Loaded { text, sha }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_table_matches_enum_order() {
        for (index, part) in PARTS.iter().enumerate() {
            assert_eq!(part.script as usize, index);
        }
    }

    #[test]
    fn only_push_scripts_may_be_denied_on_oom() {
        for part in PARTS {
            let (flagged, plain) = (part.load(true).text, part.load(false).text);
            let adds = part.script == Script::Push;
            assert_eq!(flagged.lines().next().unwrap().contains("allow-oom"), !adds, "{:?}", part.script);
            assert_eq!(plain.contains(MEMORY_CHECK), part.effect == Effect::Writes, "{:?}", part.script);
            assert!(!plain.starts_with("#!"));
        }
    }

    #[test]
    fn scripts_are_documented_and_avoid_tostring() {
        for part in PARTS {
            assert!(part.text.starts_with("-- "), "{:?}", part.script);
            assert!(part.text.contains("-- reply"), "{:?}", part.script);
            assert!(!part.text.contains("tostring"), "{:?}", part.script);
        }
    }
}
