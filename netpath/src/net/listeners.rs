//! Sockets of the host that listen: ports that cannot be published.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use super::Error;
use crate::config::Protocol;

/// A socket that would take a published port's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Protocol.
    pub proto: Protocol,
    /// Address; unspecified for any. One of any IPv6 address takes IPv4 as well.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
}

/// The listening TCP and unconnected UDP sockets of the current network namespace.
///
/// # Errors
/// `/proc` is not there.
pub fn listeners() -> Result<Vec<Listener>, Error> {
    each_socket(parse)
}

/// Protocols and ports of every socket of the current network namespace, whatever its state.
///
/// # Errors
/// `/proc` is not there.
pub fn local_ports() -> Result<BTreeSet<(u8, u16)>, Error> {
    let port = |line: &str, proto: Protocol| {
        let local = line.split_whitespace().nth(1)?;
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        Some((proto.number(), port))
    };
    Ok(each_socket(port)?.into_iter().collect())
}

/// What `parse` makes of the lines of all sockets.
fn each_socket<T>(parse: impl Fn(&str, Protocol) -> Option<T>) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    for (name, proto) in [
        ("tcp", Protocol::Tcp),
        ("tcp6", Protocol::Tcp),
        ("udp", Protocol::Udp),
        ("udp6", Protocol::Udp),
    ] {
        let path: PathBuf = Path::new("/proc/thread-self/net").join(name);
        match fs::read_to_string(&path) {
            Ok(text) => all.extend(text.lines().filter_map(|line| parse(line, proto))),
            // Without IPv6 in the kernel there is no tcp6.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Sockets { path, source }),
        }
    }
    Ok(all)
}

/// One line of `/proc/net/tcp` or its siblings: `sl local_address rem_address st …`, the address
/// as 32-bit words in the machine's byte order.
fn parse(line: &str, proto: Protocol) -> Option<Listener> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
    // TCP_LISTEN, and TCP_CLOSE as which an unconnected UDP socket is shown.
    let listening = match proto {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
        // Not in these files.
        Protocol::Sctp => return None,
    };
    let (addr, port) = local.split_once(':').filter(|_| state == listening)?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |hex: &str| {
        u32::from_str_radix(hex, 16)
            .ok()
            .map(|w| Ipv4Addr::from(w.to_ne_bytes()))
    };
    let addr = match addr.len() {
        8 => IpAddr::from(word(addr)?),
        // ::ffff:a.b.c.d, an IPv4 address on an IPv6 socket.
        32 if addr.get(..24)? == "0000000000000000FFFF0000" => word(addr.get(24..)?)?.into(),
        32 => {
            let mut all = [0; 16];
            for (i, bytes) in all.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(addr.get(8 * i..8 * i + 8)?)?.octets());
            }
            Ipv6Addr::from(all).into()
        }
        _ => return None,
    };
    Some(Listener { proto, addr, port })
}

#[cfg(test)]
mod tests {
    use netpath_common::tuple::UDP;

    use super::*;

    #[test]
    fn lines_of_proc() {
        let tcp = |line| parse(line, Protocol::Tcp);
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000";
        assert_eq!(
            tcp(listening),
            Some(Listener {
                proto: Protocol::Tcp,
                addr: Ipv4Addr::LOCALHOST.into(),
                port: 8080
            })
        );
        assert_eq!(tcp("   1: 0100007F:1F90 0200007F:0001 01 0"), None);
        assert_eq!(tcp("  sl  local_address rem_address   st tx_queue"), None);
        let any6 = "   0: 00000000000000000000000000000000:0050 0:0 0A 0";
        assert_eq!(
            tcp(any6).map(|l| (l.addr, l.port)),
            Some((Ipv6Addr::UNSPECIFIED.into(), 80))
        );
        let mapped = "   0: 0000000000000000FFFF00000100007F:0050 0:0 0A 0";
        assert_eq!(
            tcp(mapped).map(|l| l.addr),
            Some(Ipv4Addr::LOCALHOST.into())
        );
        let local6 = "   0: 00000000000000000000000001000000:0050 0:0 0A 0";
        assert_eq!(
            tcp(local6).map(|l| l.addr),
            Some(Ipv6Addr::LOCALHOST.into())
        );
    }

    #[test]
    fn every_socket_has_a_port() {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, 9)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(local_ports().unwrap().contains(&(UDP, port)));
    }

    #[test]
    fn a_real_listener_is_seen() {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listeners().unwrap();
        assert!(
            found
                .iter()
                .any(|l| l.port == port && l.addr == Ipv4Addr::LOCALHOST)
        );
    }
}
