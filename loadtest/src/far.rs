//! Put distance between two programs of one machine: pass TCP on, each octet later by half a round
//! trip.
//!
//! In: connections. Out: the same to the target, in order, and each end as it came. What is under
//! way one way is bounded by `UNDER_WAY` pieces; beyond, the sender waits, as for a window.
//! The connect itself takes no longer: only what is said is late. Unit: milliseconds.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Octets that are read at a time.
const PIECE: usize = 64 * 1024;
/// Pieces under way, one way of a connection.
const UNDER_WAY: usize = 256;

/// Where to listen, whom to reach, and how far that is.
#[derive(Args, Clone, Debug)]
pub(crate) struct FarOptions {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:2527", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Who is far away
    #[arg(long, default_value = "127.0.0.1:2526", value_name = "ADDR:PORT")]
    target: SocketAddr,
    /// Round trip in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(..=60_000))]
    round_trip: u64,
}

impl FarOptions {
    /// Addresses that the options name, for the guard.
    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        [self.listen, self.target]
    }
}

/// Passes on until SIGINT or SIGTERM.
pub(crate) fn run(options: &FarOptions) -> Result<()> {
    let (target, one_way) = (options.target, Duration::from_millis(options.round_trip) / 2);
    let served = async {
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.with_context(|| format!("listening on {}", options.listen))?;
        println!("passing on {} to {target}, {one_way:?} later", listener.local_addr()?);
        serve(listener, target, one_way).await
    };
    crate::stop::run_until_signal::<()>(served).map(|_| ())
}

/// Passes on to `target`, as long as this runtime lives, what comes to the address returned.
pub(crate) async fn stand_between(target: SocketAddr, one_way: Duration) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listening before a server")?;
    let address = listener.local_addr().context("asking where that is")?;
    tokio::spawn(serve::<()>(listener, target, one_way));
    Ok(address)
}

async fn serve<T>(listener: TcpListener, target: SocketAddr, one_way: Duration) -> Result<T> {
    loop {
        // An accept that fails is the client's loss; the next may succeed.
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(async move {
            // Whoever cannot be reached shows to the client as a connection that ends.
            if let Ok(far) = TcpStream::connect(target).await {
                pass_on(near, far, one_way).await;
            }
        });
    }
}

async fn pass_on(near: TcpStream, far: TcpStream, one_way: Duration) {
    // Each piece is sent when its time has come, not when more has gathered.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::join!(delay(near_read, far_write, one_way), delay(far_read, near_write, one_way));
}

/// One way of a connection, to its end, which comes late too.
async fn delay(from: tcp::OwnedReadHalf, to: tcp::OwnedWriteHalf, one_way: Duration) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    tokio::join!(read(from, sender, one_way), write(to, receiver));
}

async fn read(
    mut from: tcp::OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
    one_way: Duration,
) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = from.read_buf(&mut piece).await;
        let is_end = read.is_err() || piece.is_empty();
        let sent = sender.send((Instant::now() + one_way, piece)).await;
        if is_end || sent.is_err() {
            return;
        }
    }
}

/// An empty piece is the end: the socket is shut down as its half is dropped.
async fn write(mut to: tcp::OwnedWriteHalf, mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, piece)) = receiver.recv().await {
        tokio::time::sleep_until(due).await;
        if piece.is_empty() || to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_comes_half_a_round_trip_later_and_whole() {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one_way = Duration::from_millis(25);
        let mut client = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
        let near = door.accept().await.unwrap().0;
        let far = TcpStream::connect(target.local_addr().unwrap()).await.unwrap();
        let mut server = target.accept().await.unwrap().0;
        tokio::spawn(pass_on(near, far, one_way));
        let begin = Instant::now();
        client.write_all(b"EHLO client.example\r\n").await.unwrap();
        let mut heard = vec![0; 21];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, b"EHLO client.example\r\n");
        assert!(begin.elapsed() >= one_way, "{:?}", begin.elapsed());
        server.write_all(b"250 server.example\r\n").await.unwrap();
        drop(server);
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply, b"250 server.example\r\n");
        assert!(begin.elapsed() >= one_way * 2, "{:?}", begin.elapsed());
    }
}
