//! A TCP proxy in front of a server, with faults on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running proxy; dropping it stops it.
pub struct Proxy {
    port: u16,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

struct Faults {
    /// Drop the next bytes from the server and close their connection.
    lose_reply: AtomicBool,
    /// Hold all bytes from the server back.
    stalled: watch::Sender<bool>,
    connections: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy to a server on this machine.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults {
            lose_reply: AtomicBool::new(false),
            stalled: watch::Sender::new(false),
            connections: AtomicUsize::new(0),
        });
        let task = tokio::spawn({
            let faults = Arc::clone(&faults);
            async move {
                let mut pipes = tokio::task::JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    faults.connections.fetch_add(1, Ordering::Relaxed);
                    pipes.spawn(pipe(client, server, Arc::clone(&faults)));
                }
            }
        });
        Self { port, faults, task }
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets the next call reach the server and drops its reply.
    pub fn lose_next_reply(&self) {
        self.faults.lose_reply.store(true, Ordering::SeqCst);
    }

    /// Holds all replies back, or forwards them again.
    pub fn stall(&self, stalled: bool) {
        self.faults.stalled.send_replace(stalled);
    }

    /// The number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.faults.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pipe(client: TcpStream, server: u16, faults: Arc<Faults>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let calls = tokio::io::copy(&mut from_client, &mut to_server);
    let replies = async {
        let mut stalled = faults.stalled.subscribe();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if faults.lose_reply.swap(false, Ordering::SeqCst)
                || stalled.wait_for(|stalled| !stalled).await.is_err()
                || to_client.write_all(&buffer[..count]).await.is_err()
            {
                return;
            }
        }
    };
    // The end of one direction ends both, because dropping the futures closes the sockets.
    tokio::select! {
        _ = calls => {}
        () = replies => {}
    }
}
