//! The clock of a program under the control of a test: libfaketime, preloaded, reads its distance from the machine's clock
//! from a file. The monotonic clocks stay as they are.

use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

pub struct Clock {
    dir: TempDir,
    offset: Mutex<i64>,
}

impl Clock {
    /// A clock that shows the time of the machine.
    pub fn new() -> Self {
        let clock = Self { dir: tempfile::tempdir().expect("a temporary directory"), offset: Mutex::new(0) };
        clock.step(0);
        clock
    }

    /// Steps the clock by microseconds, forward or back.
    pub fn step(&self, micros: i64) {
        let mut offset = self.offset.lock().expect("no step panics");
        *offset += micros;
        let sign = if *offset < 0 { '-' } else { '+' };
        let text = format!("{sign}{}.{:06}\n", offset.abs() / 1_000_000, offset.abs() % 1_000_000);
        // Renamed into place, so that the program reads the old or the new offset.
        let fresh = self.dir.path().join("new");
        std::fs::write(&fresh, text).expect("the clock's file");
        std::fs::rename(fresh, self.dir.path().join("offset")).expect("the clock's file");
    }

    /// The variables that give a program this clock.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", libfaketime().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.dir.path().join("offset").display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

/// The library that replaces the clock of a program.
fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("/usr/lib").flatten().map(|entry| entry.path());
    let mut libraries = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    let found = libraries.find(|library| library.is_file());
    found.expect("libfaketime is not installed: run tests/services.sh, which installs it")
}
