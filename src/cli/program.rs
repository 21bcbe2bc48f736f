//! Name and version of the program that runs, which is an application of its own when built on `App`.

use crate::snapshot::NamedHandler;

/// Name and version of a program, and what it adds to a master.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The name, as typed by users.
    pub(crate) name: String,
    /// The version of an application that is not aint-queue itself, if the application states one.
    pub(crate) version: Option<String>,
    /// The demo jobs are registered.
    pub(crate) has_demo_jobs: bool,
    /// The registered handlers of snapshots.
    pub(crate) snapshot_handlers: Vec<NamedHandler>,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            name: "aint-queue".to_owned(),
            version: None,
            has_demo_jobs: false,
            snapshot_handlers: Vec::new(),
        }
    }
}

impl Program {
    /// The version as printed by `--version`, behind the name of the program.
    pub(super) fn version_text(&self) -> String {
        let own = env!("CARGO_PKG_VERSION");
        match &self.version {
            Some(version) => format!("{version} (aint-queue {own})"),
            None if self.name == "aint-queue" => own.to_owned(),
            None => format!("(aint-queue {own})"),
        }
    }
}
