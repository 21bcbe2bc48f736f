//! The master's side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::{MAX_LINE, Reply, Request};

/// Connections served at once on one socket.
const MAX_CONNECTIONS: usize = 32;
/// How long answers under way may take once the socket closes.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);

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
    let mut conversations = JoinSet::new();
    let closing_too = closing.clone();
    loop {
        tokio::select! {
            accepted = server.listener.accept(), if conversations.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) if is_trusted(&stream) => {
                    let (answers, closing) = (Arc::clone(&answers), closing_too.clone());
                    conversations.spawn(async move {
                        if let Err(error) = converse(stream, answers.as_ref(), closing).await {
                            debug!(%error, "a control connection ended");
                        }
                    });
                }
                Ok(_) => warn!("refused a control connection of another user"),
                Err(error) => {
                    // Out of descriptors, most likely: others need the time more.
                    warn!(%error, "could not accept a control connection");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            },
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
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    let mut idle_since = Instant::now();
    loop {
        line.clear();
        let mut limited = (&mut read).take(MAX_LINE as u64);
        let left = IDLE.saturating_sub(idle_since.elapsed());
        let n = tokio::select! {
            read = tokio::time::timeout(left, limited.read_line(&mut line)) => read??,
            () = closed(&mut closing) => return Ok(()),
        };
        if n == 0 {
            return Ok(());
        }
        let (reply, mut replies) = mpsc::channel(16);
        match serde_json::from_str::<Request>(&line) {
            Ok(request) => {
                let answer = answers.answer(request, reply);
                tokio::pin!(answer);
                let mut answered = false;
                loop {
                    tokio::select! {
                        () = &mut answer, if !answered => answered = true,
                        next = replies.recv() => match next {
                            Some(next) => send(&mut write, &next).await?,
                            None => break,
                        },
                    }
                }
            }
            Err(error) => send(&mut write, &Reply::Error(format!("not a request: {error}"))).await?,
        }
        idle_since = Instant::now();
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> io::Result<()> {
    let mut text = serde_json::to_vec(reply).expect("a reply is plain data");
    text.push(b'\n');
    tokio::time::timeout(IDLE, write.write_all(&text)).await?
}
