//! User, niceness, resource limits and inherited environment that children run with.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use serde::{Deserialize, Serialize};

use crate::config::passed_env::PassedEnv;

/// User, niceness, resource limits and inherited environment of a child. Fields that are not set are inherited from the guardian.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// Niceness, -20 (favoured) to 19.
    pub nice: Option<i32>,
    /// User and groups to run as.
    pub account: Option<Account>,
    /// Resource limits, each per process.
    pub limits: Vec<(Limit, u64)>,
    /// The variables of the guardian's environment that the child inherits.
    pub passed_env: PassedEnv,
}

/// A user that children run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Name, for messages and for the child's environment.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All group ids, the primary one included.
    pub groups: Vec<u32>,
    /// Home directory; empty when the user has none.
    pub home: String,
}

/// A resource that `setrlimit` can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Descriptors open at once.
    OpenFiles,
    /// Processes and threads of the user in total.
    Processes,
    /// Bytes of a core dump.
    Core,
    /// Seconds of processor time.
    CpuSeconds,
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a file that the process writes.
    FileSize,
}

/// Reason why children cannot run as the configured user or group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The user does not exist.
    #[error("there is no user \"{0}\" on this machine; create it, or change worker.user")]
    User(String),
    /// The group does not exist.
    #[error("there is no group \"{0}\" on this machine; create it, or change worker.group")]
    Group(String),
    /// The master is not root, so it cannot change user or group.
    #[error(
        "the master runs as uid {uid} and cannot start workers as \"{name}\"; run it as root, or remove worker.user and \
             worker.group"
    )]
    Forbidden {
        /// Name of the configured user.
        name: String,
        /// User id of the master.
        uid: u32,
    },
}

/// Resolves the user and group of `worker.user` and `worker.group`, each a name or a number. `None` when neither is set or
/// this process runs as that user and group already.
///
/// # Errors
/// When one of them does not exist on this machine, or this process may not change to it.
pub fn account(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, AccountError> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let known = user.map(find_user).transpose()?;
    let group = group.map(find_group).transpose()?;
    let uid = known.as_ref().map_or(geteuid(), |user| user.uid);
    let gid = group.or(known.as_ref().map(|user| user.gid)).unwrap_or(getegid());
    let name = known.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone());
    if !geteuid().is_root() {
        if (uid, gid) == (geteuid(), getegid()) {
            return Ok(None);
        }
        return Err(AccountError::Forbidden { name, uid: geteuid().as_raw() });
    }
    let groups = match &known {
        Some(user) => CString::new(user.name.as_str()).ok().and_then(|name| getgrouplist(&name, gid).ok()),
        None => None,
    };
    let groups = groups.unwrap_or_else(|| vec![gid]).into_iter().map(Gid::as_raw).collect();
    let home = known.map(|user| user.dir.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Some(Account { name, uid: uid.as_raw(), gid: gid.as_raw(), groups, home }))
}

fn find_user(text: &str) -> Result<User, AccountError> {
    let by_name = User::from_name(text).ok().flatten();
    let by_number = || User::from_uid(Uid::from_raw(text.parse().ok()?)).ok().flatten();
    by_name.or_else(by_number).ok_or_else(|| AccountError::User(text.to_owned()))
}

fn find_group(text: &str) -> Result<Gid, AccountError> {
    let by_name = Group::from_name(text).ok().flatten().map(|group| group.gid);
    let by_number = || text.parse().ok().map(Gid::from_raw);
    by_name.or_else(by_number).ok_or_else(|| AccountError::Group(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_user_is_named() {
        assert_eq!(account(None, None), Ok(None));
        assert_eq!(account(Some("no-such-user"), None), Err(AccountError::User("no-such-user".into())));
        assert_eq!(account(None, Some("no-such-group")), Err(AccountError::Group("no-such-group".into())));
        assert_eq!(account(Some("4000000000"), None), Err(AccountError::User("4000000000".into())));
    }

    #[test]
    fn user_is_found_by_name_and_by_number() {
        let root = find_user("root").unwrap();
        assert_eq!(find_user("0").unwrap().name, root.name);
        if geteuid().is_root() {
            let nobody = account(Some("nobody"), None).unwrap().unwrap();
            assert_eq!((nobody.uid, nobody.groups.first()), (65534, Some(&nobody.gid)));
            let other = account(Some("nobody"), Some("7")).unwrap().unwrap();
            assert_eq!((other.uid, other.gid), (65534, 7));
            assert!(other.groups.contains(&7) && !other.groups.contains(&0));
        }
    }
}
