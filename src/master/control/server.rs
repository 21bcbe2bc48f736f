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
use tokio::time::Instant;
use tracing::{debug, warn};

use super::connection_limit::{ConnectionLimit, ConnectionSlot, MAX_SLOW_REQUESTS};
use crate::control::protocol::{ControlRequest, NOT_A_REQUEST, Reply, ResponseLine};
use crate::store::StoreIdentity;

/// Longest request, in bytes. Real requests have about 100.
const MAX_REQUEST_BYTES: usize = 64 << 10;
/// Time for pending answers after the socket closes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Time after which a connection without a request is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a request from its first byte on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the client to read an answer line.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers requests.
#[async_trait]
pub(in crate::engine::master) trait RequestHandler: Send + Sync + 'static {
    /// Answers one request through `reply`: any number of progress lines, then one final line.
    async fn handle(&self, request: ControlRequest, reply: mpsc::Sender<Reply>);

    /// Notes a request of a user and its final line.
    fn answered(&self, request: ControlRequest, uid: u32, line: &ResponseLine);

    /// The store of the answered channel, for every final line.
    fn identity(&self) -> Option<StoreIdentity>;
}

/// The file of a bound control socket, removed on drop. Drop it before the channel's lock: afterwards the next master may
/// bind a socket at the same path.
#[derive(Debug)]
pub(in crate::engine::master) struct SocketFile(PathBuf);

/// Binds a control socket and replaces a stale file: the caller holds the channel's lock, so no other master serves it.
pub(in crate::engine::master) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => {
            return Err(io::Error::new(e.kind(), "a directory has its path; remove it"));
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // The umask sets the mode at creation: with a later chmod other users could connect in between.
    let usual = umask(Mode::S_IRWXG | Mode::S_IRWXO | Mode::S_IXUSR);
    let bound = UnixListener::bind(path);
    umask(usual);
    Ok((bound?, SocketFile(path.to_owned())))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Serves the socket until `closing` turns true, then finishes pending answers.
pub(in crate::engine::master) async fn serve(
    listener: UnixListener,
    handlers: Arc<dyn RequestHandler>,
    mut closing: watch::Receiver<bool>,
) {
    let (mut connections, limit) = (JoinSet::new(), ConnectionLimit::default());
    let closing_too = closing.clone();
    loop {
        tokio::select! {
            accepted = listener.accept(), if limit.has_room() => match accepted {
                Ok((stream, _)) => {
                    let Some(uid) = trusted_user(&stream) else {
                        warn!("control connection of another user: refused");
                        continue;
                    };
                    let (handlers, closing, slot) = (Arc::clone(&handlers), closing_too.clone(), limit.take(Instant::now()));
                    let number = slot.number();
                    let task = connections.spawn(async move {
                        if let Err(error) = serve_connection(stream, uid, handlers.as_ref(), closing, slot).await {
                            debug!(%error, "control connection ended");
                        }
                    });
                    limit.attach(number, task);
                }
                Err(error) => {
                    // Most likely the process is out of descriptors: retrying at once would fail again.
                    warn!(%error, "control connection not accepted: retrying");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            },
            () = limit.changed() => {}
            Some(_) = connections.join_next() => {}
            () = closed(&mut closing) => break,
        }
    }
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, finish).await;
}

/// Waits until the socket is to close.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that the service has ended, which closes the socket too.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// The user at the other end, if that is our own one or root.
fn trusted_user(stream: &UnixStream) -> Option<u32> {
    let own = nix::unistd::geteuid().as_raw();
    let user = stream.peer_cred().ok()?.uid();
    (user == own || user == 0).then_some(user)
}

async fn serve_connection(
    stream: UnixStream,
    uid: u32,
    handlers: &dyn RequestHandler,
    mut closing: watch::Receiver<bool>,
    slot: ConnectionSlot,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let (mut read, mut line) = (BufReader::new(read), Vec::new());
    loop {
        slot.mark_idle(Instant::now());
        tokio::select! {
            line_read = read_request(&mut read, &mut line) => line_read?,
            () = closed(&mut closing) => return Ok(()),
        }
        if line.is_empty() {
            return Ok(());
        }
        slot.mark_busy();
        if line.len() > MAX_REQUEST_BYTES {
            // The start of the next request is unknown, so the connection ends.
            let why = format!("{NOT_A_REQUEST}: longer than {} KiB", MAX_REQUEST_BYTES >> 10);
            return send(&mut write, handlers, ResponseLine::Error(why).into()).await;
        }
        match ControlRequest::parse(&line) {
            Ok(request) if request.is_slow() && !slot.begin_slow_request() => {
                let why = format!(
                    "too many reloads, cancels and followed jobs at once (limit {MAX_SLOW_REQUESTS}): try again"
                );
                send(&mut write, handlers, ResponseLine::Error(why).into()).await?;
            }
            Ok(request) => handle_request(request, uid, handlers, &mut write).await?,
            Err(error) => {
                let line = ResponseLine::Error(format!("{NOT_A_REQUEST}: {error}"));
                send(&mut write, handlers, line.into()).await?;
            }
        }
    }
}

/// Reads a request. A client that has begun one may not hold its connection by single bytes.
async fn read_request(read: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<()> {
    tokio::time::timeout(IDLE_TIMEOUT, read.fill_buf()).await??;
    tokio::time::timeout(REQUEST_TIMEOUT, read_line(read, line)).await?
}

/// Reads a line, up to one byte more than the limit. An empty line is the end of the stream.
async fn read_line(read: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    read.take(MAX_REQUEST_BYTES as u64 + 1).read_until(b'\n', line).await.map(drop)
}

async fn handle_request(
    request: ControlRequest,
    uid: u32,
    handlers: &dyn RequestHandler,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    let (reply, mut replies) = mpsc::channel(16);
    let answer = handlers.handle(request, reply);
    tokio::pin!(answer);
    let mut answered = false;
    loop {
        tokio::select! {
            () = &mut answer, if !answered => answered = true,
            next = replies.recv() => match next {
                Some(next) => {
                    handlers.answered(request, uid, &next.line);
                    send(write, handlers, next).await?;
                }
                None => return Ok(()),
            },
        }
    }
}

async fn send(
    write: &mut (impl AsyncWriteExt + Unpin),
    handlers: &dyn RequestHandler,
    mut reply: Reply,
) -> io::Result<()> {
    if !matches!(reply.line, ResponseLine::Progress(_) | ResponseLine::Lines(_)) {
        reply.store = handlers.identity();
    }
    let mut text = serde_json::to_vec(&reply).expect("a reply is plain data");
    text.push(b'\n');
    tokio::time::timeout(SEND_TIMEOUT, write.write_all(&text)).await?
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::channel::Stopped;
    use crate::control::ControlResponse;

    /// A handler whose reloads and cancels never end.
    struct Slow;

    #[async_trait]
    impl RequestHandler for Slow {
        fn answered(&self, _: ControlRequest, _: u32, _: &ResponseLine) {}

        fn identity(&self) -> Option<StoreIdentity> {
            None
        }

        async fn handle(&self, request: ControlRequest, reply: mpsc::Sender<Reply>) {
            if matches!(request, ControlRequest::Cancel { .. } | ControlRequest::Reload) {
                return std::future::pending().await;
            }
            let Stopped { handed_back, settled, .. } = Stopped::default();
            let line = ResponseLine::Ok(ControlResponse::Stopped { handed_back, interrupted: None, settled });
            let _ = reply.send(line.into()).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn request_in_single_bytes_ends_at_the_time_limit() {
        let (client, server) = UnixStream::pair().unwrap();
        let (mut client, (read, _write)) = (client, server.into_split());
        let sending = tokio::spawn(async move {
            while client.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let (begun, mut line) = (Instant::now(), Vec::new());
        let error = read_request(&mut BufReader::new(read), &mut line).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() <= REQUEST_TIMEOUT * 2, "{:?}", begun.elapsed());
        sending.abort();
    }

    #[tokio::test]
    async fn long_waits_do_not_block_other_requests() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let (server, _file) = bind(&path).unwrap();
        let (closing, on_closing) = watch::channel(false);
        let served = tokio::spawn(serve(server, Arc::new(Slow), on_closing));
        let ask = async |request: &str| {
            let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
            stream.write_all(format!("{request}\n").as_bytes()).await.unwrap();
            stream
        };
        let mut waiting = Vec::new();
        for _ in 0..50 {
            waiting.push(ask(r#"{"command":"cancel","id":1}"#).await);
        }
        let mut line = String::new();
        let mut stop = ask(r#"{"command":"stop"}"#).await;
        timeout(Duration::from_secs(10), stop.read_line(&mut line))
            .await
            .expect("an answer in time")
            .unwrap();
        assert!(line.contains("stopped"), "{line}");
        // The first requests wait, the last ones are refused.
        line.clear();
        timeout(Duration::from_secs(10), waiting.pop().unwrap().read_line(&mut line)).await.unwrap().unwrap();
        assert!(line.contains("try again"), "{line}");
        closing.send_replace(true);
        served.abort();
    }
}
