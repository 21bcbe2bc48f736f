//! Runs a program to its end: text on standard input, a time limit, no inherited descriptors.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::handle::{ChildEvent, ChildId, ChildSpec, Exit, GuardianHandle};
use super::stdio::{input_file, output_pipe};

/// Bytes of standard error that are kept for the error message.
const MAX_OUTPUT_KEPT: usize = 2048;

/// A program to run to its end.
#[derive(Debug)]
pub(crate) struct ProgramRun {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Environment variables beside those of the guardian.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub directory: PathBuf,
    /// The text on standard input.
    pub input: String,
    /// Longest run; the whole process tree is killed after it.
    pub limit: Duration,
}

/// The reason why a program did not succeed.
#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    /// The program could not be started.
    #[error("could not start: {0}")]
    Start(String),
    /// The program exceeded its time limit.
    #[error("killed after the time limit of {0:?}")]
    Timeout(Duration),
    /// The program ran and failed.
    #[error("{0}")]
    Failed(String),
}

impl ProgramRun {
    /// Runs the program and waits for its end. A drop of the future kills its process tree.
    pub(crate) async fn run(self, guardian: &GuardianHandle) -> Result<(), ProgramError> {
        let start = |e: io::Error| ProgramError::Start(e.to_string());
        let limit = self.limit;
        let (stdout, child_stdout) = output_pipe().map_err(start)?;
        let (stderr, child_stderr) = output_pipe().map_err(start)?;
        let (events, mut on_event) = mpsc::unbounded_channel();
        let spawn = ChildSpec {
            argv: self.argv,
            env: self.env,
            cwd: Some(self.directory),
            stdin: Some(input_file(&self.input).map_err(start)?),
            stdout: child_stdout,
            stderr: child_stderr,
            wire: None,
        };
        let child = guardian.spawn(spawn, events);
        let _guard = KillOnDrop { guardian, child };
        let run = async {
            let ended = async {
                while let Some((_, event)) = on_event.recv().await {
                    match event {
                        ChildEvent::Spawned { .. } => {}
                        ChildEvent::SpawnFailed { error, .. } => return Err(ProgramError::Start(error)),
                        ChildEvent::Exited(exit) | ChildEvent::Interrupted(exit) => return Ok(exit),
                        ChildEvent::Abandoned => break,
                    }
                }
                Err(ProgramError::Failed("guardian died".to_owned()))
            };
            // Both outputs must be read, because a full pipe would block the program.
            let (exit, _, error) = tokio::join!(ended, read_start(stdout), read_start(stderr));
            exit.map(|exit| (exit, error))
        };
        let (exit, error) = timeout(limit, run).await.map_err(|_| ProgramError::Timeout(limit))??;
        match exit {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => {
                Err(ProgramError::Failed(format!("exited with {code}: {}", error.trim_end())))
            }
            Exit::Signal(signal) | Exit::CoreDumped(signal) => {
                Err(ProgramError::Failed(format!("was killed by signal {signal}")))
            }
        }
    }
}

/// Kills the process tree of the program on drop, also when the future of the run is dropped. Without effect after its end.
struct KillOnDrop<'a> {
    guardian: &'a GuardianHandle,
    child: ChildId,
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
    String::from_utf8_lossy(&kept).into_owned()
}
