//! The run directories that a file names, even if the file is no valid configuration: its masters may still run there.

use std::env;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::interpolation::Interpolation;
use super::load::read_file;
use super::{run_directory, typed};

/// The run directories that the readable part of `file` names, and the one that is used without a name.
#[must_use]
pub fn run_directories(file: &Path) -> Vec<PathBuf> {
    let mut directories = vec![run_directory::of_user()];
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let base = absolute.parent().unwrap_or(Path::new("/"));
    // A pipe would block its reader.
    let Some(text) = absolute.is_file().then(|| read_file(&absolute).ok()).flatten() else {
        return directories;
    };
    let env = |name: &str| env::var(name).ok();
    let interpolation = Interpolation::new(&env, base);
    let (document, _) = DeTable::parse_recoverable(&text);
    let root = document.get_ref();
    let channels = root.get("channels").and_then(table);
    let tables = root.get("defaults").and_then(table).into_iter();
    let tables = tables.chain(channels.into_iter().flat_map(|channels| channels.values().filter_map(table)));
    for named in tables.filter_map(|table| table.get("pid_path")) {
        let DeValue::String(written) = named.get_ref() else { continue };
        let Ok(filled) = interpolation.substitute(written) else { continue };
        let directory = typed::from(base, filled.as_deref().unwrap_or(written));
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories
}

fn table<'a, 'de>(value: &'a Spanned<DeValue<'de>>) -> Option<&'a DeTable<'de>> {
    if let DeValue::Table(table) = value.get_ref() { Some(table) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_file_still_names_its_run_directories() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aint-queue.toml");
        let text = "[defaults]\npid_path = \"run\"\nmax_attempts = = 3\n[channels.mail]\npid_path = \"/run/mail\"\n\
                    wrong = 1\n[channels.other]\npid_path = \"${NO_SUCH_VARIABLE}\"\n[channels.more\n";
        std::fs::write(&file, text).unwrap();
        let expected = [run_directory::of_user(), dir.path().join("run"), PathBuf::from("/run/mail")];
        assert_eq!(run_directories(&file), expected);
        assert_eq!(run_directories(&dir.path().join("missing")), [run_directory::of_user()]);
    }
}
