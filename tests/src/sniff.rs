//! The sizes of the packets that a namespace's interfaces see.
//!
//! Owns an `AF_PACKET` socket and the thread that reads it. What it sees are socket buffers:
//! super-packets are not segmented yet, or put together already.

use std::{
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::{Namespace, within};

const ETH_P_ALL: u16 = 3;
const ETH_LEN: usize = 14;

/// The largest packets so far, bytes from the IP header on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Largest {
    /// Of those that came in.
    pub received: usize,
    /// Of those that went out.
    pub sent: usize,
}

/// Watches every interface of a namespace.
#[derive(Debug)]
pub struct Sniffer {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    received: AtomicUsize,
    sent: AtomicUsize,
}

impl Sniffer {
    /// Begins to watch.
    ///
    /// # Panics
    /// When the caller is not root.
    #[must_use]
    pub fn start(namespace: &Namespace) -> Self {
        let socket = within(namespace, || {
            let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(20)))
                .unwrap();
            socket
        });
        let seen = Arc::new(Seen::default());
        let theirs = Arc::clone(&seen);
        let thread = thread::spawn(move || watch(&socket, &theirs));
        Self {
            seen,
            thread: Some(thread),
        }
    }

    /// Ends it and says what it saw.
    ///
    /// # Panics
    /// When its thread panicked.
    #[must_use]
    pub fn stop(mut self) -> Largest {
        self.seen.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        Largest {
            received: self.seen.received.load(Ordering::Relaxed),
            sent: self.seen.sent.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}

fn watch(socket: &Socket, seen: &Seen) {
    let mut head = [MaybeUninit::uninit(); ETH_LEN];
    while !seen.stop.load(Ordering::Relaxed) {
        // MSG_TRUNC: the whole length, however little is read.
        let Ok((length, from)) = socket.recv_from_with_flags(&mut head, libc::MSG_TRUNC) else {
            continue;
        };
        assert!(from.len() as usize >= size_of::<libc::sockaddr_ll>() - 8);
        // SAFETY: a packet socket's addresses are `sockaddr_ll`, and the storage is larger.
        let pkttype = unsafe { (*from.as_ptr().cast::<libc::sockaddr_ll>()).sll_pkttype };
        let largest = if pkttype == libc::PACKET_OUTGOING {
            &seen.sent
        } else {
            &seen.received
        };
        largest.fetch_max(length - ETH_LEN, Ordering::Relaxed);
    }
}
