//! Checks that a configured `command` can be started, before the first job needs it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Longest first line of a script that the kernel reads, in bytes.
const MAX_SCRIPT_HEAD: u64 = 255;
/// Endings of files that are given to an interpreter.
const SCRIPT_ENDINGS: [&str; 8] = ["py", "php", "js", "mjs", "cjs", "rb", "pl", "sh"];

/// Where a program and the interpreter of a script are searched.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Base of relative paths.
    pub base: &'a Path,
    /// The PATH of the program, if it gets another one than this process has.
    pub path: Option<&'a str>,
}

impl Search<'_> {
    fn directories(&self) -> OsString {
        self.path.map_or_else(|| env::var_os("PATH").unwrap_or_default(), OsString::from)
    }
}

/// Finds the file of `program`: in PATH when the name has no slash, else relative to the base. A script needs its interpreter.
///
/// # Errors
/// The mistake and its remedy, as the rest of a sentence that begins with "the program".
pub fn locate(program: &str, search: Search<'_>) -> Result<PathBuf, String> {
    let path = search.directories();
    let file = locate_in(program, search.base, &path)?;
    match script_head(&file).and_then(|head| interpreter_fault(&head, &path)) {
        None => Ok(file),
        Some(why) => Err(format!("\"{}\" is a script {why}", file.display().to_string().escape_debug())),
    }
}

/// The files that a command line names: the program, and each argument that is a file.
#[must_use]
pub fn files(argv: &[String], search: Search<'_>) -> Vec<PathBuf> {
    let program = argv.first().and_then(|program| locate(program, search).ok());
    let arguments =
        argv.iter().skip(1).map(|argument| search.base.join(argument)).filter(|path| path.is_file());
    program.into_iter().chain(arguments).collect()
}

/// The script that a command line gives to its interpreter, if it does not exist. Only the first argument that is no option can
/// be one, and only its ending tells.
#[must_use]
pub fn missing_script(argv: &[String], directory: &Path) -> Option<PathBuf> {
    let argument = argv.iter().skip(1).find(|argument| !argument.starts_with('-'))?;
    let file = directory.join(argument);
    let ending = file.extension()?.to_str()?;
    (SCRIPT_ENDINGS.contains(&ending) && !file.exists()).then_some(file)
}

fn locate_in(program: &str, base: &Path, path: &OsStr) -> Result<PathBuf, String> {
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

/// The first line of a script, without `#!`. `None` for other programs, and for a file that this process may start but not read.
fn script_head(file: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(file).ok()?.take(MAX_SCRIPT_HEAD).read_to_end(&mut bytes).ok()?;
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}

/// The reason why the interpreter in the first line of a script cannot be started, as the rest of a sentence that begins with
/// "is a script".
fn interpreter_fault(head: &str, path: &OsStr) -> Option<String> {
    const BLANK: [char; 2] = [' ', '\t'];
    let head = head.trim_matches(BLANK);
    let (interpreter, argument) = head.split_once(BLANK).unwrap_or((head, ""));
    let argument = argument.trim_start_matches(BLANK);
    let (program, is_env) = match Path::new(interpreter).file_name() {
        Some(name) if name == "env" && !argument.is_empty() => (program_of_env(argument)?, true),
        // A relative interpreter depends on the directory in which the program starts.
        _ if !interpreter.starts_with('/') => return None,
        _ => (interpreter, false),
    };
    let name = program.escape_debug();
    if program.ends_with('\r') {
        return Some(format!(
            "whose first line ends in a carriage return, so \"{name}\" is not found: save it with Unix line ends"
        ));
    }
    if is_env && program.contains(BLANK) {
        return Some(format!(
            "whose first line makes env look for a program of the name \"{name}\": write #!{interpreter} -S {name}"
        ));
    }
    let why = locate_in(program, Path::new("/"), path).err()?;
    let why = if program.contains('/') {
        why
    } else {
        format!("\"{name}\" is in no directory of PATH: install it, or correct the first line of the script")
    };
    Some(format!("whose interpreter {why}"))
}

/// The program that `env` starts. The kernel passes everything behind the interpreter as one argument; only `-S` splits it.
fn program_of_env(argument: &str) -> Option<&str> {
    let Some(words) = argument.strip_prefix("-S").or_else(|| argument.strip_prefix("--split-string=")) else {
        return (!argument.starts_with('-')).then_some(argument);
    };
    words.split_ascii_whitespace().find(|word| !word.starts_with('-') && !word.contains('='))
}

#[cfg(test)]
mod tests {
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
        let found = files(
            &["sh", "worker.php", "--quiet", "."].map(str::to_owned),
            Search { base: dir.path(), path: None },
        );
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
    #[test]
    fn missing_interpreter_of_a_script_is_named() {
        let fault = |head: &str| interpreter_fault(head, OsStr::new("/bin:/usr/bin"));
        for head in
            ["/bin/sh", " /bin/sh -e", "/usr/bin/env sh", "/usr/bin/env -S A=1 sh -e", "bin/relative", ""]
        {
            assert_eq!(fault(head), None, "{head}");
        }
        for (head, part) in [
            ("/usr/bin/nope", "whose interpreter \"/usr/bin/nope\" does not exist"),
            ("/usr/bin/env nope", "whose interpreter \"nope\" is in no directory of PATH"),
            ("/usr/bin/env -S nope -u", "whose interpreter \"nope\" is in no directory of PATH"),
            ("/usr/bin/env sh -e", "write #!/usr/bin/env -S sh -e"),
            ("/bin/sh\r", "carriage return"),
            ("/usr/bin/env sh\r", "carriage return"),
        ] {
            let why = fault(head).unwrap();
            assert!(why.contains(part), "{head}: {why}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = script(dir.path(), "run", 0o755);
        let search = Search { base: dir.path(), path: None };
        assert_eq!(locate("./run", search), Ok(dir.path().join("./run")));
        fs::write(&file, "#!/usr/bin/nope\n").unwrap();
        let why = locate("./run", search).unwrap_err();
        assert!(why.ends_with("run\" is a script whose interpreter \"/usr/bin/nope\" does not exist: install it, or correct the path"));
    }

    #[test]
    fn missing_script_is_the_first_argument_with_its_ending() {
        let missing = |argv: &str| {
            let argv: Vec<_> = argv.split(' ').map(str::to_owned).collect();
            missing_script(&argv, Path::new("/nowhere"))
        };
        assert_eq!(missing("python3 -u worker.py"), Some(PathBuf::from("/nowhere/worker.py")));
        for argv in ["python3 -m worker", "program out.py.txt", "sh /dev/null", "python3"] {
            assert_eq!(missing(argv), None, "{argv}");
        }
    }
}
