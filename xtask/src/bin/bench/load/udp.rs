//! Small datagrams, one way, as fast as one thread sends and another takes them.
//!
//! Owns the two calls that move many at a time. The receiver asks for no addresses: that would run
//! the socket programs of every netpath instance of the machine.

use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    ptr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Clock, GO, Half, PATIENCE, STOP, Seen, check_source, during};
use crate::worker::Worker;

/// Datagrams of one call.
const BATCH: usize = 32;
/// Bytes of a datagram: a frame of 60 bytes, the shortest there is.
const PAYLOAD: usize = 18;
/// Room for the datagrams that arrive while the receiver waits for the CPU.
const RECEIVE_BUFFER: usize = 32 << 20;
/// Silence after which the end is taken to be lost, like other datagrams.
const SILENCE: Duration = Duration::from_millis(200);

/// Opens the sockets and has a datagram go there and back.
pub(super) fn open(
    client: &Worker,
    server: &Worker,
    target: SocketAddrV4,
    bind: SocketAddrV4,
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

fn receiver(bind: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(bind)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Beyond the limit that the machine sets for everyone, as root may.
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::RcvBufForce,
        &RECEIVE_BUFFER,
    )?;
    Ok(socket)
}

fn sender(target: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&[GO; PAYLOAD])?;
    // Connected: takes no answer but one from where it has sent to.
    socket.recv(&mut [0; PAYLOAD])?;
    Ok(socket)
}

/// Answers one datagram, then waits less long.
fn answer(socket: &UdpSocket, seen: &Seen) -> io::Result<()> {
    let mut datagram = [0; PAYLOAD];
    let (_, peer) = socket.recv_from(&mut datagram)?;
    check_source(peer, seen)?;
    socket.send_to(&datagram, peer)?;
    socket.set_read_timeout(Some(SILENCE))
}

/// Datagrams that go through one call, and where they lie.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    // What the headers point to, never moved.
    _slots: Vec<libc::iovec>,
    buffers: Box<[[u8; PAYLOAD]; BATCH]>,
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
            buffers,
        }
    }

    fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let (headers, length) = (self.headers.as_mut_ptr(), BATCH as libc::c_uint);
        // SAFETY: the headers point to buffers that live as long as they do.
        done(unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, length, 0) })
    }

    /// Waits for one, and takes with it what else is there.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<&[[u8; PAYLOAD]]> {
        let (headers, length) = (self.headers.as_mut_ptr(), BATCH as libc::c_uint);
        let flags = libc::MSG_WAITFORONE;
        let none = ptr::null_mut();
        // SAFETY: the headers point to buffers that live as long as they do.
        let received =
            done(unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, length, flags, none) })?;
        Ok(self.buffers.get(..received).unwrap_or_default())
    }
}

fn done(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Sends until the time is over.
pub(super) fn send(socket: &UdpSocket, span: Duration) -> io::Result<Half> {
    let mut batch = Batch::new();
    let clock = Clock::start();
    let mut count = 0;
    while clock.elapsed() < span {
        count += batch.send(socket).map_err(during("sending datagrams"))? as u64;
    }
    let half = clock.stop(count);
    socket.send(&[STOP; PAYLOAD])?;
    Ok(half)
}

/// Counts what arrives, until the end comes or should have come.
pub(super) fn receive(socket: &UdpSocket, span: Duration) -> io::Result<Half> {
    let mut batch = Batch::new();
    let clock = Clock::start();
    let mut half = clock.stop(0);
    loop {
        let datagrams = match batch.receive(socket) {
            Ok(datagrams) => datagrams,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if clock.elapsed() >= span {
                    return Ok(half);
                }
                continue;
            }
            Err(error) => return Err(during("waiting for datagrams")(error)),
        };
        let ends = datagrams.iter().filter(|it| it.first() == Some(&STOP));
        let ends = ends.count();
        half = clock.stop(half.count + (datagrams.len() - ends) as u64);
        if ends > 0 {
            return Ok(half);
        }
    }
}
