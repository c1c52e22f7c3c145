//! A line between quorate and one member that can be made slow, in both directions.
//!
//! On a slow line there is time between "it was sent", "it took effect" and "the answer is here": a
//! test can end quorate in between. What is under way when a side is gone is never delivered.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::wait_for;

/// A line on loopback that lives as long as the test process.
#[derive(Clone, Debug)]
pub(crate) struct SlowLine {
    address: SocketAddr,
    delay_ms: Arc<AtomicU64>,
}

impl SlowLine {
    /// Listens, and passes on to the host and port of `url`; not slow yet.
    pub(crate) fn to(url: &str) -> Self {
        let target: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let delay = Arc::clone(&delay_ms);
        let address = wait_for(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move {
                while let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(pass(near, target, Arc::clone(&delay)));
                }
            });
            address
        });
        Self { address, delay_ms }
    }

    /// What to give as the member's client URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds everything back for so long from now on.
    pub(crate) fn slow(&self, delay: Duration) {
        let delay = u64::try_from(delay.as_millis()).unwrap();
        self.delay_ms.store(delay, Ordering::Relaxed);
    }
}

async fn pass(near: TcpStream, target: SocketAddr, delay: Arc<AtomicU64>) {
    // Refused: dropping `near` tells the other side.
    let Ok(far) = TcpStream::connect(target).await else { return };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let gone = Arc::new(AtomicBool::new(false));
    tokio::join!(
        carry(near_in, far_out, Arc::clone(&delay), Arc::clone(&gone)),
        carry(far_in, near_out, delay, gone),
    );
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Arc<AtomicU64>,
    gone: Arc<AtomicBool>,
) {
    let (send, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            let due = Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            drop(send.send((due, chunk[..count].to_vec())));
        }
        gone.store(true, Ordering::Relaxed);
        drop(send);
    };
    let writing = async {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if gone.load(Ordering::Relaxed) || to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(reading, writing);
}
