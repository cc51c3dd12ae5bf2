//! Sockets of the host that listen: ports that cannot be published.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use super::{Error, sock_diag};
use crate::config::Protocol;

/// A socket that would take a published port's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Protocol.
    pub proto: Protocol,
    /// Address; unspecified for any.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
    /// Of the unspecified IPv6 address: only IPv6 comes to it (`IPV6_V6ONLY`), not IPv4 as well.
    pub only6: bool,
}

/// The TCP sockets of the current network namespace that listen, or are bound to a port and do not
/// (Linux 6.8), and the unconnected UDP sockets.
///
/// # Errors
/// The kernel tells sockets neither by netlink nor in `/proc`.
pub fn listeners() -> Result<Vec<Listener>, Error> {
    let ask = |proto: Protocol, states: u32| {
        let bound = sock_diag::bound(proto.number(), states)?;
        Ok::<_, io::Error>(bound.into_iter().map(move |b| Listener {
            proto,
            addr: b.addr,
            port: b.port,
            only6: b.only6,
        }))
    };
    let tcp = ask(Protocol::Tcp, sock_diag::LISTEN | sock_diag::BOUND);
    let udp = ask(Protocol::Udp, sock_diag::CLOSE);
    match tcp.and_then(|tcp| Ok(tcp.chain(udp?).collect())) {
        Ok(all) => Ok(all),
        // A kernel built without it still has the files, which do not tell `IPV6_V6ONLY`.
        Err(e) => {
            tracing::debug!("reading /proc/net instead of asking for sockets: {e}");
            each_socket(parse)
        }
    }
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
    let word = |at: usize| {
        let word = u32::from_str_radix(addr.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let addr = match addr.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            // An IPv4 address on an IPv6 socket is one.
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(Listener {
        proto,
        addr,
        port,
        only6: false,
    })
}

#[cfg(test)]
mod tests {
    use netpath_common::tuple::UDP;

    use super::*;

    #[test]
    fn lines_of_proc() {
        let tcp = |line| parse(line, Protocol::Tcp).map(|l| (l.addr.to_string(), l.port));
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000";
        assert_eq!(tcp(listening), Some(("127.0.0.1".into(), 8080)));
        assert_eq!(tcp("   1: 0100007F:1F90 0200007F:0001 01 0"), None);
        assert_eq!(tcp("  sl  local_address rem_address   st tx_queue"), None);
        let any6 = "   0: 00000000000000000000000000000000:0050 0:0 0A 0";
        assert_eq!(tcp(any6), Some(("::".into(), 80)));
        let mapped = "   0: 0000000000000000FFFF00000100007F:0050 0:0 0A 0";
        assert_eq!(tcp(mapped), Some(("127.0.0.1".into(), 80)));
        let local6 = "   0: 00000000000000000000000001000000:0050 0:0 0A 0";
        assert_eq!(tcp(local6), Some(("::1".into(), 80)));
    }

    #[test]
    fn every_socket_has_a_port() {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, 9)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(local_ports().unwrap().contains(&(UDP, port)));
    }

    #[test]
    fn real_sockets_are_seen_with_their_options() {
        use socket2::{Domain, Socket, Type};

        let bind = |domain, kind, addr: &str, only6: bool| {
            let socket = Socket::new(domain, kind, None).unwrap();
            if domain == Domain::IPV6 {
                socket.set_only_v6(only6).unwrap();
            }
            let addr: std::net::SocketAddr = addr.parse().unwrap();
            socket.bind(&addr.into()).unwrap();
            if kind == Type::STREAM {
                socket.listen(1).unwrap();
            }
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            (socket, port)
        };
        let sockets = [
            (Domain::IPV4, Type::STREAM, "127.0.0.1:0", false),
            (Domain::IPV6, Type::STREAM, "[::]:0", true),
            (Domain::IPV6, Type::STREAM, "[::]:0", false),
            (Domain::IPV6, Type::DGRAM, "[::1]:0", true),
            (Domain::IPV6, Type::DGRAM, "[::ffff:127.0.0.1]:0", false),
        ];
        let bound: Vec<_> = sockets
            .iter()
            .map(|(domain, kind, addr, only6)| bind(*domain, *kind, addr, *only6))
            .collect();
        let found = listeners().unwrap();
        for ((_, kind, addr, only6), (_, port)) in sockets.iter().zip(&bound) {
            let addr: std::net::SocketAddr = addr.parse().unwrap();
            let proto = if *kind == Type::STREAM {
                Protocol::Tcp
            } else {
                Protocol::Udp
            };
            let want = Listener {
                proto,
                addr: addr.ip().to_canonical(),
                port: *port,
                only6: *only6,
            };
            assert!(found.contains(&want), "{want:?} not in {found:?}");
        }
    }
}
