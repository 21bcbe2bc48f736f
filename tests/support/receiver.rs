//! A real HTTP server on loopback that receives webhooks and answers as a test says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// Which of the connections it came on, from 1.
    pub connection: usize,
    /// When it was there.
    pub at: std::time::Instant,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// What to answer.
pub enum Reply {
    /// A whole answer.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// A status and a body that never ends.
    Endless(u16),
    /// A status, the beginning of a body, and silence.
    Halting(u16),
    /// Nothing, ever.
    Silence,
    /// Nothing until this many requests wait, then 200 for all.
    Together(usize),
    /// The connection is closed without an answer.
    Close,
}

pub fn status(status: u16) -> Reply {
    Reply::Answer(status, Vec::new(), String::new())
}

type Answers = dyn Fn(&Got) -> Reply + Send + Sync;

/// What is known of the server's life.
#[derive(Default)]
pub struct Seen {
    requests: Mutex<Vec<Got>>,
    connections: AtomicUsize,
    /// Requests that wait for their answer.
    waiting: AtomicUsize,
    /// Bytes of endless bodies that were taken.
    poured: AtomicUsize,
}

/// A running receiver; gone when dropped.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    pub fn start(answers: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, answers)
    }

    /// With TLS.
    pub fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        answers: impl Fn(&Got) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, tls, Arc::new(answers), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, seen, stop: Some(stop), thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn requests(&self) -> Vec<Got> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn waiting(&self) -> usize {
        self.seen.waiting.load(Ordering::SeqCst)
    }

    pub fn poured(&self) -> usize {
        self.seen.poured.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    answers: Arc<Answers>,
    seen: Arc<Seen>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let acceptor = tls.map(TlsAcceptor::from);
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let (answers, seen, acceptor) = (Arc::clone(&answers), Arc::clone(&seen), acceptor.clone());
        connections.spawn(async move {
            match acceptor {
                None => connection(stream, number, answers, seen).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream, number, answers, seen).await;
                    }
                }
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    number: usize,
    answers: Arc<Answers>,
    seen: Arc<Seen>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
            let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
            let got = Got {
                path: head.uri.to_string(),
                headers: head.headers.iter().map(header).collect(),
                body: String::from_utf8(body.to_vec()).unwrap(),
                connection: number,
                at: std::time::Instant::now(),
            };
            let reply = answers(&got);
            seen.requests.lock().unwrap().push(got);
            answer(reply, seen).await
        }
    });
    // It ends when the client closes, or when a service says so with an error.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Counts a request that waits for as long as it waits.
struct Waiting(Arc<Seen>);

impl Waiting {
    fn one(seen: &Arc<Seen>) -> Self {
        seen.waiting.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

type Answered = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(reply: Reply, seen: Arc<Seen>) -> Result<Response<Answered>, String> {
    let response = Response::builder();
    let response = match reply {
        Reply::Answer(status, headers, body) => {
            let response = headers.into_iter().fold(response, |r, (name, value)| r.header(name, value));
            response.status(status).body(Full::from(body).boxed())
        }
        Reply::Endless(status) => {
            response.status(status).body(Pouring { seen, once: false, poured: false }.boxed())
        }
        Reply::Halting(status) => {
            response.status(status).body(Pouring { seen, once: true, poured: false }.boxed())
        }
        Reply::Silence => {
            let _waiting = Waiting::one(&seen);
            std::future::pending().await
        }
        Reply::Together(wanted) => {
            let waiting = Waiting::one(&seen);
            // The last one lets the others go.
            if seen.waiting.load(Ordering::SeqCst) < wanted {
                let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
                while seen.requests.lock().unwrap().len() < wanted {
                    tick.tick().await;
                }
            }
            drop(waiting);
            response.status(200).body(Full::from("").boxed())
        }
        Reply::Close => return Err("closed as the test wants".to_owned()),
    };
    response.map_err(|e| e.to_string())
}

/// A body without an end: it goes on for ever, or stops after its beginning.
struct Pouring {
    seen: Arc<Seen>,
    once: bool,
    poured: bool,
}

impl Body for Pouring {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.once && self.poured {
            return Poll::Pending;
        }
        self.poured = true;
        let data = Bytes::from_static(&[b'x'; 4096]);
        self.seen.poured.fetch_add(data.len(), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}
