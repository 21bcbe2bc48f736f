//! Names of a channel's keys. All contain the hash tag `{channel}`, so that a cluster keeps them in one slot.

use crate::store::Owner;

/// Number of keys passed to every script.
const COUNT: usize = 15;

/// The keys passed first to every script, in the order of `scripts/lib/channel_keys.lua`.
const NAMES: [&str; COUNT] = [
    "schema",
    "records",
    "waiting",
    "delayed",
    "failed",
    "owners",
    "dead",
    "seqs",
    "stats",
    "unique",
    "notify",
    "clearing",
    "waiting:high",
    "waiting:low",
    "locks",
];

/// The keys of a channel.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
    summaries: String,
    alerts: String,
    fixed: [String; COUNT],
}

impl Keys {
    pub(super) fn of(prefix: &str, channel: &str) -> Self {
        let summaries = format!("{prefix}aint-queue-fleet:{{{channel}}}:summaries");
        let alerts = format!("{prefix}aint-queue-fleet:{{{channel}}}:alerts");
        let prefix = format!("{prefix}aint-queue:{{{channel}}}:");
        let fixed = NAMES.map(|name| format!("{prefix}{name}"));
        Self { prefix, summaries, alerts, fixed }
    }

    /// The keys passed to every script.
    pub(super) fn fixed(&self) -> &[String] {
        &self.fixed
    }

    pub(super) fn notify(&self) -> &str {
        &self.fixed[10]
    }

    /// The set of ids held by an owner.
    pub(super) fn reserved(&self, owner: &Owner) -> String {
        format!("{}reserved:{}", self.prefix, owner.as_str())
    }

    /// The stored outputs, by id.
    pub(super) fn outputs(&self) -> String {
        format!("{}outputs", self.prefix)
    }

    /// The kept done jobs: their ids by time, and their texts.
    pub(super) fn kept(&self) -> [String; 2] {
        ["kept", "kept:texts"].map(|name| format!("{}{name}", self.prefix))
    }

    /// The summaries that masters publish, by owner. Outside the pattern of the other keys, which producers may write.
    pub(super) fn summaries(&self) -> &str {
        &self.summaries
    }

    /// The records of alerts. Outside the pattern of producers, as the summaries are.
    pub(super) fn alerts(&self) -> &str {
        &self.alerts
    }

    /// The holder of a timed hold on a unique key.
    pub(super) fn unique(&self, key: &str) -> String {
        format!("{}unique:{key}", self.prefix)
    }

    /// The state of a rate.
    pub(super) fn rate(&self, key: &str) -> String {
        format!("{}rate:{key}", self.prefix)
    }

    /// A list or zset that a clear has renamed to `name`.
    pub(super) fn clearing(&self, name: &str) -> String {
        format!("{}clearing:{name}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_carries_the_channel_as_its_hash_tag() {
        let keys = Keys::of("", "mail.v2");
        assert_eq!(keys.fixed()[0], "aint-queue:{mail.v2}:schema");
        assert_eq!(keys.notify(), "aint-queue:{mail.v2}:notify");
        assert_eq!(keys.reserved(&Owner::named("ab12")), "aint-queue:{mail.v2}:reserved:ab12");
        assert_eq!(keys.outputs(), "aint-queue:{mail.v2}:outputs");
        assert_eq!(keys.kept(), ["aint-queue:{mail.v2}:kept", "aint-queue:{mail.v2}:kept:texts"]);
        assert_eq!(keys.summaries(), "aint-queue-fleet:{mail.v2}:summaries");
        assert_eq!(keys.alerts(), "aint-queue-fleet:{mail.v2}:alerts");
        assert_eq!(keys.unique("k}{"), "aint-queue:{mail.v2}:unique:k}{");
        assert_eq!(keys.rate("api"), "aint-queue:{mail.v2}:rate:api");
        assert_eq!(keys.clearing("waiting:7"), "aint-queue:{mail.v2}:clearing:waiting:7");
        assert_eq!(Keys::of("shop:", "mail").notify(), "shop:aint-queue:{mail}:notify");
        assert!(keys.fixed().iter().all(|key| key.contains("{mail.v2}")));
    }
}
