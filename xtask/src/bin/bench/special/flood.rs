//! Datagrams of very many flows, from the outside host to the published port.
//!
//! Owns the packets and their way: a raw socket in the outside host's namespace, since a socket a
//! flow would be what is measured, and a plain one in the container. One thread sends a batch and
//! takes it in, so that nothing piles up and nothing may get lost.

use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    cpu::Cpu,
    site::Site,
    variant::{CONTAINER_PORT, HOST},
};

/// Datagrams of one call.
const BATCH: usize = 32;
/// IPv4 and UDP headers, and as many bytes as make the shortest frame.
const LENGTH: usize = 20 + 8 + 18;
/// A datagram that has not come after this is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Source ports of an address: those above the well-known ones.
const PORTS: u32 = 60_000;
const FIRST_PORT: u32 = 1_024;

/// Sources of flows that stay: 198.51.100.10 and up.
const LIVE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Source of flows that are made while it is measured what making them costs.
pub(super) const FRESH: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// The sockets.
pub(super) struct Flood {
    raw: Socket,
    sink: UdpSocket,
    target: SocketAddrV4,
}

/// What went through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    /// Datagrams, none of them lost.
    pub(super) datagrams: u64,
    /// From the first to the last.
    pub(super) elapsed: Duration,
}

impl Flood {
    /// Opens them.
    pub(super) fn open(site: &Site) -> Result<Self> {
        let raw = site
            .outside_ns
            .run(|| {
                Socket::new(
                    Domain::IPV4,
                    Type::RAW,
                    Some(Protocol::from(libc::IPPROTO_RAW)),
                )
            })?
            .context("cannot open a raw socket")?;
        let sink = site
            .container_ns
            .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, CONTAINER_PORT)))?
            .context("the container cannot receive")?;
        sink.set_nonblocking(true)
            .context("the container's socket cannot be set up")?;
        let target = SocketAddrV4::new(HOST, site.ports.measured());
        Ok(Self { raw, sink, target })
    }

    /// Sends one datagram of each of these flows, on the measured CPU.
    pub(super) fn each(
        &self,
        cpu: &Cpu,
        mut sources: impl Iterator<Item = SocketAddrV4> + Send,
    ) -> Result<Passed> {
        on(cpu, || self.pass(&mut sources, |_| true))
    }

    /// Sends datagrams of the first `flows` flows that stay, in no order that a cache could follow,
    /// until the time is over.
    pub(super) fn steady(&self, cpu: &Cpu, flows: u32, span: Duration) -> Result<Passed> {
        let mut sources = Scattered::new(flows).map(live);
        on(cpu, || {
            self.pass(&mut sources, |start| start.elapsed() < span)
        })
    }

    fn pass(
        &self,
        sources: &mut dyn Iterator<Item = SocketAddrV4>,
        more: impl Fn(Instant) -> bool,
    ) -> Result<Passed> {
        let mut batch = Batch::new(self.target);
        let start = Instant::now();
        let mut datagrams = 0;
        while more(start) {
            let filled = batch.fill(sources);
            if filled == 0 {
                break;
            }
            batch
                .send(&self.raw, filled)
                .with_context(|| format!("cannot send to {}", self.target))?;
            self.take(filled, &mut batch)?;
            datagrams += filled as u64;
        }
        Ok(Passed {
            datagrams,
            elapsed: start.elapsed(),
        })
    }

    /// Takes in what was sent.
    fn take(&self, sent: usize, batch: &mut Batch) -> Result<()> {
        let mut left = sent;
        let mut begin = None;
        while left > 0 {
            match batch.receive(&self.sink, left) {
                Ok(received) => left -= received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Still in a software interrupt's queue: its thread gets the CPU by this.
                    let begin = begin.get_or_insert_with(Instant::now);
                    ensure!(
                        begin.elapsed() < PATIENCE,
                        "{left} of {sent} datagrams to {} were lost",
                        self.target
                    );
                    std::thread::yield_now();
                }
                Err(error) => return Err(error).context("the container cannot receive"),
            }
        }
        Ok(())
    }
}

/// Runs on a thread on the measured CPU.
fn on<T: Send>(cpu: &Cpu, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            cpu.pin()?;
            work()
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The source of a flow that stays.
pub(super) fn live(index: u32) -> SocketAddrV4 {
    source(LIVE, index)
}

/// The source of a flow that is made anew.
pub(super) fn fresh(index: u32) -> SocketAddrV4 {
    source(FRESH, index)
}

fn source(first: Ipv4Addr, index: u32) -> SocketAddrV4 {
    let address = Ipv4Addr::from(u32::from(first) + index / PORTS);
    let port = FIRST_PORT + index % PORTS;
    // Below 2^16 by the constants.
    SocketAddrV4::new(address, u16::try_from(port).unwrap_or(u16::MAX))
}

/// All numbers below a bound, over and over, scattered: steps of a prime number.
struct Scattered {
    at: u64,
    bound: u64,
}

impl Scattered {
    /// Shares no divisor with any bound below it.
    const STEP: u64 = 2_654_435_761;

    fn new(bound: u32) -> Self {
        Self {
            at: 0,
            bound: u64::from(bound.max(1)),
        }
    }
}

impl Iterator for Scattered {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.at = (self.at + Self::STEP) % self.bound;
        u32::try_from(self.at).ok()
    }
}

/// Datagrams of one call, and where they lie.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    // What the headers point to, never moved.
    _slots: Vec<libc::iovec>,
    _address: Box<SockAddr>,
    packets: Box<[[u8; LENGTH]; BATCH]>,
    received: Vec<libc::mmsghdr>,
    _received_slots: Vec<libc::iovec>,
    _received_buffers: Box<[[u8; LENGTH]; BATCH]>,
    target: SocketAddrV4,
}

// SAFETY: the pointers lead into the batch's own heap allocations, which go where it goes.
unsafe impl Send for Batch {}

impl Batch {
    fn new(target: SocketAddrV4) -> Self {
        // The port of a raw socket's address is its protocol, or nothing.
        let address = Box::new(SockAddr::from(SocketAddrV4::new(*target.ip(), 0)));
        let mut packets = Box::new([[0; LENGTH]; BATCH]);
        let mut buffers = Box::new([[0; LENGTH]; BATCH]);
        let (mut slots, mut received_slots) = (slots(&mut packets), slots(&mut buffers));
        let mut headers = headers(&mut slots);
        for header in &mut headers {
            header.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = address.len();
        }
        Self {
            headers,
            _slots: slots,
            _address: address,
            packets,
            received: self::headers(&mut received_slots),
            _received_slots: received_slots,
            _received_buffers: buffers,
            target,
        }
    }

    /// Writes datagrams of the next flows; says how many.
    fn fill(&mut self, sources: &mut dyn Iterator<Item = SocketAddrV4>) -> usize {
        let packets = self.packets.iter_mut();
        packets
            .zip(sources)
            .map(|(packet, source)| *packet = datagram(source, self.target))
            .count()
    }

    fn send(&mut self, socket: &Socket, count: usize) -> io::Result<()> {
        let mut sent = 0;
        while let Some(headers) = self
            .headers
            .get_mut(sent..count)
            .filter(|it| !it.is_empty())
        {
            let length = headers.len() as libc::c_uint;
            // SAFETY: the headers point to packets and an address that live as long as they do.
            sent += done(unsafe {
                libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), length, 0)
            })?;
        }
        Ok(())
    }

    fn receive(&mut self, socket: &UdpSocket, most: usize) -> io::Result<usize> {
        let length = most.min(BATCH) as libc::c_uint;
        let (headers, flags) = (self.received.as_mut_ptr(), libc::MSG_DONTWAIT);
        let none = std::ptr::null_mut();
        // SAFETY: the headers point to buffers that live as long as they do.
        done(unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, length, flags, none) })
    }
}

fn slots(buffers: &mut [[u8; LENGTH]; BATCH]) -> Vec<libc::iovec> {
    let slot = |buffer: &mut [u8; LENGTH]| libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: LENGTH,
    };
    buffers.iter_mut().map(slot).collect()
}

fn headers(slots: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    let header = |slot: &mut libc::iovec| {
        // SAFETY: all fields are integers and pointers, for which zero is a value.
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        header.msg_hdr.msg_iov = slot;
        header.msg_hdr.msg_iovlen = 1;
        header
    };
    slots.iter_mut().map(header).collect()
}

fn done(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A datagram with both headers. The kernel fills in the IPv4 header's checksum and identification.
fn datagram(source: SocketAddrV4, target: SocketAddrV4) -> [u8; LENGTH] {
    const UDP_LENGTH: u16 = (LENGTH - 20) as u16;
    const ZERO: [u8; 2] = [0; 2];
    let mut packet = [0; LENGTH];
    let total = (LENGTH as u16).to_be_bytes();
    let udp = UDP_LENGTH.to_be_bytes();
    let (from, to) = (source.ip().octets(), target.ip().octets());
    let ports = [source.port().to_be_bytes(), target.port().to_be_bytes()];
    let sum = checksum(&[
        &from,
        &to,
        &[0, libc::IPPROTO_UDP as u8],
        &udp,
        &ports.concat(),
        &udp,
    ]);
    let parts: [&[u8]; 11] = [
        &[0x45, 0],
        &total,
        &ZERO,
        &[0x40, 0],
        &[64, libc::IPPROTO_UDP as u8],
        &ZERO,
        &from,
        &to,
        &ports.concat(),
        &udp,
        &sum.to_be_bytes(),
    ];
    let bytes = parts.into_iter().flatten();
    for (place, byte) in packet.iter_mut().zip(bytes) {
        *place = *byte;
    }
    packet
}

/// The Internet checksum (RFC 1071) of parts of even lengths.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let mut sum: u32 = words
        .filter_map(|word| Some(u32::from(u16::from_be_bytes(word.try_into().ok()?))))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Complementing a sum of 16 bits; zero would mean that there is none (RFC 768).
    match !(sum as u16) {
        0 => 0xffff,
        sum => sum,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn flows_differ() {
        let sources: HashSet<_> = (0..300_000).map(live).collect();
        assert_eq!(sources.len(), 300_000);
        let last = live(999_999);
        assert_eq!(last.ip(), &Ipv4Addr::new(198, 51, 100, 26));
        assert!(last.port() >= 1_024);
        assert!((0..PORTS).map(fresh).all(|it| it.ip() == &FRESH));
    }

    #[test]
    fn every_flow_takes_its_turn() {
        for bound in [1, 10_000, 100_000] {
            let seen: HashSet<_> = Scattered::new(bound).take(bound as usize).collect();
            assert_eq!(seen.len(), bound as usize);
            assert!(seen.iter().all(|index| *index < bound));
        }
    }

    /// A receiver sums header, pseudo header and data; with the checksum in it all bits are ones.
    #[test]
    fn checksums_are_right() {
        for index in [0, 1, 59_999, 60_000, 12_345_678] {
            let source = live(index);
            let packet = datagram(source, SocketAddrV4::new(HOST, 8080));
            let udp = &packet[20..];
            let pseudo = [[0, 17], [0, 26]].concat();
            let sum = checksum(&[&packet[12..20], &pseudo, udp]);
            // The complement of all ones, which this function calls by its other name.
            assert_eq!(sum, 0xffff, "{source}");
            assert_eq!(packet[20..22], source.port().to_be_bytes());
        }
    }
}
