//! The host's sockets as the kernel tells them (`NETLINK_SOCK_DIAG`).
//!
//! Owns one question: which sockets of a protocol and family are bound. What stands against a
//! published port is decided in `listeners`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
        setsockopt, socket, sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};

/// `SOCK_DIAG_BY_FAMILY` (`linux/sock_diag.h`).
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 1 | 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Bytes of a netlink header.
const HEADER: usize = 16;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// Bytes of `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// `INET_DIAG_SKV6ONLY` (`linux/inet_diag.h`).
const SKV6ONLY: u16 = 11;

/// `TCP_CLOSE`: unconnected UDP.
pub(super) const CLOSE: u32 = 1 << 7;
/// `TCP_LISTEN`.
pub(super) const LISTEN: u32 = 1 << 10;
/// `TCP_BOUND_INACTIVE`: bound, neither listening nor connected. Linux 6.8; before, not told.
pub(super) const BOUND: u32 = 1 << 13;

/// A bound socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bound {
    /// Address; IPv4 on an IPv6 socket as such.
    pub(super) addr: IpAddr,
    /// Port.
    pub(super) port: u16,
    /// Only IPv6 comes to it.
    pub(super) only6: bool,
}

/// The sockets of a protocol (`IPPROTO_*`) that are in one of `states`, of both families.
pub(super) fn bound(proto: u8, states: u32) -> io::Result<Vec<Bound>> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    // The kernel answers at once; this is for one that does not.
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::new(5, 0))?;
    let mut found = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        dump(&netlink, family, proto, states, &mut found)?;
    }
    Ok(found)
}

fn dump(
    netlink: &OwnedFd,
    family: u8,
    proto: u8,
    states: u32,
    found: &mut Vec<Bound>,
) -> io::Result<()> {
    let mut request = [0u8; HEADER + REQUEST];
    request[0..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    request[HEADER] = family;
    request[HEADER + 1] = proto;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &request, &kernel, MsgFlags::empty())?;
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let len = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..len];
        while let Some((kind, message, next)) = next_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(error(message)),
                _ => found.extend(parse(message)),
            }
            rest = next;
        }
    }
}

/// The first message: its type, what is in it, and what follows it.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let message = bytes.get(HEADER..len)?;
    Some((kind, message, bytes.get(align(len)..).unwrap_or(&[])))
}

fn error(message: &[u8]) -> io::Error {
    let code = message.get(0..4).and_then(|b| b.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(code) if code < 0 => io::Error::from_raw_os_error(-code),
        Some(_) | None => io::Error::from_raw_os_error(libc::EPROTO),
    }
}

fn parse(message: &[u8]) -> Option<Bound> {
    let family = *message.first()?;
    // `struct inet_diag_sockid` begins with both ports, in network order, and the source address.
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let addr = if i32::from(family) == libc::AF_INET {
        let addr: [u8; 4] = message.get(8..12)?.try_into().ok()?;
        IpAddr::V4(Ipv4Addr::from(addr))
    } else {
        let addr: [u8; 16] = message.get(8..24)?.try_into().ok()?;
        IpAddr::V6(Ipv6Addr::from(addr)).to_canonical()
    };
    let only6 = attribute(message.get(MESSAGE..)?, SKV6ONLY).is_some_and(|value| value != 0);
    Some(Bound { addr, port, only6 })
}

/// The first byte of an attribute.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<u8> {
    loop {
        let len = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..len)?;
        if kind == wanted {
            return value.first().copied();
        }
        bytes = bytes.get(align(len)..)?;
    }
}

const fn align(len: usize) -> usize {
    (len + 3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_tells_nothing() {
        assert!(next_message(&[]).is_none());
        assert!(next_message(&[255; 20]).is_none());
        assert!(next_message(&[0; 20]).is_none());
        assert_eq!(parse(&[2; 71]), None);
        assert_eq!(attribute(&[0; 8], SKV6ONLY), None);
        assert_eq!(attribute(&[5, 0, 11, 0, 1], SKV6ONLY), Some(1));
        assert_eq!(
            attribute(&[5, 0, 8, 0, 7, 0, 0, 0, 5, 0, 11, 0, 1], SKV6ONLY),
            Some(1)
        );
    }
}
