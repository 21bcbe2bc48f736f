//! What this machine, or the container we are in, allows; and warnings of what does not fit into it.
//!
//! The number of cores needs nothing of ours: the standard library asks the control group (`cpu.max`) too.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tracing::warn;

use crate::config;

const GROUPS: &str = "/sys/fs/cgroup";

/// The memory, in MiB, that the control group of this process may use; `None` when nothing limits it.
pub(super) fn memory_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    memory_of(Path::new(GROUPS), group(&text)?)
}

/// The path of the process in the one hierarchy of version 2, from lines such as `0::/system.slice/x.service`.
fn group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The smallest limit from the group up to the root: each holds for all below it.
fn memory_of(root: &Path, group: &str) -> Option<u64> {
    let inside = Path::new(group.trim_start_matches('/'));
    let groups = inside.ancestors().map(|group| root.join(group));
    groups
        .filter_map(|group: PathBuf| bytes(&fs::read_to_string(group.join("memory.max")).ok()?))
        .min()
        .map(|b| b >> 20)
}

/// A limit in bytes; `max` is none.
fn bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Says what is allowed and likely not meant.
pub(super) fn warn(channel: &config::Channel, memory: &Option<u64>) {
    let worker = &channel.worker;
    if geteuid().is_root() && worker.user.is_none() {
        warn!(channel = %channel.name, "its workers run as root: set worker.user, or run the master as another user");
    }
    let (most, each) = (worker.plan.max as u64, worker.memory_limit);
    if let Some(memory) = *memory
        && most.saturating_mul(each) > memory
    {
        warn!(
            channel = %channel.name,
            "{most} workers of {each} MiB do not fit into the {memory} MiB that the control group allows: \
             lower worker.max_worker_number or worker.memory_limit"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_on_the_way_to_the_root_holds() {
        let root = tempfile::tempdir().unwrap();
        let service = root.path().join("system.slice/jobs.service");
        fs::create_dir_all(&service).unwrap();
        let limit = || memory_of(root.path(), "/system.slice/jobs.service");
        assert_eq!(limit(), None);
        fs::write(service.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit(), None);
        fs::write(root.path().join("system.slice/memory.max"), "1073741824\n").unwrap();
        assert_eq!(limit(), Some(1024));
        fs::write(service.join("memory.max"), "536870912\n").unwrap();
        assert_eq!(limit(), Some(512));
        // In a namespace of its own a container sees itself as the root.
        fs::write(root.path().join("memory.max"), "268435456\n").unwrap();
        assert_eq!((limit(), memory_of(root.path(), "/")), (Some(256), Some(256)));
        assert_eq!(memory_of(root.path(), "/../elsewhere"), Some(256));
    }

    #[test]
    fn the_hierarchy_of_version_2_is_found_among_others() {
        assert_eq!(group("12:memory:/old\n0::/user.slice\n"), Some("/user.slice"));
        assert_eq!(group("0::/\n"), Some("/"));
        assert_eq!(group("12:memory:/old\n"), None);
    }
}
