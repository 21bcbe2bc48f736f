//! An example, copied to a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::Fixture;

/// The example workers: directory below `examples/`, and channel of its configuration.
pub const PHP: (&str, &str) = ("php", "mail");
pub const PYTHON: (&str, &str) = ("python", "mail");
pub const PYTHON_TASKS: (&str, &str) = ("python", "many");
pub const NODE: (&str, &str) = ("node", "mail");
pub const NODE_TASKS: (&str, &str) = ("node", "many");

/// A fixture with the files of an example, its configuration among them.
pub fn copy_of(example: &str) -> Fixture {
    let fixture = Fixture::sqlite("");
    for file in fs::read_dir(Path::new("examples").join(example)).unwrap().map(|entry| entry.unwrap().path())
    {
        // Skip files that a manual run of the example has left.
        if file.is_file() && file.extension().is_some_and(|e| e != "txt") && !is_store(&file) {
            let name = file.file_name().unwrap().to_str().unwrap();
            fixture.write(name, &fs::read_to_string(&file).unwrap());
        }
    }
    fixture
}

fn is_store(file: &Path) -> bool {
    file.to_str().unwrap().contains(".db")
}

/// The programs of `command` settings.
pub fn programs() -> Vec<PathBuf> {
    let directories = ["php", "python", "node", "sh"].map(|language| Path::new("examples").join(language));
    let files =
        directories.iter().flat_map(|dir| fs::read_dir(dir).unwrap()).map(|entry| entry.unwrap().path());
    let is_program =
        |file: &PathBuf| file.extension().is_some_and(|e| ["php", "py", "mjs", "sh"].iter().any(|p| e == *p));
    let found: Vec<_> = files.filter(is_program).collect();
    assert!(found.len() >= 7, "the examples are where this test looks: {found:?}");
    found
}

/// The lines of the file that the example's handler writes.
pub fn effects(fixture: &Fixture, file: &str) -> Vec<String> {
    let text = fs::read_to_string(fixture.file(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
