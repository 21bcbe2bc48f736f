//! File names for channel names.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::config::stable_hash;

/// Longest path of a unix socket: the kernel's field without its final NUL.
pub(super) const MAX_SOCKET_PATH: usize = 107;
/// Longest file name stem. File systems allow 255 bytes, including the suffixes.
const MAX_STEM: usize = 180;

/// The stem of a channel's file names. Different channels never share a stem.
pub(super) fn stem(channel: &str) -> String {
    let mut stem = String::with_capacity(channel.len());
    for (i, byte) in channel.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b':' => stem.push(char::from(byte)),
            // A leading dot would hide the file.
            b'.' if i > 0 => stem.push('.'),
            _ => write!(stem, "%{byte:02x}").expect("writing to a string cannot fail"),
        }
    }
    if stem.len() > MAX_STEM {
        stem.truncate(MAX_STEM - 17);
        // Unshortened stems never contain `~`.
        write!(stem, "~{:016x}", stable_hash(channel.as_bytes())).expect("writing to a string cannot fail");
    }
    stem
}

/// The path of the channel's control socket: named after the channel if the path fits, else by hash.
pub(super) fn socket(directory: &Path, channel: &str) -> PathBuf {
    let [named, hashed] = socket_names(channel).map(|name| directory.join(name));
    if named.as_os_str().len() <= MAX_SOCKET_PATH { named } else { hashed }
}

/// Length of the longest directory in which the channel can have a control socket.
pub(super) fn longest_directory(channel: &str) -> usize {
    let shortest = socket_names(channel).iter().map(String::len).min().unwrap_or(0);
    MAX_SOCKET_PATH - shortest - "/".len()
}

fn socket_names(channel: &str) -> [String; 2] {
    [format!("{}.sock", stem(channel)), format!("~{:016x}.sock", stable_hash(channel.as_bytes()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_unchanged() {
        for name in ["default", "mail-2", "a.b:c_D"] {
            assert_eq!(stem(name), name);
        }
    }

    #[test]
    fn file_names_are_contained_visible_and_distinct() {
        assert_eq!(stem("../x"), "%2e.%2fx");
        assert_eq!(stem("."), "%2e");
        assert_eq!(stem("%2e"), "%252e");
        assert_eq!(stem("ä"), "%c3%a4");
        let long = "x".repeat(300);
        assert_eq!(stem(&long).len(), MAX_STEM);
        assert_ne!(stem(&long), stem(&"x".repeat(301)));
    }

    #[test]
    fn socket_path_fits_while_directory_leaves_room() {
        assert_eq!(socket(Path::new("/run/q"), "mail"), Path::new("/run/q/mail.sock"));
        let hashed = socket(Path::new("/run/q"), &"x".repeat(100));
        assert!(hashed.as_os_str().len() < 40, "{hashed:?}");
        assert_ne!(hashed, socket(Path::new("/run/q"), &"x".repeat(101)));
    }
}
