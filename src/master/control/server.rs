//! The master's side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::places::{Places, Seat};
use super::{NOT_A_REQUEST, Reply, Request};

/// Longest request, in bytes. Those there are have a tenth of a KiB.
const MAX_REQUEST: usize = 64 << 10;
/// How long answers under way may take once the socket closes.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long the other end may take to read an answer.
const SENDING: Duration = Duration::from_secs(5);

/// Whoever answers requests.
#[async_trait]
pub(in crate::master) trait Answers: Send + Sync + 'static {
    /// Answers one request through `reply`: any number of progress lines, then one last line.
    async fn answer(&self, request: Request, reply: mpsc::Sender<Reply>);
}

/// A bound control socket.
#[derive(Debug)]
pub(in crate::master) struct Server {
    listener: UnixListener,
}

/// The file of a bound control socket, removed when this is dropped: while the channel's lock is still held, for
/// afterwards the same path may be that of the next master's socket.
#[derive(Debug)]
pub(in crate::master) struct SocketFile(PathBuf);

impl Server {
    /// Binds the socket, replacing a stale one: the caller holds the channel's lock, so nobody else serves it.
    pub(in crate::master) fn bind(path: &Path) -> io::Result<(Self, SocketFile)> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => {
                return Err(io::Error::new(e.kind(), "a directory is in its place; remove it"));
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // Nobody else may connect even in the moment before the permissions could be changed.
        let usual = umask(Mode::S_IRWXG | Mode::S_IRWXO | Mode::S_IXUSR);
        let bound = UnixListener::bind(path);
        umask(usual);
        Ok((Self { listener: bound? }, SocketFile(path.to_owned())))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Serves the socket until `closing` turns true; answers under way are finished first.
pub(in crate::master) async fn serve(
    server: Server,
    answers: Arc<dyn Answers>,
    mut closing: watch::Receiver<bool>,
) {
    let (mut conversations, places) = (JoinSet::new(), Places::default());
    let closing_too = closing.clone();
    loop {
        tokio::select! {
            accepted = server.listener.accept(), if places.has_room() => match accepted {
                Ok((stream, _)) if is_trusted(&stream) => {
                    let (answers, closing, seat) = (Arc::clone(&answers), closing_too.clone(), places.take());
                    let number = seat.number();
                    let task = conversations.spawn(async move {
                        if let Err(error) = converse(stream, answers.as_ref(), closing, seat).await {
                            debug!(%error, "a control connection ended");
                        }
                    });
                    places.serves(number, task);
                }
                Ok(_) => warn!("refused a control connection of another user"),
                Err(error) => {
                    // Out of descriptors, most likely: others need the time more.
                    warn!(%error, "could not accept a control connection");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            },
            () = places.changed() => {}
            Some(_) = conversations.join_next() => {}
            () = closed(&mut closing) => break,
        }
    }
    let finish = async { while conversations.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, finish).await;
}

/// Returns when the socket is to close.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the service is gone, which is as good.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Whether the other end is our own user or root.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(
    stream: UnixStream,
    answers: &dyn Answers,
    mut closing: watch::Receiver<bool>,
    seat: Seat,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let (mut read, mut line) = (BufReader::new(read), Vec::new());
    loop {
        seat.silent();
        tokio::select! {
            heard = tokio::time::timeout(IDLE, hear(&mut read, &mut line)) => heard??,
            () = closed(&mut closing) => return Ok(()),
        }
        if line.is_empty() {
            return Ok(());
        }
        seat.busy();
        if line.len() > MAX_REQUEST {
            // Where the next one would begin is anybody's guess.
            let why = format!("{NOT_A_REQUEST}: it is longer than {} KiB", MAX_REQUEST >> 10);
            return send(&mut write, &Reply::Error(why)).await;
        }
        match Request::read(&line) {
            Ok(request) => answer(request, answers, &mut write).await?,
            Err(error) => send(&mut write, &Reply::Error(format!("{NOT_A_REQUEST}: {error}"))).await?,
        }
    }
}

/// Reads a line, or as much of one as is too much. Nothing is the end.
async fn hear(read: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    read.take(MAX_REQUEST as u64 + 1).read_until(b'\n', line).await.map(drop)
}

async fn answer(
    request: Request,
    answers: &dyn Answers,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    let (reply, mut replies) = mpsc::channel(16);
    let answer = answers.answer(request, reply);
    tokio::pin!(answer);
    let mut answered = false;
    loop {
        tokio::select! {
            () = &mut answer, if !answered => answered = true,
            next = replies.recv() => match next {
                Some(next) => send(write, &next).await?,
                None => return Ok(()),
            },
        }
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> io::Result<()> {
    let mut text = serde_json::to_vec(reply).expect("a reply is plain data");
    text.push(b'\n');
    tokio::time::timeout(SENDING, write.write_all(&text)).await?
}
