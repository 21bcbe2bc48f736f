//! Memory limit of the control group: the default `pool_memory_limit` of pools, and warnings about workers that do not fit.
//!
//! The number of cores is not read here: the standard library respects the control group (`cpu.max`).

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tracing::{info, warn};

use crate::config;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Memory limit of this process's control group, in MiB; `None` without a limit.
pub(super) fn memory_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let unified =
        unified_path(&text).and_then(|group| smallest_limit(Path::new(CGROUP_ROOT), group, "memory.max"));
    let separate = || {
        let root = Path::new(CGROUP_ROOT).join("memory");
        smallest_limit(&root, v1_memory_path(&text)?, "memory.limit_in_bytes")
    };
    unified.or_else(separate)
}

/// The path of the process in the cgroup v2 hierarchy, from a line such as `0::/system.slice/x.service`.
fn unified_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The path in the cgroup v1 memory hierarchy, from a line such as `4:memory:/docker/5a1f`.
fn v1_memory_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == "memory").then_some(path)
    })
}

/// The smallest limit, in MiB, from `group` up to `root`, read from the file of this name in each: a limit includes all
/// groups below it.
fn smallest_limit(root: &Path, group: &str, file: &str) -> Option<u64> {
    let inside = Path::new(group.trim_start_matches('/'));
    let groups = inside.ancestors().map(|group| root.join(group));
    groups
        .filter_map(|group: PathBuf| parse_limit(&fs::read_to_string(group.join(file)).ok()?))
        .min()
        .map(|b| b >> 20)
}

/// A limit in bytes; `None` for `max` (v2) and for the huge number that v1 uses instead.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

/// The default `pool_memory_limit` of each pool, in MiB: an equal share of four fifths of the control group's memory. The
/// last fifth is for the master, its guardian and the kernel.
pub(super) fn pool_share<'a>(
    channels: impl Iterator<Item = &'a config::Channel>,
    memory: Option<u64>,
) -> Option<u64> {
    let pools = channels.filter(|channel| may_grow(channel)).count() as u64;
    Some((memory? * 4 / 5) / pools.max(1))
}

/// Sets the `pool_memory_limit` of a pool that has none.
pub(super) fn apply_share(channel: &mut config::Channel, share: Option<u64>) {
    if may_grow(channel) && channel.worker.scaling.memory_limit.is_none() {
        channel.worker.scaling.memory_limit = share.map(|mib| mib << 20);
        if let Some(share) = share {
            info!(channel = %channel.name, "pool_memory_limit not set: using {share} MiB, from the control group's limit");
        }
    }
}

/// Whether the pool grows with demand.
fn may_grow(channel: &config::Channel) -> bool {
    channel.worker.mode == config::Mode::ProcessPool && channel.worker.scaling.dynamic
}

/// Warns about settings that are allowed but likely a mistake.
pub(super) fn warn_of_risks(channel: &config::Channel, memory: Option<u64>) {
    let worker = &channel.worker;
    if geteuid().is_root() && worker.user.is_none() {
        warn!(channel = %channel.name, "workers run as root: set worker.user, or run the master as another user");
    }
    // A dynamic pool stops growing at its memory limit, so only its minimum has to fit.
    let always = if may_grow(channel) { worker.plan.min } else { worker.plan.max };
    let (always, each) = (always as u64, worker.recycling.memory_limit.unwrap_or_default() >> 20);
    if let Some(memory) = memory
        && always.saturating_mul(each) > memory
    {
        warn!(
            channel = %channel.name,
            "workers may exceed the memory limit: {always} workers of {each} MiB, control group limit {memory} MiB; \
             lower worker.min_worker_number, worker.max_worker_number or worker.memory_limit"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smallest_ancestor_limit_applies() {
        let root = tempfile::tempdir().unwrap();
        let service = root.path().join("system.slice/jobs.service");
        fs::create_dir_all(&service).unwrap();
        let limit = || smallest_limit(root.path(), "/system.slice/jobs.service", "memory.max");
        assert_eq!(limit(), None);
        fs::write(service.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit(), None);
        fs::write(root.path().join("system.slice/memory.max"), "1073741824\n").unwrap();
        assert_eq!(limit(), Some(1024));
        fs::write(service.join("memory.max"), "536870912\n").unwrap();
        assert_eq!(limit(), Some(512));
        // A container in its own cgroup namespace sees itself as the root.
        fs::write(root.path().join("memory.max"), "268435456\n").unwrap();
        assert_eq!((limit(), smallest_limit(root.path(), "/", "memory.max")), (Some(256), Some(256)));
        assert_eq!(smallest_limit(root.path(), "/../elsewhere", "memory.max"), Some(256));
    }

    #[test]
    fn unset_pools_share_four_fifths_of_cgroup_memory() {
        let text = "[channels.a.worker]\ntype = \"process-pool\"\n[channels.b.worker]\ntype = \"process-pool\"\n\
                    pool_memory_limit = 700\n[channels.c.worker]\ntype = \"coroutine\"\n";
        let mut config = config::Config::parse(text, "/srv/aint-queue.toml").unwrap();
        let share_of = |memory| pool_share(config.channels.values(), memory);
        assert_eq!((share_of(None), share_of(Some(1000))), (None, Some(400)));
        let mut fitted = |name: &str| {
            let channel = config.channels.get_mut(name).unwrap();
            apply_share(channel, Some(400));
            channel.worker.scaling.memory_limit.map(|bytes| bytes >> 20)
        };
        assert_eq!((fitted("a"), fitted("b"), fitted("c")), (Some(400), Some(700), None));
    }

    #[test]
    fn cgroup_v2_hierarchy_is_found() {
        assert_eq!(unified_path("12:memory:/old\n0::/user.slice\n"), Some("/user.slice"));
        assert_eq!(unified_path("0::/\n"), Some("/"));
        assert_eq!(unified_path("12:memory:/old\n"), None);
        assert_eq!(v1_memory_path("3:cpu,memory:/old\n0::/\n"), Some("/old"));
        assert_eq!(v1_memory_path("5:devices:/memory\n0::/\n"), None);
        assert_eq!(parse_limit("9223372036854771712\n"), None, "cgroup v1 without a limit");
    }
}
