//! Ping: ICMP echo by IPv4 from the namespace of the calling thread; `ping6` has IPv6.
//!
//! Owns the echo request and what comes back for it, errors included. A raw socket, because the
//! kernel's ping sockets are closed to everyone in a new namespace.

use std::{
    io,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

const ECHO_REPLY: u8 = 0;
const ECHO: u8 = 8;
const HEADER: usize = 8;

/// What came back for an echo request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<A = Ipv4Addr> {
    /// Who sent it.
    pub from: A,
    /// ICMP type: 0 (129 by IPv6) is the echo reply, anything else an error about the request.
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// Time to live, or hop limit, on arrival.
    pub ttl: u8,
    /// Bytes of ICMP payload.
    pub length: usize,
    /// How long it took.
    pub after: Duration,
}

impl Reply {
    /// Whether it is the echo reply of `address`.
    #[must_use]
    pub fn is_echo_of(&self, address: Ipv4Addr) -> bool {
        self.icmp_type == ECHO_REPLY && self.from == address
    }
}

/// How to ping.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of payload.
    pub payload: usize,
    /// Time to live, or hop limit, the system's when not given.
    pub ttl: Option<u32>,
    /// When silence counts.
    pub within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload: 56,
            ttl: None,
            within: super::probe::SOON,
        }
    }
}

/// Sends one echo request and waits for the reply or for an ICMP error about it.
///
/// # Errors
/// `TimedOut` when nothing came back; what the socket says otherwise.
pub fn ping(to: Ipv4Addr, options: Options) -> io::Result<Reply> {
    let ident = next_ident();
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    if let Some(ttl) = options.ttl {
        socket.set_ttl_v4(ttl)?;
    }
    let started = Instant::now();
    socket.send_to(
        &echo_request(ident, options.payload),
        &SocketAddrV4::new(to, 0).into(),
    )?;
    let mut buffer = [MaybeUninit::uninit(); 9000];
    loop {
        let left = options.within.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        // SAFETY: recv() has initialised the first `length` bytes of the buffer.
        let packet: &[u8] = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), length) };
        if let Some(reply) = parse(packet, ident, started) {
            return Ok(reply);
        }
    }
}

/// Unique among the threads of this process; the process tells it from its neighbours.
pub(super) fn next_ident() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    (std::process::id() as u16)
        .rotate_left(6)
        .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn echo_request(ident: u16, payload: usize) -> Vec<u8> {
    let mut message = vec![ECHO, 0, 0, 0];
    message.extend(ident.to_be_bytes());
    message.extend(1u16.to_be_bytes());
    message.extend((0..payload).map(|i| i as u8));
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The reply to the request `ident`, or `None` for somebody else's packet.
fn parse(packet: &[u8], ident: u16, started: Instant) -> Option<Reply> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let icmp = packet.get(header..)?;
    let (icmp_type, code) = (*icmp.first()?, *icmp.get(1)?);
    let about_us = match icmp_type {
        ECHO_REPLY => icmp.get(4..6)? == ident.to_be_bytes(),
        3 | 11 | 12 => {
            let quoted = icmp.get(HEADER..)?;
            let inner = quoted.get(usize::from(quoted.first()? & 0x0f) * 4..)?;
            *quoted.get(9)? == 1
                && *inner.first()? == ECHO
                && inner.get(4..6)? == ident.to_be_bytes()
        }
        _ => false,
    };
    about_us.then(|| Reply {
        from: Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]),
        icmp_type,
        code,
        ttl: packet[8],
        length: icmp.len() - HEADER,
        after: started.elapsed(),
    })
}

/// The internet checksum (RFC 1071).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply_to(ident: u16) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 63, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ];
        packet.extend([ECHO_REPLY, 0, 0, 0]);
        packet.extend(ident.to_be_bytes());
        packet.extend([0, 1, 9, 9]);
        packet
    }

    #[test]
    fn a_reply_is_ours_by_its_identifier() {
        let now = Instant::now();
        let reply = parse(&reply_to(7), 7, now).expect("ours");
        assert!(reply.is_echo_of(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!((reply.ttl, reply.length), (63, 2));
        assert_eq!(parse(&reply_to(7), 8, now), None);
    }

    #[test]
    fn an_error_is_ours_by_the_quoted_request() {
        let mut packet = reply_to(0);
        packet.truncate(20);
        packet.extend([11, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend([
            0x45, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        packet.extend(&echo_request(7, 0)[..8]);
        assert_eq!(
            parse(&packet, 7, Instant::now()).expect("ours").icmp_type,
            11
        );
        assert_eq!(parse(&packet, 8, Instant::now()), None);
    }

    #[test]
    fn truncated_packets_are_nobodys() {
        let packet = reply_to(7);
        for length in 0..26 {
            assert_eq!(
                parse(&packet[..length], 7, Instant::now()),
                None,
                "{length}"
            );
        }
    }

    #[test]
    fn the_checksum_of_a_summed_message_is_zero() {
        assert_eq!(checksum(&echo_request(0x1234, 55)), 0);
    }
}
