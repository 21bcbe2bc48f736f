//! Substitution of environment variables, secret files and systemd credentials in the strings of the configuration.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::passed_env::CREDENTIALS_VARIABLE;
use crate::access::{self, Access};

/// Lookup of environment variables; a parameter, so that tests need no real environment.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A message and its remedy.
type Mistake = (String, String);

/// Variable that every worker has: its channel.
const WORKER_VARIABLE: &str = "AINT_QUEUE_CHANNEL";
/// Largest secret file in bytes: 64 KiB.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Sources of the text that strings of the configuration refer to.
pub(super) struct Interpolation<'a> {
    env: Env<'a>,
    /// Directory of the configuration file, base of relative paths.
    base: &'a Path,
    /// Names of the variables that strings refer to.
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Interpolation<'a> {
    pub(super) fn new(env: Env<'a>, base: &'a Path) -> Self {
        Self { env, base, used: RefCell::default() }
    }

    /// The names of the variables that were referred to.
    pub(super) fn into_used(self) -> BTreeSet<String> {
        self.used.into_inner()
    }

    /// Substitutes `${NAME}`, `${file:PATH}` and `${credential:NAME}`, each with an optional `:-otherwise`; `$${` stands for a
    /// literal `${`.
    ///
    /// Returns `None` when the text refers to nothing.
    pub(super) fn substitute(&self, text: &str) -> Result<Option<String>, Mistake> {
        if !text.contains("${") {
            return Ok(None);
        }
        let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(start) = rest.find("${") {
            let (before, from_here) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = &from_here[2..];
                continue;
            }
            filled.push_str(before);
            let Some(end) = from_here.find('}') else {
                return Err((
                    "holds \"${\" without \"}\"".to_owned(),
                    "write \"${NAME}\", or \"$${\" for the characters themselves".to_owned(),
                ));
            };
            filled.push_str(&self.resolve(&from_here[2..end])?);
            rest = &from_here[end + 1..];
        }
        filled.push_str(rest);
        Ok(Some(filled))
    }

    /// Resolves the text between the braces.
    fn resolve(&self, reference: &str) -> Result<String, Mistake> {
        let (source, otherwise) = match reference.split_once(":-") {
            Some((source, otherwise)) => (source, Some(otherwise)),
            None => (reference, None),
        };
        if let Some(path) = source.strip_prefix("file:") {
            return secret_file(&self.base.join(path), otherwise);
        }
        match source.strip_prefix("credential:") {
            Some(name) => self.credential(name, otherwise),
            None => self.variable(source, otherwise),
        }
    }

    fn variable(&self, name: &str, otherwise: Option<&str>) -> Result<String, Mistake> {
        let in_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(in_name) || name.as_bytes()[0].is_ascii_digit() {
            return Err((
                format!("names no variable in \"${{{}}}\"", name.escape_debug()),
                "use letters, digits and _, as in \"${REDIS_PASSWORD}\"".to_owned(),
            ));
        }
        self.used.borrow_mut().insert(name.to_owned());
        let value = (self.env)(name).filter(|value| otherwise.is_none() || !value.is_empty());
        match (value, otherwise) {
            (Some(value), _) => Ok(value),
            (None, Some(otherwise)) => Ok(otherwise.to_owned()),
            (None, None) => {
                let remedy = if (self.env)(WORKER_VARIABLE).is_some() {
                    format!(
                        "inside a worker, name it in worker.inherit_env: variables that the configuration refers to are withheld from workers; or write \"${{{name}:-otherwise}}\""
                    )
                } else {
                    format!("set it, or write \"${{{name}:-otherwise}}\" with a default value")
                };
                Err((format!("needs the environment variable {name}, which is not set"), remedy))
            }
        }
    }

    /// A credential of the service, from the directory that systemd names.
    fn credential(&self, name: &str, otherwise: Option<&str>) -> Result<String, Mistake> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err((
                format!("names no credential in \"${{credential:{}}}\"", name.escape_debug()),
                "write the id of LoadCredential=, as in \"${credential:redis-password}\"".to_owned(),
            ));
        }
        let directory = (self.env)(CREDENTIALS_VARIABLE).filter(|directory| !directory.is_empty());
        match (directory, otherwise) {
            (Some(directory), _) => secret_file(&PathBuf::from(directory).join(name), otherwise),
            (None, Some(otherwise)) => Ok(otherwise.to_owned()),
            (None, None) => {
                let remedy = if (self.env)(WORKER_VARIABLE).is_some() {
                    format!(
                        "inside a worker, name {CREDENTIALS_VARIABLE} in worker.inherit_env: it is withheld from workers"
                    )
                } else {
                    format!(
                        "add LoadCredential={name}:/path to the unit of the service, or run the command there"
                    )
                };
                Err((
                    format!("needs the credential \"{name}\", but {CREDENTIALS_VARIABLE} is not set"),
                    remedy,
                ))
            }
        }
    }
}

/// The text of a secret file without the line break at its end; `otherwise` stands for a missing file. Messages name the
/// file and quote nothing of it.
fn secret_file(path: &Path, otherwise: Option<&str>) -> Result<String, Mistake> {
    let mistake = |message: &str, remedy: &str| {
        let path = path.display().to_string();
        Err((format!("needs the file \"{}\", which {message}", path.escape_debug()), remedy.to_owned()))
    };
    let mut bytes = Vec::new();
    match read_start(path, &mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match otherwise {
                Some(otherwise) => Ok(otherwise.to_owned()),
                None => mistake("does not exist", "create it, or correct the path"),
            };
        }
        Err(error) => {
            let error = access::explained(error, path, Access::Read);
            return mistake(&format!("cannot be read: {error}"), "let this user read it");
        }
        Ok(false) => return mistake("is not a regular file", "name a file that holds the secret alone"),
        Ok(true) => {}
    }
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return mistake("is larger than 64 KiB", "name a file that holds the secret alone");
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return mistake("is not UTF-8", "store the secret as text, for instance in base64");
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Reads a regular file up to just above the limit; false for anything else, whose read might never end.
fn read_start(path: &Path, bytes: &mut Vec<u8>) -> io::Result<bool> {
    if !fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_end(bytes)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "USER_1" => Some("ann".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn substitute(text: &str) -> Result<Option<String>, Mistake> {
        Interpolation::new(&env, Path::new("/")).substitute(text)
    }

    #[test]
    fn variables_expand_with_defaults() {
        let filled = |text: &str| substitute(text).unwrap();
        assert_eq!(filled("plain $HOME"), None);
        assert_eq!(filled("${USER_1}"), Some("ann".to_owned()));
        assert_eq!(filled("a${USER_1}b${USER_1}"), Some("aannbann".to_owned()));
        assert_eq!(filled("${NO:-x}${EMPTY:-y}[${EMPTY}]"), Some("xy[]".to_owned()));
        assert_eq!(filled("$${USER_1}"), Some("${USER_1}".to_owned()));
    }

    #[test]
    fn missing_or_malformed_variable_is_named() {
        let wrong = |text: &str| substitute(text).unwrap_err().0;
        assert_eq!(wrong("${NO}"), "needs the environment variable NO, which is not set");
        assert_eq!(wrong("${a b}"), "names no variable in \"${a b}\"");
        assert_eq!(wrong("${USER_1"), "holds \"${\" without \"}\"");
    }

    #[test]
    fn missing_variable_in_a_worker_names_inherit_env() {
        let in_worker = |name: &str| (name == WORKER_VARIABLE).then(|| "mail".to_owned());
        let (_, remedy) = Interpolation::new(&in_worker, Path::new("/")).substitute("${NO}").unwrap_err();
        assert!(remedy.contains("worker.inherit_env"), "{remedy}");
    }

    #[test]
    fn used_variables_are_listed_even_when_unset() {
        let interpolation = Interpolation::new(&env, Path::new("/"));
        let _ = interpolation.substitute("${USER_1}${NO:-x}");
        let _ = interpolation.substitute("${file:/no/such:-x}$${LITERAL}");
        assert_eq!(interpolation.into_used().into_iter().collect::<Vec<_>>(), ["NO", "USER_1"]);
    }

    #[test]
    fn file_gives_its_text_without_line_break() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("plain", "hunter2"), ("line", "hunter2\n"), ("dos", "hunter2\r\n")] {
            fs::write(dir.path().join(name), text).unwrap();
            let filled = Interpolation::new(&env, dir.path()).substitute(&format!("<${{file:{name}}}>"));
            assert_eq!(filled, Ok(Some("<hunter2>".to_owned())), "{name}");
        }
        let absolute = format!("${{file:{}}}", dir.path().join("plain").display());
        assert_eq!(substitute(&absolute), Ok(Some("hunter2".to_owned())));
        assert_eq!(substitute("${file:/no/such:-x}"), Ok(Some("x".to_owned())));
    }

    #[test]
    fn unusable_file_is_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("binary"), b"hunter2\xff").unwrap();
        fs::write(dir.path().join("large"), "hunter2".repeat(10_000)).unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let wrong = |name: &str| {
            let (message, _) =
                Interpolation::new(&env, dir.path()).substitute(&format!("${{file:{name}}}")).unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
            message
        };
        assert!(wrong("none").ends_with("none\", which does not exist"));
        assert!(wrong("binary").ends_with("which is not UTF-8"));
        assert!(wrong("large").ends_with("which is larger than 64 KiB"));
        assert!(wrong("fifo").ends_with("which is not a regular file"));
        assert!(wrong(".").ends_with("which is not a regular file"));
    }

    #[test]
    fn credential_is_a_file_of_the_service() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("redis"), "hunter2\n").unwrap();
        let directory = dir.path().to_str().unwrap().to_owned();
        let service = move |name: &str| (name == CREDENTIALS_VARIABLE).then(|| directory.clone());
        let credentials = Interpolation::new(&service, Path::new("/"));
        assert_eq!(credentials.substitute("${credential:redis}"), Ok(Some("hunter2".to_owned())));
        assert!(credentials.substitute("${credential:none}").unwrap_err().0.contains("does not exist"));
        assert!(
            credentials.substitute("${credential:../redis}").unwrap_err().0.contains("names no credential")
        );
        assert_eq!(substitute("${credential:redis:-x}"), Ok(Some("x".to_owned())));
        assert!(substitute("${credential:redis}").unwrap_err().1.contains("LoadCredential=redis"));
    }
}
