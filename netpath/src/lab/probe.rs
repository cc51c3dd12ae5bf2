//! Probes: one question to a server, with a deadline.
//!
//! Owns the near end of TCP and UDP questions of both families from the namespace of the calling
//! thread; `ping` and `ping6` have ICMP and `frame` forged packets.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

/// How long a probe that ought to succeed may take.
pub const SOON: Duration = Duration::from_secs(1);
/// How long a probe that ought to fail waits before its silence counts.
pub const BRIEFLY: Duration = Duration::from_millis(250);

/// What a probe got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The server's line, without its end.
    pub text: String,
    /// The peer as the client sees it: `getpeername`, or the source of the datagram.
    pub peer: SocketAddr,
    /// The client's own address.
    pub local: SocketAddr,
}

impl Answer {
    /// The IPv4 address and port that the server says it saw.
    #[must_use]
    pub fn seen(&self) -> Option<SocketAddrV4> {
        match self.client()? {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        }
    }

    /// The address of either family and the port that the server says it saw.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        self.text
            .split_once(" saw ")
            .and_then(|(_, address)| address.parse().ok())
    }

    /// Whether the server called `name` answered and saw a client at `address`.
    #[must_use]
    pub fn is_from(&self, name: &str, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.text.starts_with(&format!("{name} saw "))
            && self.client().is_some_and(|seen| seen.ip() == address)
    }
}

/// Asks a TCP server, from `from` if that is given.
///
/// # Errors
/// What the socket says: refused, timed out, unreachable.
pub fn tcp<T: Into<SocketAddr>>(to: T, from: Option<T>, within: Duration) -> io::Result<Answer> {
    let mut stream = tcp_connect(to, from, within)?;
    stream.write_all(b"who am I?\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(Answer {
        text: text.trim_end().to_owned(),
        peer: stream.peer_addr()?,
        local: stream.local_addr()?,
    })
}

/// Opens a TCP connection with the same deadline for connecting, reading and writing.
///
/// # Errors
/// What the socket says.
pub fn tcp_connect<T: Into<SocketAddr>>(
    to: T,
    from: Option<T>,
    within: Duration,
) -> io::Result<TcpStream> {
    let to = to.into();
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(from) = from {
        socket.set_reuse_address(true)?;
        socket.bind(&from.into().into())?;
    }
    socket.connect_timeout(&to.into(), within)?;
    socket.set_read_timeout(Some(within))?;
    socket.set_write_timeout(Some(within))?;
    Ok(socket.into())
}

/// Asks a UDP server over a connected socket.
///
/// # Errors
/// What the socket says: refused (an ICMP error came back), or no answer in time.
pub fn udp<T: Into<SocketAddr>>(to: T, from: Option<T>, within: Duration) -> io::Result<Answer> {
    let to = to.into();
    let socket = UdpSocket::bind(from.map_or_else(|| any(to), Into::into))?;
    socket.connect(to)?;
    udp_again(&socket, within)
}

/// Any address of the family of `to`, and any port.
fn any(to: SocketAddr) -> SocketAddr {
    let address = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}

/// Asks once more over a connected socket.
///
/// # Errors
/// As [`udp`].
pub fn udp_again(socket: &UdpSocket, within: Duration) -> io::Result<Answer> {
    socket.set_read_timeout(Some(within))?;
    socket.send(b"who am I?\n")?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    Ok(Answer {
        text: String::from_utf8_lossy(&buffer[..length])
            .trim_end()
            .to_owned(),
        peer: socket.peer_addr()?,
        local: socket.local_addr()?,
    })
}

/// Asks a UDP server over a socket that is not connected; the peer is the answer's source.
///
/// # Errors
/// When no answer came in time.
pub fn udp_unconnected(to: impl Into<SocketAddr>, within: Duration) -> io::Result<Answer> {
    let to = to.into();
    let socket = UdpSocket::bind(any(to))?;
    socket.set_read_timeout(Some(within))?;
    socket.send_to(b"who am I?\n", to)?;
    let mut buffer = [0; 2048];
    let (length, peer) = socket.recv_from(&mut buffer)?;
    Ok(Answer {
        text: String::from_utf8_lossy(&buffer[..length])
            .trim_end()
            .to_owned(),
        peer,
        local: socket.local_addr()?,
    })
}

/// The words for how a probe ended.
#[must_use]
pub fn outcome(result: &io::Result<Answer>) -> String {
    match result {
        Ok(answer) => answer.text.clone(),
        Err(error) => silence(error),
    }
}

/// The words for a probe that got no answer.
#[must_use]
pub fn silence(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        "connection refused".to_owned()
    } else if kind == io::ErrorKind::TimedOut || kind == io::ErrorKind::WouldBlock {
        "no answer".to_owned()
    } else {
        error.to_string()
    }
}

/// Asks `check` until it has an answer or the time is over.
///
/// # Errors
/// The first one of `check`.
pub fn until<T, E>(
    within: Duration,
    mut check: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = check()? {
            return Ok(Some(found));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}
