//! The identity of a store: which file or server a driver setting means now, and which one an open store uses.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{self, Driver, canonical};

/// A file or a server that holds jobs. Masters and commands of different versions exchange its JSON form, so names are fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "snake_case")]
pub enum StoreIdentity {
    /// A SQLite file. Device and inode decide, because a path may mean another file tomorrow.
    Sqlite {
        /// The canonical path.
        path: String,
        /// The path as configured, absolute; absent when it is the canonical one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        configured: Option<String>,
        /// The device of the file; absent while the file does not exist.
        #[serde(default)]
        device: Option<u64>,
        /// The inode of the file; absent while the file does not exist.
        #[serde(default)]
        inode: Option<u64>,
    },
    /// A database of a Redis server.
    Redis {
        /// Host and port as configured.
        address: String,
        /// The number of the database.
        database: i64,
        /// The text before the name of this program in every key.
        #[serde(default)]
        prefix: String,
        /// The random name of the running server process; absent without a connection, or if the server hides it.
        #[serde(default)]
        run_id: Option<String>,
    },
}

impl StoreIdentity {
    /// The store that a driver setting means now; `None` for the sync driver, which has no store. Creates and connects
    /// nothing.
    #[must_use]
    pub fn of(driver: &Driver) -> Option<Self> {
        match driver {
            Driver::Sync => None,
            Driver::Redis(redis) => Some(Self::redis(redis, None)),
            Driver::Sqlite { path, .. } => {
                let found = fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
                Some(Self::sqlite(path, &canonical(path), found))
            }
        }
    }

    /// The identity of a SQLite file: its path as configured, its canonical path, its device and inode.
    pub(super) fn sqlite(configured: &Path, path: &Path, file: Option<(u64, u64)>) -> Self {
        let configured = std::path::absolute(configured).unwrap_or_else(|_| configured.to_owned());
        let configured = (configured != path).then(|| configured.to_string_lossy().into_owned());
        let (device, inode) = file.unzip();
        Self::Sqlite { path: path.to_string_lossy().into_owned(), configured, device, inode }
    }

    pub(super) fn redis(config: &config::Redis, run_id: Option<String>) -> Self {
        let host = config.host.to_ascii_lowercase();
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let address = format!("{host}:{}", config.port);
        Self::Redis { address, database: config.database, prefix: config.prefix.clone(), run_id }
    }

    /// Whether both mean the same jobs, as far as both tell.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Sqlite { path, device, inode, .. },
                Self::Sqlite { path: other_path, device: other_device, inode: other_inode, .. },
            ) => match ((device, inode), (other_device, other_inode)) {
                ((Some(_), Some(_)), (Some(_), Some(_))) => (device, inode) == (other_device, other_inode),
                // A master that is starting has not yet created its file. A file that is gone has no successor.
                ((None, _), (None, _)) => path == other_path,
                _ => false,
            },
            (
                Self::Redis { address, database, prefix, run_id },
                Self::Redis {
                    address: other_address,
                    database: other_database,
                    prefix: other_prefix,
                    run_id: other_run_id,
                },
            ) => {
                let is_same_server = match (run_id, other_run_id) {
                    (Some(run_id), Some(other)) => run_id == other,
                    _ => address == other_address,
                };
                is_same_server && (database, prefix) == (other_database, other_prefix)
            }
            _ => false,
        }
    }

    /// Whether this is the store of a master that has not yet created or opened its file, at the place of `meant`.
    #[must_use]
    pub fn is_pending(&self, meant: &Self) -> bool {
        match (self, meant) {
            (Self::Sqlite { path, inode: None, .. }, Self::Sqlite { path: other, .. }) => path == other,
            _ => false,
        }
    }

    /// Whether both were configured by the same words, whatever these mean now.
    #[must_use]
    pub fn is_same_setting(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite { .. }, Self::Sqlite { .. }) => self.configured_path() == other.configured_path(),
            (
                Self::Redis { address, database, prefix, .. },
                Self::Redis {
                    address: other_address, database: other_database, prefix: other_prefix, ..
                },
            ) => (address, database, prefix) == (other_address, other_database, other_prefix),
            _ => false,
        }
    }

    /// Reads an identity that another version wrote; `None` for a kind of store that this version does not know.
    ///
    /// # Errors
    /// When the text is no JSON.
    #[doc(hidden)]
    pub fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Self>, D::Error> {
        Ok(serde_json::from_value(serde_json::Value::deserialize(from)?).ok())
    }

    /// This store and another one as two texts that differ, even when the paths do not.
    #[must_use]
    pub fn distinct_texts(&self, other: &Self) -> (String, String) {
        let (one, two) = (self.to_string(), other.to_string());
        if one == two { (self.in_detail(), other.in_detail()) } else { (one, two) }
    }

    fn configured_path(&self) -> Option<&str> {
        match self {
            Self::Sqlite { path, configured, .. } => Some(configured.as_ref().unwrap_or(path)),
            Self::Redis { .. } => None,
        }
    }

    fn in_detail(&self) -> String {
        match self {
            Self::Sqlite { inode: Some(inode), .. } => format!("{self} (inode {inode})"),
            Self::Sqlite { .. } => format!("{self} (which does not exist)"),
            Self::Redis { run_id: Some(run_id), .. } => format!("{self} (run id {run_id})"),
            Self::Redis { .. } => format!("{self} (run id unknown)"),
        }
    }
}

/// Named as `queue:status` names a driver, with the path that the file has in truth.
impl fmt::Display for StoreIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path, .. } => write!(f, "sqlite at {path}"),
            Self::Redis { address, database, prefix, .. } => {
                write!(f, "redis at {address}, database {database}")?;
                if prefix.is_empty() { Ok(()) } else { write!(f, " with prefix \"{prefix}\"") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn sqlite(path: &Path) -> StoreIdentity {
        StoreIdentity::of(&Driver::Sqlite { path: path.to_owned(), named: true }).unwrap()
    }

    fn redis(address: &str, run_id: Option<&str>) -> StoreIdentity {
        let run_id = run_id.map(str::to_owned);
        StoreIdentity::Redis { address: address.to_owned(), database: 0, prefix: String::new(), run_id }
    }

    #[test]
    fn device_and_inode_decide_for_files() {
        let dir = tempfile::tempdir().unwrap();
        for release in ["one", "two"] {
            fs::create_dir(dir.path().join(release)).unwrap();
            fs::write(dir.path().join(release).join("q.db"), "x").unwrap();
        }
        let current = dir.path().join("current");
        symlink("one", &current).unwrap();
        let before = sqlite(&current.join("q.db"));
        assert!(before.is_same(&sqlite(&dir.path().join("one/q.db"))));
        fs::remove_file(&current).unwrap();
        symlink("two", &current).unwrap();
        let after = sqlite(&current.join("q.db"));
        assert!(!before.is_same(&after) && before.is_same_setting(&after));
        assert!(
            !after.is_same_setting(&sqlite(&dir.path().join("two/q.db"))),
            "another setting, the same file"
        );
        // A bind mount or a hard link is another path to the same file.
        fs::hard_link(dir.path().join("two/q.db"), dir.path().join("link.db")).unwrap();
        assert!(after.is_same(&sqlite(&dir.path().join("link.db"))));
    }

    #[test]
    fn replaced_or_removed_file_is_another_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.db");
        let missing = sqlite(&path);
        assert!(missing.is_same(&sqlite(&path)) && !path.exists());
        fs::write(&path, "x").unwrap();
        let first = sqlite(&path);
        assert!(!first.is_same(&missing));
        assert!(missing.is_pending(&first) && !first.is_pending(&missing), "a master that starts");
        fs::rename(&path, dir.path().join("old.db")).unwrap();
        fs::write(&path, "x").unwrap();
        let second = sqlite(&path);
        assert!(!first.is_same(&second));
        let (one, two) = first.distinct_texts(&second);
        assert!(one.contains("(inode ") && one != two, "{one} {two}");
        assert!(first.distinct_texts(&missing).1.contains("does not exist"));
    }

    #[test]
    fn run_id_decides_for_servers_and_else_the_address() {
        assert!(redis("a:1", Some("x")).is_same(&redis("b:1", Some("x"))));
        assert!(!redis("a:1", Some("x")).is_same(&redis("a:1", Some("y"))));
        assert!(redis("a:1", Some("x")).is_same(&redis("a:1", None)));
        assert!(!redis("a:1", Some("x")).is_same(&redis("b:1", None)));
        let StoreIdentity::Redis { address, run_id, prefix, .. } = redis("a:1", Some("x")) else {
            unreachable!()
        };
        let other = StoreIdentity::Redis { address, run_id, prefix, database: 1 };
        assert!(!redis("a:1", Some("x")).is_same(&other));
    }

    #[test]
    fn json_form_is_read_back() {
        for identity in
            [redis("a:1", Some("x")), sqlite(Path::new("/srv/q.db")), sqlite(Path::new("/proc/self/x"))]
        {
            let text = serde_json::to_string(&identity).unwrap();
            assert_eq!(serde_json::from_str::<StoreIdentity>(&text).unwrap(), identity, "{text}");
        }
    }
}
