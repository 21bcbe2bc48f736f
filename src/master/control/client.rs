//! A command's side of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::{Answer, Reply, Request};
use crate::channel::Report;

/// How long a line of an answer may take. Whatever may take longer reports progress more often than that.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a look at a master may take: it answers at once or is in trouble.
const LOOK: Duration = Duration::from_secs(5);

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
    let nobody = |source| ControlError::Nobody { path: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(nobody)?;
    let patience = match request {
        Request::Stop { .. } | Request::Reload | Request::Cancel { .. } => PATIENCE,
        Request::Status | Request::Look { .. } | Request::Metrics => LOOK,
    };
    stream.set_read_timeout(Some(patience)).map_err(ControlError::Broken)?;
    let mut text = serde_json::to_vec(&request).expect("a request is plain data");
    text.push(b'\n');
    stream.write_all(&text).map_err(ControlError::Broken)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(ControlError::Broken)?;
        match serde_json::from_str(&line).map_err(|e| ControlError::Broken(e.into()))? {
            Reply::Progress(report) => progress(&report),
            Reply::Ok(answer) => return Ok(answer),
            Reply::Error(why) => return Err(ControlError::Refused(why)),
        }
    }
    Err(ControlError::Broken(io::ErrorKind::UnexpectedEof.into()))
}
