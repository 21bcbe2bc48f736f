//! The snapshot handler that runs a command: JSON on standard input, a time limit, no inherited descriptors.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::handler::{HandlerError, Snapshot, SnapshotHandler};
use crate::config::CommandLine;
use crate::guardian::GuardianHandle;
use crate::guardian::handle::{ChildEvent, ChildSpec, Exit};
use crate::guardian::stdio::{input_file, output_pipe};
use crate::job::truncated;

/// Bytes of standard error that are kept for the error message.
const MAX_OUTPUT_KEPT: usize = 2048;

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
        let start = |e: io::Error| HandlerError::Start(e.to_string());
        let text = serde_json::to_string(snapshot).expect("a snapshot is plain data");
        let (stdout, child_stdout) = output_pipe().map_err(start)?;
        let (stderr, child_stderr) = output_pipe().map_err(start)?;
        let (events, mut on_event) = mpsc::unbounded_channel();
        let spawn = ChildSpec {
            argv: self.command.argv().to_vec(),
            env: vec![("AINT_QUEUE_CHANNEL".to_owned(), snapshot.channel.to_string())],
            cwd: Some(self.directory.clone()),
            stdin: Some(input_file(&format!("{text}\n")).map_err(start)?),
            stdout: child_stdout,
            stderr: child_stderr,
            wire: None,
        };
        let child = self.guardian.spawn(spawn, events);
        let _guard = KillOnDrop { guardian: &self.guardian, child };
        let run = async {
            let ended = async {
                while let Some((_, event)) = on_event.recv().await {
                    match event {
                        ChildEvent::Spawned { .. } => {}
                        ChildEvent::SpawnFailed { error, .. } => return Err(HandlerError::Start(error)),
                        ChildEvent::Exited(exit) | ChildEvent::Interrupted(exit) => return Ok(exit),
                        ChildEvent::Abandoned => break,
                    }
                }
                Err(HandlerError::Failed("guardian died".to_owned()))
            };
            // Both outputs must be read, because a full pipe would block the program.
            let (exit, _, error) = tokio::join!(ended, read_start(stdout), read_start(stderr));
            exit.map(|exit| (exit, error))
        };
        let (exit, error) =
            timeout(self.limit, run).await.map_err(|_| HandlerError::Timeout(self.limit))??;
        match exit {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => {
                Err(HandlerError::Failed(format!("exited with {code}: {}", error.trim_end())))
            }
            Exit::Signal(signal) | Exit::CoreDumped(signal) => {
                Err(HandlerError::Failed(format!("was killed by signal {signal}")))
            }
        }
    }
}

/// Kills the process tree of the program on drop, also when the handler's future is dropped. Without effect after its end.
struct KillOnDrop<'a> {
    guardian: &'a GuardianHandle,
    child: crate::guardian::handle::ChildId,
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.guardian.kill(self.child);
    }
}

/// Reads a stream to its end and keeps its first [`MAX_OUTPUT_KEPT`] bytes.
async fn read_start(stream: pipe::Receiver) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                kept.extend_from_slice(&chunk[..n.min(MAX_OUTPUT_KEPT - kept.len().min(MAX_OUTPUT_KEPT))])
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        // Without a yield, a program that prints without pause would starve its own time limit and the other tasks.
        tokio::task::yield_now().await;
    }
    truncated(&String::from_utf8_lossy(&kept), MAX_OUTPUT_KEPT).to_owned()
}
