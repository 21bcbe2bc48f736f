//! The snapshot handler that runs a command: JSON on standard input, a time limit, no inherited descriptors.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::handler::{HandlerError, Snapshot, SnapshotHandler};
use crate::config::CommandLine;
use crate::guardian::GuardianHandle;
use crate::guardian::program_run::ProgramRun;

/// Runs a command per snapshot.
pub(super) struct CommandHandler {
    pub(super) command: CommandLine,
    pub(super) limit: Duration,
    pub(super) directory: PathBuf,
    pub(super) guardian: GuardianHandle,
}

impl fmt::Debug for CommandHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandHandler").field("command", &self.command).finish_non_exhaustive()
    }
}

#[async_trait]
impl SnapshotHandler for CommandHandler {
    fn name(&self) -> String {
        format!("command {}", self.command.shown().join(" "))
    }

    async fn handle(&self, snapshot: &Snapshot) -> Result<(), HandlerError> {
        let text = serde_json::to_string(snapshot).expect("a snapshot is plain data");
        let run = ProgramRun {
            argv: self.command.argv().to_vec(),
            env: vec![("AINT_QUEUE_CHANNEL".to_owned(), snapshot.channel.to_string())],
            directory: self.directory.clone(),
            input: format!("{text}\n"),
            limit: self.limit,
        };
        Ok(run.run(&self.guardian).await?)
    }
}
