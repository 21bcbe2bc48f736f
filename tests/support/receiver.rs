//! An HTTP server on loopback that receives webhooks and sends the responses a test wants.

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
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;

/// A received request.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// The number of its connection, from 1.
    pub connection: usize,
    /// The time at which it was complete.
    pub at: std::time::Instant,
}

impl ReceivedRequest {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// A response a test wants.
pub enum CannedResponse {
    /// A complete response: status, headers, body.
    Whole(u16, Vec<(&'static str, String)>, String),
    /// A status and an endless body.
    Endless(u16),
    /// A status and the beginning of a body that stalls.
    Stalled(u16),
    /// No response; the connection stays open.
    Never,
    /// 200 as soon as this many requests have arrived.
    AfterConcurrent(usize),
    /// 200 as soon as the semaphore is closed.
    Held(Arc<Semaphore>),
    /// No response; the connection is closed.
    Close,
}

pub fn status(status: u16) -> CannedResponse {
    CannedResponse::Whole(status, Vec::new(), String::new())
}

type Responder = dyn Fn(&ReceivedRequest) -> CannedResponse + Send + Sync;

/// Records of a running server.
#[derive(Default)]
pub struct ReceiverLog {
    requests: Mutex<Vec<ReceivedRequest>>,
    connections: AtomicUsize,
    /// The number of requests without a response.
    waiting: AtomicUsize,
    /// Bytes of endless bodies that clients have read.
    sent: AtomicUsize,
}

/// A running receiver; dropping it stops it.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<ReceiverLog>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    pub fn start(answers: impl Fn(&ReceivedRequest) -> CannedResponse + Send + Sync + 'static) -> Self {
        Self::start_with(None, answers)
    }

    /// The same with TLS, if a configuration is given.
    pub fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        answers: impl Fn(&ReceivedRequest) -> CannedResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(ReceiverLog::default());
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

    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.seen.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn waiting(&self) -> usize {
        self.seen.waiting.load(Ordering::SeqCst)
    }

    pub fn body_bytes_sent(&self) -> usize {
        self.seen.sent.load(Ordering::SeqCst)
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
    answers: Arc<Responder>,
    seen: Arc<ReceiverLog>,
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
    answers: Arc<Responder>,
    seen: Arc<ReceiverLog>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
            let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
            let got = ReceivedRequest {
                path: head.uri.to_string(),
                headers: head.headers.iter().map(header).collect(),
                body: String::from_utf8(body.to_vec()).unwrap(),
                connection: number,
                at: std::time::Instant::now(),
            };
            let reply = answers(&got);
            seen.requests.lock().unwrap().push(got);
            respond(reply, seen).await
        }
    });
    // The connection ends when the client closes it or the service returns an error.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Counts a request as waiting until it is dropped.
struct PendingRequest(Arc<ReceiverLog>);

impl PendingRequest {
    fn count(seen: &Arc<ReceiverLog>) -> Self {
        seen.waiting.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

type ResponseBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn respond(reply: CannedResponse, seen: Arc<ReceiverLog>) -> Result<Response<ResponseBody>, String> {
    let response = Response::builder();
    let response = match reply {
        CannedResponse::Whole(status, headers, body) => {
            let response = headers.into_iter().fold(response, |r, (name, value)| r.header(name, value));
            response.status(status).body(Full::from(body).boxed())
        }
        CannedResponse::Endless(status) => {
            response.status(status).body(UnendingBody { seen, once: false, sent: false }.boxed())
        }
        CannedResponse::Stalled(status) => {
            response.status(status).body(UnendingBody { seen, once: true, sent: false }.boxed())
        }
        CannedResponse::Never => {
            let _waiting = PendingRequest::count(&seen);
            std::future::pending().await
        }
        CannedResponse::AfterConcurrent(wanted) => {
            let waiting = PendingRequest::count(&seen);
            // The last request releases the others.
            if seen.waiting.load(Ordering::SeqCst) < wanted {
                let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
                while seen.requests.lock().unwrap().len() < wanted {
                    tick.tick().await;
                }
            }
            drop(waiting);
            response.status(200).body(Full::from("").boxed())
        }
        CannedResponse::Held(gate) => {
            let _waiting = PendingRequest::count(&seen);
            // An error is the end of the wait.
            let _ = gate.acquire().await;
            response.status(200).body(Full::from("").boxed())
        }
        CannedResponse::Close => return Err("closed on request of the test".to_owned()),
    };
    response.map_err(|e| e.to_string())
}

/// An endless body; with `once` it stalls after its first chunk.
struct UnendingBody {
    seen: Arc<ReceiverLog>,
    once: bool,
    sent: bool,
}

impl Body for UnendingBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.once && self.sent {
            return Poll::Pending;
        }
        self.sent = true;
        let data = Bytes::from_static(&[b'x'; 4096]);
        self.seen.sent.fetch_add(data.len(), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}
