//! `man`: writes manual pages.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::help::command_line;
use super::{CommandContext, Exit, Failure};

/// Write manual pages, one per command
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory for the pages; it is created if it is missing
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self, context: &CommandContext) -> Result<(), Failure> {
        let shown = self.directory.display();
        let failed =
            |error| Failure::new(Exit::Failed, format!("write manual pages to {shown}")).because(error);
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let line = command_line(context.program(), context.registry());
        clap_mangen::generate_to(line, &self.directory).map_err(failed)?;
        context.print(&format!("Wrote the manual pages of all commands to {shown}.\n"))
    }
}
