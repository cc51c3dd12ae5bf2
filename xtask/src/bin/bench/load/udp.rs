//! Small datagrams, one way.
//!
//! Owns the sending of bursts and their taking in. One thread serves both sockets: it sends a burst
//! and takes it in, so that neither the scheduler nor a growing queue is part of what is measured,
//! and that every datagram is accounted for before the next burst. A burst is what a network card
//! gives to the kernel at once. The receiver asks for no addresses: that would run the socket
//! programs of every netpath instance of the machine.

use std::{
    io, mem,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    ptr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Clock, GO, PATIENCE, Passed, Seen, check_source, during};
use crate::{family::Family, worker::Worker};

/// Datagrams of a burst.
const BATCH: usize = 32;
/// Bytes of a datagram: of IPv4 a frame of 60 bytes, the shortest there is.
const PAYLOAD: usize = 18;
/// Silence after which what is missing is taken to be lost.
const SILENCE: Duration = Duration::from_millis(200);

/// Opens the sockets and has a datagram go there and back.
pub(super) fn open(
    client: &Worker,
    server: &Worker,
    target: SocketAddr,
    bind: SocketAddr,
    seen: Seen,
) -> Result<(Arc<UdpSocket>, Arc<UdpSocket>)> {
    let receiver = server.call(move || receiver(bind))?;
    let receiver = receiver.with_context(|| format!("cannot receive on port {}", bind.port()))?;
    let receiver = Arc::new(receiver);
    let answering = receiver.clone();
    let answered = server.begin(move || answer(&answering, &seen));
    let sender = client.call(move || sender(target))?;
    answered.wait()?.context("no datagram arrives")?;
    let sender = sender.with_context(|| format!("no answer from {target}"))?;
    Ok((Arc::new(sender), receiver))
}

fn receiver(bind: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(bind)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn sender(target: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Family::of(target).any(), 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&[GO; PAYLOAD])?;
    // Connected: takes no answer but one from where it has sent to.
    socket.recv(&mut [0; PAYLOAD])?;
    // One call sends a burst. The kernel cuts it into datagrams before it leaves the sender's
    // device, see `site`, so that each goes the whole way by itself.
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::UdpGsoSegment,
        &(PAYLOAD as libc::c_int),
    )?;
    Ok(socket)
}

/// Answers one datagram; from then on nothing waits.
fn answer(socket: &UdpSocket, seen: &Seen) -> io::Result<()> {
    let mut datagram = [0; PAYLOAD];
    let (_, peer) = socket.recv_from(&mut datagram)?;
    check_source(peer, seen)?;
    socket.send_to(&datagram, peer)?;
    socket.set_nonblocking(true)
}

/// Datagrams that one call takes in, and where they lie.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    // What the headers point to, never moved.
    _slots: Vec<libc::iovec>,
    _buffers: Box<[[u8; PAYLOAD]; BATCH]>,
}

impl Batch {
    fn new() -> Self {
        let mut buffers = Box::new([[GO; PAYLOAD]; BATCH]);
        let mut slots: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: PAYLOAD,
            })
            .collect();
        let headers = slots
            .iter_mut()
            .map(|slot| {
                // SAFETY: all fields are integers and pointers, for which zero is a value.
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                header.msg_hdr.msg_iov = slot;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self {
            headers,
            _slots: slots,
            _buffers: buffers,
        }
    }

    /// Takes what is there.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let (headers, length) = (self.headers.as_mut_ptr(), BATCH as libc::c_uint);
        let (flags, none) = (libc::MSG_DONTWAIT, ptr::null_mut());
        // SAFETY: the headers point to buffers that live as long as they do.
        done(unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, length, flags, none) })
    }
}

fn done(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sends bursts and takes each in, until the time is over.
pub(super) fn pass(from: &UdpSocket, to: &UdpSocket, span: Duration) -> io::Result<Passed> {
    let burst = [GO; PAYLOAD * BATCH];
    let mut batch = Batch::new();
    let clock = Clock::start();
    let (mut sent, mut received) = (0, 0);
    while clock.elapsed() < span {
        from.send(&burst).map_err(during("sending datagrams"))?;
        sent += BATCH as u64;
        received += take(to, &mut batch)?;
    }
    Ok(clock.passed(sent, received))
}

/// Takes a burst in; says how much of it has come.
fn take(socket: &UdpSocket, batch: &mut Batch) -> io::Result<u64> {
    let mut received = 0;
    let mut silent = None;
    while received < BATCH {
        match batch.receive(socket) {
            Ok(more) => {
                received += more;
                silent = None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Still in a software interrupt's queue: its thread gets the CPU by this.
                let since: &mut Instant = silent.get_or_insert_with(Instant::now);
                if since.elapsed() > SILENCE {
                    break;
                }
                thread::yield_now();
            }
            Err(error) => return Err(during("taking datagrams in")(error)),
        }
    }
    Ok(received as u64)
}
