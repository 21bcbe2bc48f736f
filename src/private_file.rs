//! Files that this program writes at a place of the user's choice: no other user may aim the writes at another file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::trust::{self, Distrust};

/// Opens a regular file for writing, and creates it if the options say so. Without `--trust-files`, the last component of the path
/// must be no link, and file and directory must belong to this user or root and be closed to other users.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    check_directory(path)?;
    // Without O_NONBLOCK the open of a pipe waits for its reader.
    let mut flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    if !trust::is_insisted() {
        flags |= nix::libc::O_NOFOLLOW;
    }
    let file = options.custom_flags(flags).open(path).map_err(|error| link_at(path).unwrap_or(error))?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    distrusted(trust::check_owner(path, &found))?;
    distrusted(trust::check_not_world_writable(path, &found))?;
    distrusted(trust::check_single_name(path, &found))?;
    Ok(file)
}

/// Checks that what is at this path, if anything, belongs to this user or root: it is about to be renamed or replaced.
pub(crate) fn check_replaceable(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) => distrusted(trust::check_owner(path, &found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Checks the directory of a file, and the links on the way to it.
fn check_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    distrusted(trust::check_links(directory, false))?;
    distrusted(trust::check_private(directory, &fs::metadata(directory)?))?;
    let name = path.file_name().unwrap_or_default();
    distrusted(trust::check_above(&fs::canonicalize(directory)?.join(name)))
}

/// The refusal of a link at this path.
fn link_at(path: &Path) -> Option<io::Error> {
    let found = fs::symlink_metadata(path).ok()?;
    trust::check_not_link(path, &found).err().map(io::Error::other)
}

fn distrusted(checked: Result<(), Distrust>) -> io::Result<()> {
    checked.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    use super::*;

    fn refusal(path: &Path) -> String {
        open(path, OpenOptions::new().append(true).create(true)).unwrap_err().to_string()
    }

    fn directory(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let below = fs::canonicalize(dir.path()).unwrap().join("d");
        fs::create_dir(&below).unwrap();
        fs::set_permissions(&below, fs::Permissions::from_mode(mode)).unwrap();
        (dir, below.join("file"))
    }

    #[test]
    fn links_and_open_directories_are_refused_by_name() {
        let (_dir, file) = directory(0o755);
        let target = file.with_file_name("target");
        fs::write(&target, "").unwrap();
        symlink(&target, &file).unwrap();
        assert!(refusal(&file).contains("file\" is a symbolic link"));
        assert!(refusal(&file).contains("--trust-files"));
        fs::remove_file(&file).unwrap();
        symlink("/nowhere/at/all", &file).unwrap();
        assert!(refusal(&file).contains("symbolic link"), "a link to a missing file creates nothing");
        fs::remove_file(&file).unwrap();
        fs::hard_link(&target, &file).unwrap();
        assert!(refusal(&file).contains("file\" has several names"));
        fs::remove_file(&file).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(refusal(&target).contains("target\" may be written by other users"));
        let (_dir, file) = directory(0o777);
        assert!(refusal(&file).contains("d\" may be written by other users"));
        assert!(!file.exists());
    }

    #[test]
    fn links_to_directories_and_sticky_directories_are_accepted() {
        let (_dir, file) = directory(0o1777);
        open(&file, OpenOptions::new().append(true).create(true)).unwrap();
        let link = file.with_file_name("link");
        fs::create_dir(file.with_file_name("below")).unwrap();
        symlink("below", &link).unwrap();
        open(&link.join("file"), OpenOptions::new().append(true).create(true)).unwrap();
    }

    #[test]
    fn files_of_strangers_are_refused() {
        if trust::effective_user() != 0 {
            println!("skipped: only root can give files away");
            return;
        }
        let (_dir, file) = directory(0o1777);
        fs::write(&file, "").unwrap();
        chown(&file, Some(1234), Some(1234)).unwrap();
        assert!(refusal(&file).contains("file\" may have been put there by any user"));
        assert!(check_replaceable(&file).is_err());
        let link = file.with_file_name("link");
        symlink("/etc", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(1234), None).unwrap();
        assert!(refusal(&link.join("file")).contains("link\" is a symbolic link of another user"));
        let (_dir, file) = directory(0o755);
        chown(file.parent().unwrap(), Some(1234), None).unwrap();
        assert!(refusal(&file).contains("d\" belongs to another user"));
        assert!(!file.exists());
    }
}
