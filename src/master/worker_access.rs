//! Whether the user of `worker.user` may start the program of its channel, by owner, group and mode of the files and the directories
//! above them. Access lists of a file system are not read, so that a finding is a warning.

use std::fs::{self, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::own_program::own_program;
use crate::config::command_check::{self, Search};
use crate::config::{Channel, Config, Handler};
use crate::guardian::{Account, account};
use crate::trust::Permissions;

/// A use of a file or directory, as the bit of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Read = 4,
    Execute = 1,
}

/// A warning for each channel whose workers may not use the files of their program.
#[must_use]
pub fn closed_to_workers(config: &Config) -> Vec<String> {
    let base = config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    config.channels.values().filter_map(|channel| closed_to_worker(channel, base)).collect()
}

fn closed_to_worker(channel: &Channel, base: &Path) -> Option<String> {
    let worker = &channel.worker;
    // An unknown user is a warning of its own, and a master that is not root cannot change to another one.
    let account = account(worker.user.as_deref(), worker.group.as_deref()).ok()??;
    let closed = program_files(channel, base)
        .into_iter()
        .find_map(|(file, wanted)| closed(&account, &file, wanted))?;
    let (name, user) = (&channel.name, &account.name);
    Some(format!(
        "workers of channel \"{name}\" cannot start: user \"{user}\" (channels.{name}.worker.user) {closed}: give the user this right, or move the program"
    ))
}

/// The files of the program of a channel, with their use. A missing one is an error of its own.
fn program_files(channel: &Channel, base: &Path) -> Vec<(PathBuf, Use)> {
    let (Handler::Wire { command } | Handler::Exec { command }) = &channel.worker.handler else {
        return own_program().map(|own| (own, Use::Execute)).into_iter().collect();
    };
    let path = channel.worker.env.get("PATH").map(String::as_str);
    let files = command_check::files(command.argv(), Search { base, path });
    // The program starts in the directory of the configuration file.
    let mut found = vec![(base.to_owned(), Use::Execute)];
    for (index, file) in files.into_iter().enumerate() {
        // An interpreter opens its script as the user.
        if index > 0 || is_script(&file) {
            found.push((file.clone(), Use::Read));
        }
        if index == 0 {
            found.push((file, Use::Execute));
        }
    }
    found
}

fn is_script(file: &Path) -> bool {
    let mut head = [0; 2];
    // A pipe in the place of the program must not hold up the start.
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(file);
    let regular = opened.ok().filter(|file| file.metadata().is_ok_and(|found| found.is_file()));
    regular.is_some_and(|mut file| file.read_exact(&mut head).is_ok() && head == *b"#!")
}

/// The topmost place that keeps a user from a file: a directory above it, or above what its links lead to, or the file.
fn closed(account: &Account, file: &Path, wanted: Use) -> Option<String> {
    let real = fs::canonicalize(file).ok();
    let paths = [Some(file), real.as_deref()];
    let directories = paths.into_iter().flatten().flat_map(|path| {
        let mut above: Vec<_> =
            path.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty()).collect();
        above.reverse();
        above
    });
    let entered = directories.map(|directory| (directory, "enter", Use::Execute));
    let verb = match wanted {
        Use::Read => "read",
        Use::Execute if file.is_dir() => "enter",
        Use::Execute => "execute",
    };
    entered.chain([(file, verb, wanted)]).find_map(|(path, verb, wanted)| {
        let found = fs::metadata(path).ok()?;
        (!may(account, &found, wanted))
            .then(|| format!("may not {verb} \"{}\" ({})", path.display(), Permissions::of(&found)))
    })
}

/// Whether the mode of a file allows a use. The first class that the user belongs to decides.
fn may(account: &Account, found: &Metadata, wanted: Use) -> bool {
    let (mode, wanted) = (found.mode(), wanted as u32);
    if account.uid == 0 {
        // Root reads everything and enters every directory, and executes what anybody may execute.
        return wanted == Use::Read as u32 || found.is_dir() || mode & 0o111 != 0;
    }
    let class = if found.uid() == account.uid {
        mode >> 6
    } else if found.gid() == account.gid || account.groups.contains(&found.gid()) {
        mode >> 3
    } else {
        mode
    };
    class & wanted != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn user(uid: u32, gid: u32) -> Account {
        Account { name: "mailer".to_owned(), uid, gid, groups: vec![gid], home: String::new() }
    }

    #[test]
    fn first_class_that_fits_decides() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        let mode = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            fs::metadata(&file).unwrap()
        };
        let found = mode(0o640);
        let (owner, group) = (user(found.uid().max(1), found.gid() + 1), user(found.uid() + 1, found.gid()));
        let stranger = user(found.uid() + 1, found.gid() + 1);
        assert!(!may(&stranger, &found, Use::Read) && may(&group, &found, Use::Read));
        assert!(!may(&group, &found, Use::Execute));
        let found = mode(0o701);
        assert!(
            may(&stranger, &found, Use::Execute) && !may(&group, &found, Use::Execute),
            "not the last one"
        );
        assert!(
            may(&user(0, 0), &mode(0o010), Use::Execute) && !may(&user(0, 0), &mode(0o600), Use::Execute)
        );
        assert!(is_script(&file) && owner.uid > 0);
    }

    #[test]
    fn pipe_without_a_writer_is_no_script() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("run");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o700)).unwrap();
        let (done, on_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(is_script(&pipe)));
        assert_eq!(on_done.recv_timeout(std::time::Duration::from_secs(10)), Ok(false));
    }

    #[test]
    fn topmost_closed_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("app");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("run");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let found = fs::metadata(&file).unwrap();
        let stranger = user(found.uid() + 1, found.gid() + 1);
        let names = |path: &Path, verb: &str| {
            let why = closed(&stranger, &file, Use::Execute).unwrap();
            assert!(why.contains(&format!("may not {verb} \"{}\" (owner uid ", path.display())), "{why}");
        };
        set(dir.path(), 0o700);
        set(&inner, 0o700);
        names(dir.path(), "enter");
        set(dir.path(), 0o711);
        names(&inner, "enter");
        set(&inner, 0o711);
        set(&file, 0o744);
        names(&file, "execute");
        set(&file, 0o755);
        assert_eq!(closed(&stranger, &file, Use::Execute), None);
    }
}
