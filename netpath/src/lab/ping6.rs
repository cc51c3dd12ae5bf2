//! Ping by IPv6: ICMPv6 echo from the namespace of the calling thread.
//!
//! Owns the echo request and what comes back for it, errors included. The kernel writes and checks
//! the checksums of a raw ICMPv6 socket (RFC 3542, section 3.1).

use std::{
    io::{self, IoSliceMut},
    net::{Ipv6Addr, SocketAddrV6},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt::Ipv6RecvHopLimit,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::ping::{Options, Reply, next_ident};

const ECHO: u8 = 128;
const ECHO_REPLY: u8 = 129;
const ICMPV6: u8 = 58;
const HEADER: usize = 8;
/// Bytes of an IPv6 header.
const IP_HEADER: usize = 40;

impl Reply<Ipv6Addr> {
    /// Whether it is the echo reply of `address`.
    #[must_use]
    pub fn is_echo_of(&self, address: Ipv6Addr) -> bool {
        self.icmp_type == ECHO_REPLY && self.from == address
    }
}

/// Sends one echo request and waits for the reply or for an ICMPv6 error about it. A link-local
/// address needs the interface's index as `scope`, any other takes 0.
///
/// # Errors
/// `TimedOut` when nothing came back; what the socket says otherwise.
pub fn ping6(to: Ipv6Addr, scope: u32, options: Options) -> io::Result<Reply<Ipv6Addr>> {
    let ident = next_ident();
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    if let Some(limit) = options.ttl {
        socket.set_unicast_hops_v6(limit)?;
    }
    setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
    let started = Instant::now();
    socket.send_to(
        &echo_request(ident, options.payload),
        &SocketAddrV6::new(to, 0, 0, scope).into(),
    )?;
    loop {
        let left = options.within.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        match receive(&socket) {
            Ok(packet) => {
                if let Some(reply) = parse(&packet, ident, started.elapsed()) {
                    return Ok(reply);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
}

/// An ICMPv6 message with what came beside it.
struct Packet {
    from: Ipv6Addr,
    hop_limit: u8,
    message: Vec<u8>,
}

fn receive(socket: &Socket) -> io::Result<Packet> {
    let mut message = vec![0; 9000];
    let mut control = nix::cmsg_space!(i32);
    let (length, from, hop_limit) = {
        let mut parts = [IoSliceMut::new(&mut message)];
        let received = recvmsg::<SockaddrIn6>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        )?;
        let limit = received.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
            _ => None,
        });
        let from = received.address.map_or(Ipv6Addr::UNSPECIFIED, |a| a.ip());
        (received.bytes, from, limit.unwrap_or(0))
    };
    message.truncate(length);
    Ok(Packet {
        from,
        hop_limit,
        message,
    })
}

fn echo_request(ident: u16, payload: usize) -> Vec<u8> {
    let mut message = vec![ECHO, 0, 0, 0];
    message.extend(ident.to_be_bytes());
    message.extend(1u16.to_be_bytes());
    message.extend((0..payload).map(|i| i as u8));
    message
}

/// The reply to the request `ident`, or `None` for somebody else's packet.
fn parse(packet: &Packet, ident: u16, after: Duration) -> Option<Reply<Ipv6Addr>> {
    let icmp = &packet.message;
    let (icmp_type, code) = (*icmp.first()?, *icmp.get(1)?);
    let about_us = match icmp_type {
        ECHO_REPLY => icmp.get(4..6)? == ident.to_be_bytes(),
        // Unreachable, packet too big, time exceeded, parameter problem (RFC 4443).
        1..=4 => {
            let quoted = icmp.get(HEADER..)?;
            let inner = quoted.get(IP_HEADER..)?;
            *quoted.get(6)? == ICMPV6
                && *inner.first()? == ECHO
                && inner.get(4..6)? == ident.to_be_bytes()
        }
        _ => false,
    };
    about_us.then(|| Reply {
        from: packet.from,
        icmp_type,
        code,
        ttl: packet.hop_limit,
        length: icmp.len() - HEADER,
        after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(message: &[u8]) -> Packet {
        Packet {
            from: Ipv6Addr::LOCALHOST,
            hop_limit: 63,
            message: message.to_vec(),
        }
    }

    #[test]
    fn a_reply_is_ours_by_its_identifier() {
        let mut message = echo_request(7, 2);
        message[0] = ECHO_REPLY;
        let reply = parse(&packet(&message), 7, Duration::ZERO).expect("ours");
        assert!(reply.is_echo_of(Ipv6Addr::LOCALHOST));
        assert_eq!((reply.ttl, reply.length), (63, 2));
        assert_eq!(parse(&packet(&message), 8, Duration::ZERO), None);
        for length in 0..6 {
            assert_eq!(parse(&packet(&message[..length]), 7, Duration::ZERO), None);
        }
    }

    #[test]
    fn an_error_is_ours_by_the_quoted_request() {
        let mut message = vec![3, 0, 0, 0, 0, 0, 0, 0];
        let mut quoted = vec![0; IP_HEADER];
        quoted[6] = ICMPV6;
        message.extend(quoted);
        message.extend(&echo_request(7, 0)[..8]);
        let reply = parse(&packet(&message), 7, Duration::ZERO).expect("ours");
        assert_eq!(reply.icmp_type, 3);
        assert!(!reply.is_echo_of(Ipv6Addr::LOCALHOST));
        assert_eq!(parse(&packet(&message), 8, Duration::ZERO), None);
        assert_eq!(parse(&packet(&message[..50]), 7, Duration::ZERO), None);
    }
}
