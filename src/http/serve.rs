//! Accepts connections: a bounded number, each with a bound on every wait for its client.
//!
//! It knows no routes. HTTP/1.1 only: one request at a time on each connection, so that bounds on
//! connections are bounds on requests.
//!
//! # Design
//!
//! axum's own server speaks HTTP/2 as soon as any crate of the tree switches that on in
//! `hyper-util` (features are united; the etcd client does), and a stream there has none of the
//! bounds of a connection. So connections are served by hyper's HTTP/1 directly.
//!
//! A wait for a client always ends: for a header and for the taking of an answer by [`Seats`], for
//! a body by [`Timed`]. How long the work between them may take its handler says.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{
    Request,
    body::{Body as _, Bytes, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, Sleep},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    ANSWER_WITHIN,
    seats::{Seat, Seats, Sitting},
};

/// Connections at once: more than the requests that all classes together may have under way, so
/// that there is always one to be had for somebody new. Alertmanagers, Prometheis and people need a
/// dozen.
pub(super) const CONNECTIONS_MAX: usize = 512;

/// Connections that were cut and are not closed yet: beyond these a new one waits for them.
const CLOSING_MAX: usize = 64;

/// From the end of a request's header to the end of its body: a body of 10 MiB takes that long at
/// 10 Mbit/s. A little more than [`ANSWER_WITHIN`], so that a webhook is answered before it is cut.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Most bytes of a header, and of a body that are held before they are asked for.
const BUFFER_MAX: usize = 64 << 10;

/// Between two looks for connections that are overdue.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// After a failed accept (no file descriptor left).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until cancelled; then takes no new connection, answers what is under way, and returns
/// after [`ANSWER_WITHIN`] at the latest.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    cancel: CancellationToken,
) -> io::Result<()> {
    let mut seats = Seats::default();
    let mut tasks = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(ended) = tasks.join_next() => note(ended),
            _ = sweep.tick(), if !tasks.is_empty() => seats.sweep(Instant::now()),
            accepted = listener.accept(), if tasks.len() < CONNECTIONS_MAX + CLOSING_MAX => {
                match accepted.map(|(stream, _)| (stream, seats.take(CONNECTIONS_MAX))) {
                    Ok((stream, Some(seat))) => {
                        tasks.spawn(talk(stream, Sitting(seat), router.clone(), cancel.clone()));
                    }
                    Ok((_, None)) => tracing::debug!("a connection was refused: all places work"),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                }
            }
        }
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    // what is still under way then is dropped with its connection
    tokio::time::timeout(ANSWER_WITHIN, all).await.unwrap_or_default();
    Ok(())
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a fault of its own");
    }
}

/// Serves one connection until its client, its seat or the server ends it.
async fn talk(stream: TcpStream, sitting: Sitting, router: Router, cancel: CancellationToken) {
    // small answers go out at once; where that cannot be set they are only later
    drop(stream.set_nodelay(true));
    let seat = Arc::clone(&sitting.0);
    let service = service_fn(|mut request: Request<Incoming>| {
        let working = Arc::new(seat.work());
        // an answer without an end holds on to it: its client is not idle
        request.extensions_mut().insert(Arc::clone(&working));
        let answer = router.clone().oneshot(request.map(Timed::body));
        async move {
            let answer = answer.await;
            drop(working);
            answer as Result<_, Infallible>
        }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(BUFFER_MAX);
    let io = TokioIo::new(Heard { stream, seat: Arc::clone(&sitting.0) });
    let mut connection = pin!(http.serve_connection(io, service));
    tokio::select! {
        result = connection.as_mut() => return closed(result),
        () = sitting.0.is_cut() => return,
        () = cancel.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        result = connection => closed(result),
        () = sitting.0.is_cut() => {}
    }
}

/// Clients that go away or talk nonsense are no news.
fn closed(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke");
    }
}

/// A stream that tells its seat what happens on it.
struct Heard {
    stream: TcpStream,
    seat: Arc<Seat>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.seat.heard();
        }
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.seat.wrote(polled.is_ready());
        polled
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
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.seat.wrote(polled.is_ready());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A body that fails when its time is up.
struct Timed {
    body: Incoming,
    deadline: Pin<Box<Sleep>>,
}

impl Timed {
    fn body(body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Self { body, deadline: Box::pin(tokio::time::sleep(BODY_WITHIN)) })
    }
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            let late = io::Error::new(io::ErrorKind::TimedOut, "it took too long");
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(axum::Error::new)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
