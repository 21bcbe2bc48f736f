//! A command's side of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::{Answer, NOT_A_REQUEST, Reply, Request};
use crate::channel::Report;

/// Why a master did not answer.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Nobody serves the socket.
    #[error("no master answers at \"{path}\"")]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the master went away without an answer")]
    Broken(#[source] io::Error),
    /// It took too long.
    #[error("the master did not answer within {} seconds", .0.as_secs())]
    Silent(Duration),
    /// It said what this version does not know.
    #[error("the master is of another version than this command, and its answer cannot be understood")]
    Garbled(#[source] serde_json::Error),
    /// It does not know what it was asked for.
    #[error("the master is older than this command")]
    Unknown,
    /// The master refused.
    #[error("the master refused: {0}")]
    Refused(String),
}

/// Asks the master behind a control socket and waits for its last word. `progress` gets what comes before.
///
/// # Errors
/// When nobody answers, the conversation breaks off or the master refuses.
pub fn ask(
    socket: &Path,
    request: Request,
    mut progress: impl FnMut(&Report),
) -> Result<Answer, ControlError> {
    let patience = request.patience();
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ControlError::Silent(patience),
        _ => ControlError::Broken(error),
    };
    let nobody = |source| ControlError::Nobody { path: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(nobody)?;
    stream.set_read_timeout(Some(patience)).map_err(broken)?;
    stream.set_write_timeout(Some(patience)).map_err(broken)?;
    let mut text = serde_json::to_vec(&request).expect("a request is plain data");
    text.push(b'\n');
    stream.write_all(&text).map_err(broken)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(broken)?;
        match serde_json::from_str(&line).map_err(ControlError::Garbled)? {
            Reply::Progress(report) => progress(&report),
            Reply::Ok(answer) => return Ok(answer),
            // Ours are requests, whatever it says.
            Reply::Error(why) if why.starts_with(NOT_A_REQUEST) => return Err(ControlError::Unknown),
            Reply::Error(why) => return Err(ControlError::Refused(why)),
        }
    }
    Err(ControlError::Broken(io::ErrorKind::UnexpectedEof.into()))
}
