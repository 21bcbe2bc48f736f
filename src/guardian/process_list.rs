//! The processes below a worker, for people: a snapshot of /proc.

use serde::Serialize;

use super::procfs;

/// A process of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProcessRow {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// Steps from the root of the tree.
    pub(crate) depth: usize,
    /// State letter: `R`, `S`, `D`, `T`, `Z`, …
    pub(crate) state: char,
    /// Resident bytes.
    pub(crate) rss: u64,
    /// Processor time in milliseconds.
    pub(crate) cpu_ms: u64,
    /// Milliseconds since its start.
    pub(crate) age_ms: u64,
    /// Ticks from the boot of the machine to its start, which differ for a later process with its id.
    #[serde(skip)]
    pub(crate) start_time: u64,
    /// The command with its arguments; the name of the program for a process without arguments.
    pub(crate) command: String,
}

/// The process `root` and its descendants, each behind its parent, at most `most`. Detached descendants, whose parent has
/// ended, are not among them.
pub(crate) fn tree(root: i32, most: usize) -> Vec<ProcessRow> {
    let mut rows = Vec::new();
    // The next process is taken from the end, so children are added in reverse.
    let mut open = vec![(root, 0)];
    while let Some((pid, depth)) = open.pop().filter(|_| rows.len() < most) {
        let Some(row) = row(pid, depth) else { continue };
        rows.push(row);
        let mut children = procfs::children_of(pid);
        children.sort_unstable_by(|a, b| b.cmp(a));
        open.extend(children.into_iter().map(|child| (child, depth + 1)));
    }
    rows
}

/// Whether the process still runs: an ended one that its parent has not noticed does not.
pub(crate) fn is_alive(row: &ProcessRow) -> bool {
    procfs::stat(row.pid).is_some_and(|stat| stat.start_time == row.start_time && stat.state != b'Z')
}

fn row(pid: i32, depth: usize) -> Option<ProcessRow> {
    let stat = procfs::stat(pid)?;
    let times = procfs::times(pid).unwrap_or_default();
    let command = procfs::command_line(pid).unwrap_or_default();
    Some(ProcessRow {
        pid,
        parent: stat.parent,
        depth,
        state: char::from(stat.state),
        rss: procfs::resident(pid).unwrap_or(0),
        cpu_ms: times.cpu_ms,
        age_ms: times.age_ms,
        start_time: stat.start_time,
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_tree_has_the_child_below_the_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let rows = tree(own, 500);
        let id = i32::try_from(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((rows[0].pid, rows[0].depth), (own, 0));
        let sleep = rows.iter().find(|row| row.pid == id).expect("the child is listed");
        assert_eq!((sleep.parent, sleep.depth), (own, 1));
        assert!(rows[0].rss > 0 && rows[0].age_ms > 0, "{rows:?}");
        assert_eq!(tree(own, 1).len(), 1);
    }
}
