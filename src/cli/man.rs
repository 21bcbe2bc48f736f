//! `man`: writes manual pages.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::help::command_line;
use super::{CommandContext, Exit, Failure};
use crate::private_file;

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
        let mut line = command_line(context.program(), context.registry()).disable_help_subcommand(true);
        line.build();
        write_pages(line, &self.directory).map_err(failed)?;
        context.print(&format!("Wrote the manual pages of all commands to {shown}.\n"))
    }
}

/// Writes the page of a command and those of its subcommands.
fn write_pages(command: clap::Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below.clone(), directory)?;
    }
    let page = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    page.render(&mut text)?;
    let path = directory.join(page.get_filename());
    let mut file = private_file::open(&path, OpenOptions::new().write(true).create(true).truncate(false))?;
    file.set_len(0)?;
    file.write_all(&text)
}
