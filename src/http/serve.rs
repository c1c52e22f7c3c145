//! Accepts connections: a bounded number, each with a bound on how long a request may take to come.
//!
//! It knows no routes. The bounds are kept below HTTP, on the bytes: hyper would wait for a header
//! without end, and a body that trickles in would hold a connection for as long as it likes.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, serve::Listener};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};
use tokio_util::sync::CancellationToken;

use super::ANSWER_WITHIN;

/// Connections at once. Alertmanagers, Prometheis and people need a dozen; each may hold a body of
/// `webhook.max_body` in memory. Those beyond wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;

/// From the first byte of a request to the first byte of its answer: the time a body has to come,
/// and a little more than an answer may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(15);

/// How long a connection without a request is kept: longer than the five minutes after which
/// Alertmanager's client drops one, so that it is never closed under a delivery.
const IDLE_MAX: Duration = Duration::from_secs(330);

/// After a failed accept (no file descriptor left).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until cancelled; then takes no new connection, answers what is under way, and returns
/// after [`ANSWER_WITHIN`] at the latest.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    cancel: CancellationToken,
) -> io::Result<()> {
    let bounded = Bounded { listener, free: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    let stop = cancel.clone();
    let serving =
        axum::serve(bounded, router).with_graceful_shutdown(async move { stop.cancelled().await });
    let patience = async {
        cancel.cancelled().await;
        tokio::time::sleep(ANSWER_WITHIN).await;
    };
    tokio::select! {
        result = serving => result,
        () = patience => Ok(()),
    }
}

struct Bounded {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    // small answers go out at once; where that cannot be set they are only later
                    drop(stream.set_nodelay(true));
                    return (Timed::new(stream, permit), from);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its time is up.
struct Timed {
    stream: TcpStream,
    /// When the request under way began to come; `None` between requests.
    since: Option<Instant>,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Timed {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        // who connects and says nothing has the time of a request, not of an idle connection
        let now = Instant::now();
        let deadline = Box::pin(tokio::time::sleep_until(now + REQUEST_WITHIN));
        Self { stream, since: Some(now), deadline, _permit: permit }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            if self.since.is_none() {
                let now = Instant::now();
                self.since = Some(now);
                self.deadline.as_mut().reset(now + REQUEST_WITHIN);
            }
            if self.deadline.deadline() > Instant::now() {
                return Poll::Ready(result);
            }
        }
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answered();
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.answered();
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Timed {
    /// An answer goes out: from here on the connection is idle until the next byte comes.
    fn answered(&mut self) {
        if self.since.take().is_some() {
            self.deadline.as_mut().reset(Instant::now() + IDLE_MAX);
        }
    }
}
