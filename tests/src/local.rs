//! Clients and binders on the host itself, of either family.
//!
//! Owns sockets with the options that make a difference to host-local access. Other clients are
//! [`crate::probe`]'s.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use netpath::lab::probe::Answer;
use nix::sys::socket::{
    setsockopt,
    sockopt::{Ipv4RecvErr, Ipv6RecvErr},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::{Namespace, within};

/// How a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A TCP connection.
    Tcp,
    /// A connected UDP socket.
    Udp,
    /// An unconnected UDP socket.
    UdpUnconnected,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::UdpUnconnected];

    fn open(self, domain: Domain) -> io::Result<Socket> {
        match self {
            Self::Tcp => Socket::new(domain, Type::STREAM, Some(Protocol::TCP)),
            Self::Udp | Self::UdpUnconnected => {
                Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
            }
        }
    }
}

/// A client of the host.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// How it asks.
    pub kind: Kind,
    /// It sets `IPV6_V6ONLY`.
    pub only6: bool,
    /// It is bound to this address first.
    pub bound: Option<IpAddr>,
    /// It is bound to this port first; 0 for whichever the kernel chooses.
    pub port: u16,
    /// It hears of ICMP errors, also where it is not connected (`IP_RECVERR`).
    pub hears_errors: bool,
    /// How long it waits.
    pub within: Duration,
}

impl Client {
    /// A client without options.
    #[must_use]
    pub const fn new(kind: Kind, within: Duration) -> Self {
        Self {
            kind,
            only6: false,
            bound: None,
            port: 0,
            hears_errors: false,
            within,
        }
    }

    /// Asks a server and shows what it was told, and what the kernel shows of both ends.
    ///
    /// # Errors
    /// What the socket says.
    pub fn ask(self, from: &Namespace, to: SocketAddr) -> io::Result<Answer> {
        within(from, || self.ask_here(to))
    }

    /// Opens a TCP connection.
    ///
    /// # Errors
    /// What the socket says.
    pub fn connect(self, from: &Namespace, to: SocketAddr) -> io::Result<TcpStream> {
        within(from, || self.connect_here(to))
    }

    fn connect_here(self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.open(to)?;
        socket.connect_timeout(&to.into(), self.within)?;
        Ok(socket.into())
    }

    fn open(self, to: SocketAddr) -> io::Result<Socket> {
        let socket = self.kind.open(Domain::for_address(to))?;
        if self.only6 {
            socket.set_only_v6(true)?;
        }
        if self.hears_errors {
            match to {
                SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvErr, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvErr, &true)?,
            }
        }
        if self.bound.is_some() || self.port != 0 {
            let any = match to {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let addr = self.bound.unwrap_or(any);
            socket.bind(&SocketAddr::new(addr, self.port).into())?;
        }
        socket.set_read_timeout(Some(self.within))?;
        socket.set_write_timeout(Some(self.within))?;
        Ok(socket)
    }

    fn ask_here(self, to: SocketAddr) -> io::Result<Answer> {
        match self.kind {
            Kind::Tcp => {
                let mut stream = self.connect_here(to)?;
                stream.write_all(b"who am I?\n")?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
                Ok(answer(&text, peer, local))
            }
            Kind::Udp => {
                let socket = self.open(to)?;
                socket.connect(&to.into())?;
                let socket = UdpSocket::from(socket);
                socket.send(b"who am I?\n")?;
                let (mut buffer, local) = ([0; 2048], socket.local_addr()?);
                // On a connected socket too, the source is what the kernel found in the datagram.
                let (length, peer) = socket.recv_from(&mut buffer)?;
                assert_eq!(peer, socket.peer_addr()?, "recvfrom and getpeername");
                Ok(answer(
                    &String::from_utf8_lossy(&buffer[..length]),
                    peer,
                    local,
                ))
            }
            Kind::UdpUnconnected => {
                let socket = UdpSocket::from(self.open(to)?);
                socket.send_to(b"who am I?\n", to)?;
                let mut buffer = [0; 2048];
                let (length, peer) = socket.recv_from(&mut buffer)?;
                let local = socket.local_addr()?;
                Ok(answer(
                    &String::from_utf8_lossy(&buffer[..length]),
                    peer,
                    local,
                ))
            }
        }
    }
}

fn answer(text: &str, peer: SocketAddr, local: SocketAddr) -> Answer {
    Answer {
        text: text.trim_end().to_owned(),
        peer,
        local,
    }
}

/// The address that a server of this name says it saw; IPv4 as such also on its IPv6 socket.
///
/// # Panics
/// When it is another server, or none.
#[track_caller]
#[must_use]
pub fn seen_by(name: &str, answer: &Answer) -> IpAddr {
    let seen = answer.text.strip_prefix(&format!("{name} saw "));
    let seen = seen.and_then(|seen| seen.parse::<SocketAddr>().ok());
    let seen = seen.unwrap_or_else(|| panic!("`{}` is not from {name}", answer.text));
    seen.ip().to_canonical()
}

/// What a bind is made with.
#[derive(Clone, Copy, Default, Debug)]
pub struct Binding {
    /// Sets `IPV6_V6ONLY`.
    pub only6: bool,
    /// Sets `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// Sets `SO_REUSEPORT`.
    pub reuse_port: bool,
}

/// Binds a socket in `namespace`, and listens if it is TCP.
///
/// # Errors
/// What bind(2) or listen(2) says.
pub fn bind(
    namespace: &Namespace,
    kind: Kind,
    at: SocketAddr,
    options: Binding,
) -> io::Result<Socket> {
    within(namespace, || {
        let socket = kind.open(Domain::for_address(at))?;
        if at.is_ipv6() {
            socket.set_only_v6(options.only6)?;
        }
        socket.set_reuse_address(options.reuse_address)?;
        socket.set_reuse_port(options.reuse_port)?;
        socket.bind(&at.into())?;
        if kind == Kind::Tcp {
            socket.listen(8)?;
        }
        Ok(socket)
    })
}
