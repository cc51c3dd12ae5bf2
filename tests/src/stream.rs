//! A TCP transfer that goes on until it is told to end.
//!
//! Owns both of its ends and the sums over what they sent and received. [`crate::probe::transfer`]
//! is one of a given length.

use std::{
    hash::{DefaultHasher, Hasher},
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use netpath::lab::probe;

use crate::netns::{Namespace, within};

/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(20);
const CHUNK: usize = 16 * 1024;
/// Bytes a second, at most: it is to go on beside a load, not to be one.
const RATE: f64 = 20e6;

/// A transfer from the one that connects to the one that accepts.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    sender: JoinHandle<(u64, u64)>,
    receiver: JoinHandle<(u64, u64)>,
}

impl Stream {
    /// Connects from `client` to `to`, which `server` accepts on `port`, and begins.
    ///
    /// # Panics
    /// When the connection is not made in time.
    #[must_use]
    #[track_caller]
    pub fn open(client: &Namespace, to: SocketAddrV4, server: &Namespace, port: u16) -> Self {
        let listener = within(server, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap();
        let near = within(client, || probe::tcp_connect(to, None, PATIENCE)).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        let (stop, received) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        Self {
            sender: thread::spawn({
                let stop = Arc::clone(&stop);
                move || send(near, &stop)
            }),
            receiver: thread::spawn({
                let received = Arc::clone(&received);
                // The listener stays: what else comes to its port is answered by SYN-ACKs.
                move || receive(far, &received, listener)
            }),
            stop,
            received,
        }
    }

    /// How many bytes have arrived so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Ends it; every byte sent has arrived, in order, and nothing else. Their number is the result.
    ///
    /// # Panics
    /// When the connection was reset or stood still, and when the content differs.
    #[track_caller]
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let received = self.receiver.join().unwrap();
        assert_eq!(received, sent, "length and sum of the content");
        sent.0
    }
}

/// Bytes and their hash.
fn send(mut stream: TcpStream, stop: &AtomicBool) -> (u64, u64) {
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let (mut length, mut hash, mut state) = (0, DefaultHasher::new(), 1u64);
    let mut chunk = [0; CHUNK];
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let due = Duration::from_secs_f64(length as f64 / RATE);
        if let Some(early) = due.checked_sub(started.elapsed()) {
            thread::sleep(early);
        }
        for word in chunk.chunks_exact_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        stream.write_all(&chunk).unwrap();
        hash.write(&chunk);
        length += chunk.len() as u64;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    // The other end closes once it has everything.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(
        stream.read(&mut [0]).unwrap(),
        0,
        "the end that receives only"
    );
    (length, hash.finish())
}

fn receive(mut stream: TcpStream, received: &AtomicU64, listener: TcpListener) -> (u64, u64) {
    let (mut length, mut hash) = (0, DefaultHasher::new());
    let mut chunk = vec![0; CHUNK];
    loop {
        // Whole chunks: the hash is of the same pieces as the sender's.
        let mut filled = 0;
        while filled < CHUNK {
            let got = stream.read(&mut chunk[filled..]).unwrap();
            if got == 0 {
                assert_eq!(filled, 0, "the end of a whole chunk");
                drop(listener);
                return (length, hash.finish());
            }
            filled += got;
        }
        hash.write(&chunk);
        length += CHUNK as u64;
        received.store(length, Ordering::Relaxed);
    }
}
