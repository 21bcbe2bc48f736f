//! A command's side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, setsockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use thiserror::Error;

use super::ControlSocket;
use super::protocol::{ControlRequest, ControlResponse, KnownOutput, NOT_A_REQUEST, Reply, ResponseLine};
use crate::access::{self, Access, Denied};
use crate::channel::ChannelStatus;
use crate::job::JobId;
use crate::pool::OutputPage;
use crate::store::StoreIdentity;
use crate::trust::{self, Distrust};

/// Longest line of an answer. The longest real one, the metrics of a thousand channels, has about 4 MiB.
const MAX_REPLY_BYTES: u64 = 16 << 20;

/// The reason why a request to a master failed.
#[derive(Debug, Error)]
pub enum ControlError {
    /// No process listens on the socket.
    #[error("no master listens at \"{path}\"")]
    NotListening {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// This user may not see the files of the master, or not connect to its socket.
    #[error("{0}")]
    Denied(Denied),
    /// A process of another user listens on the socket.
    #[error(
        "a process of another user (uid {uid}) listens at \"{path}\"; accept it with --trust-files or {}=1",
        trust::VARIABLE
    )]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// The user.
        uid: u32,
    },
    /// Another user may have put the files of the master in place.
    #[error("{0}")]
    Distrusted(Distrust),
    /// The answer is longer than any master's.
    #[error("the answer is longer than {} MiB, so it is not one of a master", MAX_REPLY_BYTES >> 20)]
    TooLong,
    /// The connection closed before the answer.
    #[error("the master closed the connection without an answer")]
    Disconnected(#[source] io::Error),
    /// The master took too long.
    #[error("the master did not answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// This version does not know the answer.
    #[error("could not read the answer of the master: it is of another version than this command")]
    Undecodable(#[source] serde_json::Error),
    /// The master does not know the request.
    #[error("the master is older than this command")]
    UnknownRequest,
    /// The answer is that to another kind of request.
    #[error("the master sent an unexpected response")]
    Unexpected,
    /// The master refused.
    #[error("the master refused: {0}")]
    Refused(String),
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// The store that the master serves; `None` from a master of an earlier version.
    pub store: Option<StoreIdentity>,
    /// Differences between the places that the master holds and the present meaning of its paths.
    pub differences: Vec<String>,
}

/// Sends a request to the master behind a control socket and waits for the answer. `progress` gets the lines before it;
/// `take` takes the answer out of the response, and returns `None` when the response is to another kind of request.
///
/// # Errors
/// When no master listens, the connection breaks or the master refuses.
pub fn send_request<T>(
    socket: &ControlSocket,
    request: ControlRequest,
    mut progress: impl FnMut(&ChannelStatus),
    take: impl FnOnce(ControlResponse) -> Option<T>,
) -> Result<Answered<T>, ControlError> {
    let interim = |interim: Interim| {
        if let Interim::Status(report) = interim {
            progress(&report);
        }
    };
    exchange(socket, request, request.reply_timeout(), interim, take)
}

/// Follows the output of a running job, as [`send_request`] does for other requests. `lines` gets the lines as they come;
/// the answer is what the master knows when the run has ended, or at once without a run.
///
/// # Errors
/// As [`send_request`].
pub fn follow_output(
    socket: &ControlSocket,
    id: JobId,
    mut lines: impl FnMut(&OutputPage),
) -> Result<Answered<KnownOutput>, ControlError> {
    let interim = |interim: Interim| {
        if let Interim::Lines(page) = interim {
            lines(&page);
        }
    };
    let request = ControlRequest::Output { id, follow: true };
    exchange(socket, request, request.reply_timeout(), interim, |response| match response {
        ControlResponse::Output(known) => Some(*known),
        _ => None,
    })
}

/// A line before the answer.
enum Interim {
    Status(Box<ChannelStatus>),
    Lines(OutputPage),
}

/// `limit` is that of the connection, of the whole of an answer, and of each line before it.
fn exchange<T>(
    socket: &ControlSocket,
    request: ControlRequest,
    limit: Duration,
    mut on_interim: impl FnMut(Interim),
    take: impl FnOnce(ControlResponse) -> Option<T>,
) -> Result<Answered<T>, ControlError> {
    let io_error = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ControlError::TimedOut(limit),
        _ => ControlError::Disconnected(error),
    };
    let path = &socket.path;
    let not_listening = |source| ControlError::NotListening { path: path.clone(), source };
    let refused = |source: io::Error| {
        let denied = (source.kind() == io::ErrorKind::PermissionDenied)
            .then(|| access::denied(path, Access::Connect))
            .flatten();
        denied.map_or_else(|| not_listening(source), ControlError::Denied)
    };
    let mut stream = connect(path, limit).map_err(|error| match error.kind() {
        // A master that is stopped accepts no connections, and others fill its queue.
        io::ErrorKind::WouldBlock => ControlError::TimedOut(limit),
        _ => refused(error),
    })?;
    let peer = getsockopt(&stream, PeerCredentials).map_err(|error| not_listening(error.into()))?;
    if !socket.trusts(peer.uid()) {
        return Err(ControlError::Stranger { path: path.clone(), uid: peer.uid() });
    }
    stream.set_write_timeout(Some(limit)).map_err(io_error)?;
    let mut text = serde_json::to_vec(&request).expect("a request is plain data");
    text.push(b'\n');
    stream.write_all(&text).map_err(io_error)?;
    let mut stream = BufReader::new(TimedStream { stream, deadline: Instant::now() + limit });
    loop {
        let line = read_line(&mut stream, io_error)?;
        let Reply { line, store, differences } =
            serde_json::from_slice(&line).map_err(ControlError::Undecodable)?;
        match line {
            // The wait for a slow answer is as long as its lines come; any other answer has no lines before it.
            ResponseLine::Progress(_) | ResponseLine::Lines(_) if !request.has_interim_lines() => {
                return Err(ControlError::Unexpected);
            }
            ResponseLine::Progress(report) => on_interim(Interim::Status(Box::new(report))),
            ResponseLine::Lines(page) => on_interim(Interim::Lines(page)),
            ResponseLine::Ok(response) => {
                let answer = take(response).ok_or(ControlError::Unexpected)?;
                return Ok(Answered { answer, store, differences });
            }
            // A command sends valid requests only, so the master must be older.
            ResponseLine::Error(why) if why.starts_with(NOT_A_REQUEST) => {
                return Err(ControlError::UnknownRequest);
            }
            ResponseLine::Error(why) => return Err(ControlError::Refused(why)),
        }
        stream.get_mut().deadline = Instant::now() + limit;
    }
}

/// Connects within a time limit.
fn connect(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let milliseconds = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    setsockopt(&socket, SendTimeout, &TimeVal::milliseconds(milliseconds))?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(OwnedFd::into(socket))
}

/// A connection with a deadline for all reads together: a peer that sends a byte now and then gains no time.
struct TimedStream {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// Reads one line of an answer, of bounded length.
fn read_line(
    stream: &mut BufReader<TimedStream>,
    io_error: impl Fn(io::Error) -> ControlError,
) -> Result<Vec<u8>, ControlError> {
    let mut line = Vec::new();
    stream.take(MAX_REPLY_BYTES + 1).read_until(b'\n', &mut line).map_err(&io_error)?;
    if line.len() as u64 > MAX_REPLY_BYTES {
        return Err(ControlError::TooLong);
    }
    if line.is_empty() {
        return Err(ControlError::Disconnected(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// The result of a request to a master with this answer.
    fn asked(answer: &'static str) -> Result<ControlResponse, ControlError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let master = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            // The command leaves before the end of an endless answer.
            let _ = stream.write_all(answer.as_bytes());
            line
        });
        let socket = ControlSocket { path, owner: None };
        let response = send_request(&socket, ControlRequest::Quiet, |_| {}, Some);
        assert_eq!(master.join().unwrap(), "{\"command\":\"quiet\"}\n");
        response.map(|answered| answered.answer)
    }

    /// Limit of the tests that reach it.
    const SHORT: Duration = Duration::from_millis(300);

    /// Sends a request with this limit.
    fn send_within(limit: Duration, path: PathBuf, request: ControlRequest) -> ControlError {
        exchange(&ControlSocket { path, owner: None }, request, limit, |_| {}, Some).unwrap_err()
    }

    /// Runs a request to a master that plays `answer` on the connection.
    fn asked_of(
        request: ControlRequest,
        answer: impl FnOnce(UnixStream) + Send + 'static,
    ) -> (ControlError, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || answer(listener.accept().unwrap().0));
        let begun = Instant::now();
        let error = send_within(SHORT, path, request);
        (error, begun.elapsed())
    }

    #[test]
    fn answer_in_single_bytes_ends_at_the_time_limit() {
        let (error, took) = asked_of(ControlRequest::Status, |mut stream| {
            // The command closes the connection.
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(SHORT / 10);
            }
        });
        assert!(matches!(error, ControlError::TimedOut(SHORT)), "{error:?}");
        assert!(took >= SHORT && took < SHORT + Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn endless_progress_of_an_immediate_request_is_refused() {
        let line =
            serde_json::to_string(&Reply::from(ResponseLine::Progress(ChannelStatus::default()))).unwrap();
        let (error, _) = asked_of(ControlRequest::Status, move |mut stream| {
            while stream.write_all(format!("{line}\n").as_bytes()).is_ok() {}
        });
        assert!(matches!(error, ControlError::Unexpected), "{error:?}");
    }

    #[test]
    fn full_queue_of_a_stopped_master_ends_at_the_time_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        // The test stands for the master, and accepts nothing.
        let listener = UnixListener::bind(&path).unwrap();
        socket::listen(&listener, socket::Backlog::new(1).unwrap()).unwrap();
        let short = Duration::from_millis(50);
        let connected: Vec<_> = std::iter::from_fn(|| connect(&path, short).ok()).take(10).collect();
        assert!(connected.len() < 10);
        let error = send_within(SHORT, path, ControlRequest::Status);
        assert!(matches!(error, ControlError::TimedOut(SHORT)), "{error:?}");
    }

    #[test]
    fn other_version_differs_from_refusal() {
        let older =
            "{\"error\":\"not a request: unknown variant `quiet`, expected one of `status`, `stop`\"}\n";
        assert!(matches!(asked(older), Err(ControlError::UnknownRequest)));
        let newer = "{\"ok\":{\"silenced\":true}}\n";
        assert!(matches!(asked(newer), Err(ControlError::Undecodable(_))));
        let refuses = asked("{\"error\":\"not today\"}\n").unwrap_err();
        assert_eq!(refuses.to_string(), "the master refused: not today");
        assert!(matches!(asked(""), Err(ControlError::Disconnected(_))));
        let endless = "x".repeat(MAX_REPLY_BYTES as usize + 2).leak();
        assert!(matches!(asked(endless), Err(ControlError::TooLong)));
        assert!(matches!(
            asked("{\"ok\":{\"resumed\":{\"was_quiet\":true}}}\n"),
            Ok(ControlResponse::Resumed { .. })
        ));
    }
}
