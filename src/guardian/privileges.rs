//! What children may be and use: their user, their niceness, the limits of the system on them.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use serde::{Deserialize, Serialize};

/// What a child is started as. Nothing set means: as its guardian.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// How far it stands back for others, -20 to 19.
    pub nice: Option<i32>,
    /// Whom it runs as.
    pub account: Option<Account>,
    /// Limits of the system, each for one process.
    pub limits: Vec<(Limit, u64)>,
}

/// A user to run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name, for people and for the environment.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
    /// Its home; empty when it has none.
    pub home: String,
}

/// What the system can limit, as `setrlimit` knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Descriptors open at once.
    OpenFiles,
    /// Processes and threads of the user, all in all.
    Processes,
    /// Bytes of a core dump.
    Core,
    /// Seconds of processor time.
    CpuSeconds,
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a file it writes.
    FileSize,
}

/// Why nobody can be run as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is no such user.
    #[error("there is no user \"{0}\" on this machine; make it, or set worker.user to another")]
    User(String),
    /// There is no such group.
    #[error("there is no group \"{0}\" on this machine; make it, or set worker.group to another")]
    Group(String),
    /// Only root may become somebody else.
    #[error(
        "the master runs as uid {uid} and cannot start workers as \"{name}\"; run it as root, or remove worker.user and \
             worker.group"
    )]
    Forbidden {
        /// Who was wanted.
        name: String,
        /// Who we are.
        uid: u32,
    },
}

/// The account that a user and a group name; `None` when it is who we are anyway.
///
/// # Errors
/// When one of them is unknown here, or this process may not become it.
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
