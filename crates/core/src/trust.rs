//! Which files and directories may be used: those that no other user could have put there.
//!
//! A file is trusted if it belongs to this user or root and no other user may write it. Group-write counts as "other users" unless
//! the group is private: that of root, or this process's own group without further members. In a directory that every user may
//! write, only a sticky one such as `/tmp` is accepted, and only for entries of this user or root.
//!
//! Operators insist on other files with `--trust-files` or with [`VARIABLE`].

use std::env;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The environment variable that accepts every owner and mode, if it is `1`.
pub const VARIABLE: &str = "AINT_QUEUE_TRUST_FILES";

/// The mode bit for writing by every user.
const WORLD_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Most symbolic links that lead from a path to its file, as in the kernel.
const MAX_LINKS: usize = 40;

static INSISTED: AtomicBool = AtomicBool::new(false);

/// Accepts files of every owner and mode in this process, for `--trust-files`.
pub fn insist() {
    INSISTED.store(true, Ordering::Relaxed);
}

/// Whether an operator insists on files of every owner and mode.
#[must_use]
pub fn is_insisted() -> bool {
    INSISTED.load(Ordering::Relaxed) || env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// The reason why a file or a directory is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrust {
    path: PathBuf,
    /// Owner and mode of the path, or of the open directory above it.
    found: Permissions,
    why: Why,
}

/// Owner, group and mode of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub(crate) owner: u32,
    pub(crate) group: u32,
    pub(crate) mode: u32,
}

impl Permissions {
    /// Owner, group and mode in this metadata.
    #[must_use]
    pub fn of(found: &Metadata) -> Self {
        Self { owner: found.uid(), group: found.gid(), mode: found.mode() & 0o7777 }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owner uid {}, gid {}, mode {:04o}", self.owner, self.group, self.mode)
    }
}

impl Distrust {
    fn new(path: &Path, found: &Metadata, why: Why) -> Self {
        Self { path: path.to_owned(), found: Permissions::of(found), why }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// Another user owns it.
    Owner,
    /// Other users may write it.
    Writable,
    /// A directory above it: every user may write it, and it is not sticky.
    Above(PathBuf),
    /// A symbolic link.
    Link,
    /// A symbolic link that another user owns.
    LinkOwner,
    /// Several names, some of which may be those of another file.
    Names,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, found) = (self.path.display(), self.found);
        match &self.why {
            Why::Owner => write!(f, "\"{path}\" belongs to another user ({found})")?,
            Why::Writable => write!(f, "\"{path}\" may be written by other users ({found})")?,
            Why::Above(above) => write!(
                f,
                "\"{path}\" may have been put there by any user, because \"{}\" may be written by every user ({found})",
                above.display()
            )?,
            Why::Link => write!(f, "\"{path}\" is a symbolic link ({found})")?,
            Why::LinkOwner => write!(f, "\"{path}\" is a symbolic link of another user ({found})")?,
            Why::Names => write!(f, "\"{path}\" has several names, hard links ({found})")?,
        }
        let remedy = match &self.why {
            Why::Owner | Why::Writable | Why::Above(_) => "change its owner or mode",
            Why::Link => "name the file that it leads to",
            Why::LinkOwner => "remove it, or change its owner",
            Why::Names => "remove the other names",
        };
        write!(f, "; {remedy}, or accept it with --trust-files or {VARIABLE}=1")
    }
}

impl std::error::Error for Distrust {}

/// Checks a file, or a directory if sticky ones count as private, by its metadata: this user's or root's, and not writable by others.
///
/// # Errors
/// When it is not; the error names the path and the reason.
pub fn check_private(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    check_owner(path, found)?;
    check_mode(path, found)
}

/// Checks that a file belongs to this user or root.
///
/// # Errors
/// When it does not.
pub fn check_owner(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    if is_trusted_user(found.uid()) || is_insisted() {
        return Ok(());
    }
    Err(Distrust::new(path, found, Why::Owner))
}

/// Checks that no other user may write a file, or replace the entries of a directory.
///
/// # Errors
/// When other users may.
pub fn check_mode(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    let mode = found.mode();
    let is_open = mode & WORLD_WRITE != 0 || (mode & GROUP_WRITE != 0 && !is_private_group(found.gid()));
    let is_sticky = found.is_dir() && mode & STICKY != 0;
    if !is_open || is_sticky || is_insisted() {
        return Ok(());
    }
    Err(Distrust::new(path, found, Why::Writable))
}

/// Checks that every user may not write a file, whatever its owner.
///
/// # Errors
/// When every user may.
pub fn check_not_world_writable(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    let mode = found.mode();
    let is_sticky = found.is_dir() && mode & STICKY != 0;
    if mode & WORLD_WRITE == 0 || is_sticky || is_insisted() {
        return Ok(());
    }
    Err(Distrust::new(path, found, Why::Writable))
}

/// Checks that no arbitrary user could have put this path in place: no directory above it may be written by every user, except a
/// sticky one whose entry on the way belongs to this user or root, or does not exist. `path` is canonical.
///
/// # Errors
/// When one could have; the error names both.
pub fn check_above(path: &Path) -> Result<(), Distrust> {
    for (entry, above) in path.ancestors().zip(path.ancestors().skip(1)) {
        let Ok(directory) = fs::metadata(above) else { continue };
        let is_ours = fs::symlink_metadata(entry).map_or(true, |found| is_trusted_user(found.uid()));
        let is_safe = directory.mode() & WORLD_WRITE == 0 || (directory.mode() & STICKY != 0 && is_ours);
        if !is_safe && !is_insisted() {
            return Err(Distrust::new(entry, &directory, Why::Above(above.to_owned())));
        }
    }
    Ok(())
}

/// Checks the symbolic links that lead from a path to its file: no arbitrary user could have put them in place. Unless an operator
/// has named the path, each belongs to this user or root too.
///
/// # Errors
/// When one does not; the error names the link.
pub fn check_links(path: &Path, named: bool) -> Result<(), Distrust> {
    for (link, found) in links_of(path) {
        if !named && !is_trusted_user(found.uid()) && !is_insisted() {
            return Err(Distrust::new(&link, &found, Why::LinkOwner));
        }
        check_above(&link)?;
    }
    Ok(())
}

/// The symbolic links that lead from a path to its file, those in the targets of others included. The directories of each are free of
/// links.
fn links_of(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (mut links, mut place, mut rest) = (Vec::new(), PathBuf::from("/"), absolute);
    while links.len() < MAX_LINKS {
        let mut parts = rest.components();
        let Some(part) = parts.next() else { break };
        let below = parts.as_path().to_owned();
        match part {
            Component::RootDir => place = PathBuf::from("/"),
            Component::ParentDir => _ = place.pop(),
            Component::Normal(name) => place.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
        let link = fs::symlink_metadata(&place).ok().filter(Metadata::is_symlink);
        rest = match link.zip(fs::read_link(&place).ok()) {
            Some((found, target)) => {
                links.push((place.clone(), found));
                place.pop();
                target.join(below)
            }
            None => below,
        };
    }
    links
}

/// Checks that a path is no symbolic link, which could lead to any file of this user.
///
/// # Errors
/// When it is one. `found` describes the path itself.
pub fn check_not_link(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    if !found.is_symlink() || is_insisted() {
        return Ok(());
    }
    Err(Distrust::new(path, found, Why::Link))
}

/// Checks that a file has no other name: that could be one of any file of this user.
///
/// # Errors
/// When it has.
pub fn check_single_name(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    if found.nlink() <= 1 || is_insisted() {
        return Ok(());
    }
    Err(Distrust::new(path, found, Why::Names))
}

/// Checks a directory and, if its path is a link, the owner of the link.
///
/// # Errors
/// The inner error when it cannot be trusted, the outer one when it cannot be examined.
pub fn check_directory(path: &Path) -> io::Result<Result<(), Distrust>> {
    let (link, found) = (fs::symlink_metadata(path)?, fs::metadata(path)?);
    Ok(check_owner(path, &link).and_then(|()| check_private(path, &found)))
}

/// Whether files of this user may be used: it is this process's own one, or root.
#[must_use]
pub fn is_trusted_user(uid: u32) -> bool {
    uid == 0 || uid == effective_user()
}

/// The effective user of this process.
#[cfg(any(feature = "server", feature = "sqlite"))]
#[must_use]
pub fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The effective user of this process, read from `/proc` because a producer has no system call crate.
#[cfg(not(any(feature = "server", feature = "sqlite")))]
#[must_use]
pub fn effective_user() -> u32 {
    fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid())
}

/// Whether no other user is in a group: it is that of root, or this process's own one without further members. An id without
/// an entry, as in a container that runs as an arbitrary user, has no further members.
#[cfg(any(feature = "server", feature = "sqlite"))]
fn is_private_group(gid: u32) -> bool {
    use nix::unistd::{Gid, Group, User, getegid, geteuid};

    if gid == 0 {
        return true;
    }
    if gid != getegid().as_raw() {
        return false;
    }
    let own_name = || User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    match Group::from_gid(Gid::from_raw(gid)) {
        Ok(Some(group)) => {
            group.mem.is_empty() || group.mem.iter().all(|name| Some(name) == own_name().as_ref())
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Whether a group is that of root or of this process; its members are unknown without a system call crate.
#[cfg(not(any(feature = "server", feature = "sqlite")))]
fn is_private_group(gid: u32) -> bool {
    gid == 0 || fs::metadata("/proc/self").is_ok_and(|own| own.gid() == gid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn with_mode(path: &Path, mode: u32) -> Metadata {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::metadata(path).unwrap()
    }

    #[test]
    fn writing_by_others_is_refused_except_in_sticky_directories() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for (mode, is_private) in
            [(0o600, true), (0o644, true), (0o666, false), (0o602, false), (0o1666, false)]
        {
            assert_eq!(check_private(&file, &with_mode(&file, mode)).is_ok(), is_private, "{mode:o}");
        }
        for (mode, is_private) in [(0o755, true), (0o777, false), (0o1777, true), (0o2757, false)] {
            assert_eq!(
                check_private(dir.path(), &with_mode(dir.path(), mode)).is_ok(),
                is_private,
                "{mode:o}"
            );
        }
        let why = check_private(&file, &with_mode(&file, 0o666)).unwrap_err().to_string();
        let owner = effective_user();
        assert!(
            why.contains(&format!("file\" may be written by other users (owner uid {owner}, gid ")),
            "{why}"
        );
        assert!(why.contains(", mode 0666); change its owner or mode"), "{why}");
        assert!(why.contains("--trust-files") && why.contains(VARIABLE), "{why}");
    }

    #[test]
    fn directories_above_must_not_be_open_to_every_user() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap().join("open");
        fs::create_dir_all(dir.join("below")).unwrap();
        let path = dir.join("below/file");
        assert_eq!(check_above(&path), Ok(()));
        with_mode(&dir, 0o1777);
        assert_eq!(check_above(&path), Ok(()), "an entry of this user in a sticky directory");
        with_mode(&dir, 0o777);
        let why = check_above(&path).unwrap_err().to_string();
        assert!(why.contains("below\" may have been put there by any user"), "{why}");
        assert!(why.contains(", mode 0777); change"), "{why}");
        assert!(check_above(&dir.join("missing")).is_err(), "anybody could create it first");
        if effective_user() == 0 {
            with_mode(&dir, 0o1777);
            std::os::unix::fs::chown(dir.join("below"), Some(1234), None).unwrap();
            assert!(check_above(&path).is_err(), "an entry of another user in a sticky directory");
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn links_of_strangers_are_refused_wherever_they_lead() {
        use std::os::unix::fs::{lchown, symlink};

        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| dir.join(name);
        fs::create_dir_all(at("rel2/data")).unwrap();
        fs::create_dir(at("open")).unwrap();
        fs::write(at("rel2/data/file"), "").unwrap();
        symlink("rel2", at("current")).unwrap();
        symlink("../current/./data/../data", at("open/theirs")).unwrap();
        symlink(at("open/theirs"), at("chain")).unwrap();
        let found: Vec<_> = links_of(&at("chain/file")).into_iter().map(|(link, _)| link).collect();
        assert_eq!(found, [at("chain"), at("open/theirs"), at("current")]);
        for path in ["current/data/file", "chain/file", "chain/missing", "open/theirs"] {
            assert_eq!(check_links(&at(path), false), Ok(()), "{path}: all links are of this user");
        }
        symlink("loop", at("loop")).unwrap();
        assert_eq!(check_links(&at("loop"), false), Ok(()), "the open of a loop fails by itself");
        if effective_user() != 0 {
            return;
        }
        lchown(at("open/theirs"), Some(1234), Some(1234)).unwrap();
        assert_eq!(check_links(&at("current/data/file"), false), Ok(()));
        for path in ["chain/file", "open/theirs", "open/theirs/missing"] {
            let why = check_links(&at(path), false).unwrap_err().to_string();
            assert!(
                why.contains("theirs\" is a symbolic link of another user (owner uid 1234, gid 1234,"),
                "{path}: {why}"
            );
            assert!(why.contains("--trust-files"), "{path}: {why}");
            assert_eq!(check_links(&at(path), true), Ok(()), "{path}: a named place of a service");
        }
        with_mode(&at("open"), 0o1777);
        let why = check_links(&at("chain/file"), true).unwrap_err().to_string();
        assert!(why.contains("theirs\" may have been put there by any user"), "{why}");
    }

    #[test]
    fn groups_count_as_others_unless_private() {
        if effective_user() != 0 {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(check_private(&file, &with_mode(&file, 0o660)).is_ok(), "the group of root");
        std::os::unix::fs::chown(&file, None, Some(4321)).unwrap();
        assert!(check_private(&file, &with_mode(&file, 0o660)).is_err(), "another group");
        std::os::unix::fs::chown(&file, Some(1234), Some(0)).unwrap();
        let why = check_private(&file, &with_mode(&file, 0o600)).unwrap_err().to_string();
        assert!(why.contains("belongs to another user (owner uid 1234, gid 0, mode 0600)"), "{why}");
    }
}
