//! Whether the configured workers fit into the limits on descriptors and processes: a warning at start.

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::geteuid;
use tracing::warn;

use crate::config::{self, Handler};
use crate::open_files;

/// Descriptors of a worker in the master: standard output, standard error, and the socket of a worker that speaks the protocol.
const PER_PROGRAM: u64 = 2;
const PER_WORKER: u64 = 3;
/// Descriptors of a channel: lock, control socket and its connections, store, files of a start in progress.
const PER_CHANNEL: u64 = 24;
/// Descriptors of the master itself: log, signals, guardian, configuration, connections of commands.
const OF_MASTER: u64 = 64;

/// The needs of all channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Need {
    workers: u64,
    descriptors: u64,
}

fn need<'a>(channels: impl Iterator<Item = &'a config::Channel>) -> Need {
    let start = Need { workers: 0, descriptors: OF_MASTER };
    channels.fold(start, |sum, channel| {
        let plan = channel.worker.plan;
        // Replacements start beside the workers that they replace.
        let most = (plan.max + plan.spare + (plan.max / 4).max(1)) as u64;
        let each =
            if matches!(channel.worker.handler, Handler::Exec { .. }) { PER_PROGRAM } else { PER_WORKER };
        Need { workers: sum.workers + most, descriptors: sum.descriptors + most * each + PER_CHANNEL }
    })
}

/// Warns when the most workers of all channels need more than the limits of this process.
pub(super) fn warn_of_limits<'a>(channels: impl Iterator<Item = &'a config::Channel>) {
    let Need { workers, descriptors } = need(channels);
    let limit = open_files::raise().hard;
    if descriptors > limit {
        warn!(
            workers,
            descriptors,
            limit,
            "open-files limit too low for the configured workers: raise the hard limit (LimitNOFILE, ulimit -Hn), or lower \
             worker.max_worker_number"
        );
    }
    // Root has no limit on processes.
    if geteuid().is_root() {
        return;
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NPROC)
        && workers > limit
    {
        warn!(
            workers,
            limit,
            "process limit too low for the configured workers: raise it (LimitNPROC, ulimit -u), or lower \
             worker.max_worker_number"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    #[test]
    fn need_counts_the_most_workers_of_every_channel() {
        let text = "[channels.a.worker]\ntype = \"process-pool\"\nmax_worker_number = 40\n\
                    [channels.b.worker]\ncommand = [\"true\"]\n";
        let config = Config::parse(text, Path::new("/srv/aint-queue.toml")).unwrap();
        let found = need(config.channels.values());
        let (a, b) = (50, 2);
        assert_eq!(found.workers, a + b);
        assert_eq!(found.descriptors, 64 + a * 3 + b * 2 + 2 * 24);
    }
}
