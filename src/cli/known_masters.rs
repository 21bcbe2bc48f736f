//! The masters of a channel as the store shows them: those of this machine and of all others. For display only.

use std::time::Duration;

use super::{CommandContext, sanitize};
use crate::channel::{MasterSummary, SummaryJob};
use crate::config::{Channel, Driver};
use crate::job::Timestamp;
use crate::master;
use crate::store::{Owner, OwnerView};

/// A master of a channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KnownMaster {
    owner: Owner,
    /// The time until its lease expires; `None` when the lease has expired.
    pub(super) lease_left: Option<Duration>,
    /// The age of its summary; `None` without one.
    pub(super) age: Option<Duration>,
    /// The time of its summary.
    published_at: Timestamp,
    /// The summary; `None` for a master that has published none, or one of a newer version.
    pub(super) summary: Option<MasterSummary>,
    /// Whether it runs on this machine, maybe in a container.
    pub(super) is_here: bool,
    /// Whether it is the one that answers commands of this configuration over its control socket.
    pub(super) is_local: bool,
}

/// The master that answered over its control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LocalMaster {
    /// The owner in its record.
    owner: Option<Owner>,
    pid: Option<i32>,
    /// The boot of this machine.
    boot: String,
}

impl LocalMaster {
    /// The master of a channel on this machine; `answered` tells whether it answered.
    pub(super) fn of(channel: &Channel, answered: bool) -> Self {
        let boot = master::boot();
        if !answered {
            return Self { boot, ..Self::default() };
        }
        let presence = master::presence(channel);
        Self { owner: presence.incarnation.map(Owner::named), pid: presence.pid, boot }
    }

    fn is_here(&self, summary: &MasterSummary) -> bool {
        !self.boot.is_empty() && summary.master.boot == self.boot
    }

    /// Whether this is the owner of the local master, or one that it was before it lost its lease.
    fn is(&self, owner: &Owner, summary: Option<&MasterSummary>) -> bool {
        let is_same_process =
            |summary: &MasterSummary| self.pid == Some(summary.master.pid) && self.is_here(summary);
        self.owner.as_ref() == Some(owner) || summary.is_some_and(is_same_process)
    }
}

impl KnownMaster {
    fn of(view: OwnerView, local: &LocalMaster) -> Self {
        let summary = view.published.as_ref().and_then(|published| published.summary.as_ref());
        let summary = summary.and_then(MasterSummary::read);
        Self {
            lease_left: view.lease_left,
            age: view.published.as_ref().map(|published| published.age),
            published_at: view.published.as_ref().map_or(Timestamp(0), |published| published.at),
            is_here: summary.as_ref().is_some_and(|summary| local.is_here(summary)),
            is_local: local.is(&view.owner, summary.as_ref()),
            owner: view.owner,
            summary,
        }
    }

    /// The name of its host, safe for a terminal.
    pub(super) fn host(&self, most: usize) -> String {
        self.summary
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |summary| sanitize::truncated(&summary.master.host, most))
    }

    /// For how long a job of its summary has run by now.
    pub(super) fn running_for(&self, job: &SummaryJob) -> Duration {
        self.published_at.since(job.since) + self.age.unwrap_or_default()
    }
}

/// The masters in the answer of a store: the living ones first, by host and process.
pub(super) fn known_masters(views: Vec<OwnerView>, local: &LocalMaster) -> Vec<KnownMaster> {
    let mut masters: Vec<_> = views.into_iter().map(|view| KnownMaster::of(view, local)).collect();
    masters.sort_by_cached_key(|master| {
        let process = master.summary.as_ref().map(|s| (s.master.host.clone(), s.master.pid));
        (master.lease_left.is_none(), process.is_none(), process, master.owner.clone())
    });
    masters
}

/// The masters of a channel; the error as text when the store does not tell them.
pub(super) fn masters_of(
    context: &CommandContext,
    channel: &Channel,
    local: &LocalMaster,
) -> Result<Vec<KnownMaster>, super::Failure> {
    if channel.driver == Driver::Sync {
        return Ok(Vec::new());
    }
    let doing = format!("list the masters of channel \"{}\"", channel.name);
    let views = context.call_store(channel, doing, async |store| store.masters().await)?;
    Ok(known_masters(views, local))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::{Published, Summary};

    const NOW: Timestamp = Timestamp(1_790_000_100_000_000);

    /// A summary of this process, with a job.
    pub(in crate::cli) fn text(host: &str, pid: i32) -> String {
        serde_json::json!({
            "version": 1, "host": host, "boot": "b1", "pid": pid, "program": "0.1.0",
            "started_at": 1_790_000_000_000_000_u64, "mode": "process-pool", "state": "quiet",
            "workers": {"wanted": 4, "serving": 3, "busy": 2}, "memory": 64 << 20,
            "runs": {"ended": 30, "failed": 3, "per_second": 2.5, "failed_per_second": 0.25},
            "running": 22,
            "jobs": [{
                "id": 1_790_000_000_000_007_u64, "job": "send\u{1b}[2J_report", "attempt": 2,
                "since": 1_790_000_040_000_000_u64, "worker": 4_194_304,
            }],
        })
        .to_string()
    }

    pub(in crate::cli) fn view(owner: &str, lease_left: u64, text: Option<&str>) -> OwnerView {
        OwnerView {
            owner: Owner::named(owner),
            lease_left: (lease_left > 0).then(|| Duration::from_secs(lease_left)),
            published: text.map(|text| Published {
                at: NOW,
                age: Duration::from_millis(2_500),
                summary: Summary::new(text),
            }),
        }
    }

    pub(in crate::cli) fn local(owner: &str, pid: i32) -> LocalMaster {
        LocalMaster { owner: Some(Owner::named(owner)), pid: Some(pid), boot: "b1".to_owned() }
    }

    #[test]
    fn masters_are_ordered_and_the_local_one_is_known() {
        let newer = text("z", 9).replacen("\"version\":1", "\"version\":2", 1);
        let views = vec![
            view("o1", 20, Some(&text("b", 7))),
            view("o2", 0, Some(&text("a", 8))),
            view("o3", 10, Some(&newer)),
            view("o4", 9, None),
            view("o5", 5, Some(&text("a", 9))),
            // The owner that the local master was before it lost its lease.
            view("o6", 0, Some(&text("a", 9))),
        ];
        let masters = known_masters(views, &local("o5", 9));
        let shown: Vec<_> = masters
            .iter()
            .map(|master| (master.owner.as_str(), master.host(9), master.is_local, master.is_here))
            .collect();
        let expected = [
            ("o5", "a", true, true),
            ("o1", "b", false, true),
            ("o3", "unknown", false, false),
            ("o4", "unknown", false, false),
            ("o2", "a", false, true),
            ("o6", "a", true, true),
        ];
        assert_eq!(shown, expected.map(|(owner, host, local, here)| (owner, host.to_owned(), local, here)));
        assert_eq!(masters[2].age, Some(Duration::from_millis(2_500)), "its age is known, its state is not");
        let job = &masters[0].summary.as_ref().unwrap().jobs[0];
        assert_eq!(masters[0].running_for(job), Duration::from_millis(62_500));
    }

    #[test]
    fn machine_without_a_known_boot_is_no_other_machine() {
        let nowhere = LocalMaster::default();
        let text = text("a", 7).replace("\"b1\"", "\"\"");
        let masters = known_masters(vec![view("o1", 1, Some(&text))], &nowhere);
        assert!(!masters[0].is_here && !masters[0].is_local);
    }
}
