//! A stream with a write timeout: writes fail after the client has read nothing for too long, and sooner while the memory for unread
//! responses is short.
//!
//! Reads pass through. Their time limits are set where a request head or a body is expected.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::unread::UnreadMemory;

/// Time without progress after which a write fails while memory is short, and between two looks at that.
const SHORT_LIMIT: Duration = Duration::from_secs(1);

/// A TCP stream with a write timeout.
pub(super) struct WriteTimeout {
    stream: TcpStream,
    limit: Duration,
    unread: UnreadMemory,
    /// The start of a pending write and its timer.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl WriteTimeout {
    pub(super) fn new(stream: TcpStream, limit: Duration, unread: UnreadMemory) -> Self {
        Self { stream, limit, unread, waiting: None }
    }

    /// Fails a write that makes no progress within the limit.
    fn timed<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let (limit, step) = (self.limit, self.limit.min(SHORT_LIMIT));
        let (since, timer) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(step))));
        loop {
            ready!(timer.as_mut().poll(cx));
            if since.elapsed() >= limit || self.unread.is_short() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(Instant::now() + step);
        }
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.timed(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
