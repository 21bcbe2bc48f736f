//! Checks that a configured `command` can be started, before the first job needs it.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Finds the file of `program`: in PATH when the name has no slash, else relative to `base`.
///
/// # Errors
/// The mistake and its remedy, as the rest of a sentence that begins with "the program".
pub fn locate(program: &str, base: &Path) -> Result<PathBuf, String> {
    locate_in(program, base, &env::var_os("PATH").unwrap_or_default())
}

/// The files that a command line names: the program, and each argument that is a file.
#[must_use]
pub fn files(argv: &[String], directory: &Path) -> Vec<PathBuf> {
    let program = argv.first().and_then(|program| locate(program, directory).ok());
    let arguments =
        argv.iter().skip(1).map(|argument| directory.join(argument)).filter(|path| path.is_file());
    program.into_iter().chain(arguments).collect()
}

fn locate_in(program: &str, base: &Path, path: &std::ffi::OsStr) -> Result<PathBuf, String> {
    let name = program.escape_debug();
    if program.is_empty() {
        return Err("\"\" is empty: name a program".to_owned());
    }
    if program.contains('/') {
        let file = base.join(program);
        return match unfit(&file) {
            None => Ok(file),
            Some(why) => Err(format!("\"{}\" {why}", file.display().to_string().escape_debug())),
        };
    }
    let mut found_unfit = None;
    for directory in env::split_paths(path) {
        let file = directory.join(program);
        match unfit(&file) {
            None => return Ok(file),
            Some(why) if file.exists() && found_unfit.is_none() => found_unfit = Some((file, why)),
            Some(_) => {}
        }
    }
    Err(match found_unfit {
        Some((file, why)) => format!("\"{name}\" was found at \"{}\", which {why}", file.display()),
        None => format!(
            "\"{name}\" is in no directory of PATH: install it, or write its full path (a path with a slash is relative to the configuration file)"
        ),
    })
}

/// The reason why a file cannot be started, with its remedy.
fn unfit(file: &Path) -> Option<&'static str> {
    match file.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Some("cannot be reached: give this user the right to enter its directory")
        }
        Err(_) => Some("does not exist: install it, or correct the path"),
        Ok(found) if found.is_dir() => Some("is a directory: name the program inside it"),
        Ok(found) if !found.is_file() => Some("is not a regular file: name a program"),
        Ok(_) => match access(file, AccessFlags::X_OK) {
            Ok(()) => None,
            Err(_) => Some("is not executable: run chmod +x on it, or put its interpreter first"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let file = dir.join(name);
        fs::write(&file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn program_files_are_those_of_its_command_line() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("worker.php");
        std::fs::write(&script, "").unwrap();
        let found = files(&["sh", "worker.php", "--quiet", "."].map(str::to_owned), dir.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("sh") && found[1] == script);
    }

    #[test]
    fn bare_names_use_path_and_paths_are_relative_to_config() {
        let dir = tempfile::tempdir().unwrap();
        let file = script(dir.path(), "run", 0o755);
        assert_eq!(locate_in("run", Path::new("/"), dir.path().as_os_str()), Ok(file.clone()));
        assert_eq!(locate_in("./run", dir.path(), OsStr::new("")), Ok(dir.path().join("./run")));
        assert_eq!(locate_in(file.to_str().unwrap(), Path::new("/"), OsStr::new("")), Ok(file));
    }

    #[test]
    fn unstartable_command_is_named_with_remedy() {
        let dir = tempfile::tempdir().unwrap();
        script(dir.path(), "plain", 0o644);
        let wrong = |name: &str| locate_in(name, dir.path(), dir.path().as_os_str()).unwrap_err();
        assert!(wrong("nothing-here").contains("is in no directory of PATH"));
        assert!(wrong("./nothing").contains("does not exist"));
        assert!(wrong("./.").contains("is a directory"));
        assert!(wrong("./plain").contains("chmod +x"));
        assert!(wrong("plain").contains("was found at"));
        assert!(wrong("").contains("is empty"));
        assert!(wrong("/dev/null").contains("not a regular file"));
    }
}
