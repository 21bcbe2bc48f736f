//! Symbolic links without a target: such a path seems not to exist, and its error says nothing of the link.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A symbolic link whose target does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DanglingLink {
    link: PathBuf,
    target: PathBuf,
}

impl DanglingLink {
    /// The link without a target in a path, or at its end; `None` when there is none.
    #[must_use]
    pub fn find(path: &Path) -> Option<Self> {
        // The longest part that exists as an entry: whatever is below it cannot.
        let is_entry = |path: &&Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        let link = path.ancestors().find(is_entry)?;
        let is_missing = fs::metadata(link).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let target = fs::read_link(link).ok().filter(|_| is_missing)?;
        Some(Self { link: link.to_owned(), target })
    }
}

impl fmt::Display for DanglingLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (link, target) = (self.link.display(), self.target.display());
        write!(
            f,
            "\"{link}\" is a symbolic link to \"{target}\", which does not exist: create its target, or remove the link"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn link_without_target_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("real")).unwrap();
        symlink("real", at("good")).unwrap();
        symlink("gone", at("bad")).unwrap();
        symlink("bad", at("chain")).unwrap();
        for (path, link) in [("bad", "bad"), ("bad/below/it", "bad"), ("chain", "chain")] {
            let found = DanglingLink::find(&at(path)).unwrap();
            assert_eq!(found.link, at(link), "{path}");
        }
        assert!(DanglingLink::find(&at("bad")).unwrap().to_string().contains("to \"gone\", which does not"));
        for path in ["good", "good/missing", "real", "missing"] {
            assert_eq!(DanglingLink::find(&at(path)), None, "{path}");
        }
    }
}
