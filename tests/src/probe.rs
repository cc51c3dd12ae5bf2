//! Questions and answers through the datapath.
//!
//! Owns what the tests need beyond [`netpath::lab::probe`]: running a probe in a namespace, bulk
//! transfer with its content checked, and checksum counters.

use std::{
    fs,
    io::{self, Read, Write},
    net::{
        Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream,
        UdpSocket,
    },
    thread,
    time::Duration,
};

pub use netpath::lab::{
    frame,
    ping::{Options, Reply},
    probe::{Answer, BRIEFLY, SOON},
    server::Server,
};
use netpath::lab::{ping, ping6, probe};

use crate::netns::{Namespace, within};

/// `address:port`.
#[must_use]
pub const fn at(address: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(address, port)
}

/// `[address]:port`.
#[must_use]
pub const fn at6(address: Ipv6Addr, port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(address, port, 0, 0)
}

/// A TCP server on every IPv6 address of `namespace`; one of IPv4 may have the same port.
///
/// # Panics
/// When the port is taken.
#[track_caller]
#[must_use]
pub fn tcp_server6(namespace: &Namespace, name: &str, port: u16) -> Server {
    Server::tcp(namespace, name, at6(Ipv6Addr::UNSPECIFIED, port)).unwrap()
}

/// A UDP server on every IPv6 address of `namespace`; one of IPv4 may have the same port.
///
/// # Panics
/// When the port is taken.
#[track_caller]
#[must_use]
pub fn udp_server6(namespace: &Namespace, name: &str, port: u16) -> Server {
    Server::udp(namespace, name, at6(Ipv6Addr::UNSPECIFIED, port)).unwrap()
}

/// A TCP server on every IPv4 address of `namespace`.
///
/// # Panics
/// When the port is taken.
#[track_caller]
#[must_use]
pub fn tcp_server(namespace: &Namespace, name: &str, port: u16) -> Server {
    Server::tcp(namespace, name, at(Ipv4Addr::UNSPECIFIED, port)).unwrap()
}

/// A UDP server on every IPv4 address of `namespace`.
///
/// # Panics
/// When the port is taken.
#[track_caller]
#[must_use]
pub fn udp_server(namespace: &Namespace, name: &str, port: u16) -> Server {
    Server::udp(namespace, name, at(Ipv4Addr::UNSPECIFIED, port)).unwrap()
}

/// Asks by TCP and wants an answer.
///
/// # Panics
/// When there is none.
#[track_caller]
#[must_use]
pub fn tcp(from: &Namespace, to: impl Into<SocketAddr>) -> Answer {
    let to = to.into();
    within(from, || probe::tcp(to, None, SOON))
        .unwrap_or_else(|error| panic!("TCP from {} to {to}: {error}", from.name()))
}

/// Asks by UDP over a connected socket and wants an answer.
///
/// # Panics
/// When there is none.
#[track_caller]
#[must_use]
pub fn udp(from: &Namespace, to: impl Into<SocketAddr>) -> Answer {
    let to = to.into();
    within(from, || probe::udp(to, None, SOON))
        .unwrap_or_else(|error| panic!("UDP from {} to {to}: {error}", from.name()))
}

/// Asks by TCP and wants failure of this kind.
///
/// # Panics
/// When there is an answer, or another failure.
#[track_caller]
pub fn tcp_fails(from: &Namespace, to: impl Into<SocketAddr>, kind: io::ErrorKind) {
    let to = to.into();
    match within(from, || probe::tcp(to, None, BRIEFLY)) {
        Ok(answer) => panic!("TCP from {} to {to} got `{}`", from.name(), answer.text),
        Err(error) => assert_eq!(error.kind(), kind, "TCP from {} to {to}", from.name()),
    }
}

/// Asks by UDP and wants silence.
///
/// # Panics
/// When there is an answer.
#[track_caller]
pub fn udp_silent(from: &Namespace, to: impl Into<SocketAddr>) {
    let to = to.into();
    match within(from, || probe::udp(to, None, BRIEFLY)) {
        Ok(answer) => panic!("UDP from {} to {to} got `{}`", from.name(), answer.text),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "UDP to {to}"),
    }
}

/// Pings and wants something back, be it an error.
///
/// # Panics
/// When nothing comes back.
#[track_caller]
#[must_use]
pub fn ping(from: &Namespace, to: Ipv4Addr, options: Options) -> Reply {
    within(from, || ping::ping(to, options))
        .unwrap_or_else(|error| panic!("ping from {} to {to}: {error}", from.name()))
}

/// Whether a ping gets its echo soon.
#[must_use]
pub fn pings(from: &Namespace, to: Ipv4Addr, within_time: Duration) -> bool {
    let options = Options {
        within: within_time,
        ..Options::default()
    };
    within(from, || ping::ping(to, options)).is_ok_and(|reply| reply.is_echo_of(to))
}

/// Pings by IPv6 and wants something back, be it an error.
///
/// # Panics
/// When nothing comes back.
#[track_caller]
#[must_use]
pub fn ping6(from: &Namespace, to: Ipv6Addr, options: Options) -> Reply<Ipv6Addr> {
    within(from, || ping6::ping6(to, 0, options))
        .unwrap_or_else(|error| panic!("ping from {} to {to}: {error}", from.name()))
}

/// Whether a ping by IPv6 gets its echo soon.
#[must_use]
pub fn pings6(from: &Namespace, to: Ipv6Addr, within_time: Duration) -> bool {
    let options = Options {
        within: within_time,
        ..Options::default()
    };
    within(from, || ping6::ping6(to, 0, options)).is_ok_and(|reply| reply.is_echo_of(to))
}

/// A UDP socket of IPv4 in `namespace`, bound to `local` and connected to `to`, with a deadline.
///
/// # Panics
/// When it cannot be made.
#[track_caller]
#[must_use]
pub fn udp_socket(namespace: &Namespace, local: u16, to: Option<SocketAddrV4>) -> UdpSocket {
    socket_at(namespace, every(false, local), to.map(Into::into))
}

/// The same of IPv6.
///
/// # Panics
/// When it cannot be made.
#[track_caller]
#[must_use]
pub fn udp_socket6(namespace: &Namespace, local: u16, to: Option<SocketAddrV6>) -> UdpSocket {
    socket_at(namespace, every(true, local), to.map(Into::into))
}

#[track_caller]
fn socket_at(namespace: &Namespace, local: SocketAddr, to: Option<SocketAddr>) -> UdpSocket {
    within(namespace, || {
        let socket = UdpSocket::bind(local).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        if let Some(to) = to {
            socket.connect(to).unwrap();
        }
        socket
    })
}

/// Every address of one family.
fn every(ipv6: bool, port: u16) -> SocketAddr {
    if ipv6 {
        at6(Ipv6Addr::UNSPECIFIED, port).into()
    } else {
        at(Ipv4Addr::UNSPECIFIED, port).into()
    }
}

/// Sends `length` bytes in each direction at once over a connection from `client` to `to`, which
/// `server` accepts on `port`, and checks every byte.
///
/// # Panics
/// When the connection breaks or a byte differs.
#[track_caller]
pub fn transfer(
    client: &Namespace,
    to: impl Into<SocketAddr>,
    server: &Namespace,
    port: u16,
    length: usize,
) {
    let to = to.into();
    let connect = || within(client, || probe::tcp_connect(to, None, SOON)).unwrap();
    transfer_over(connect, to.is_ipv6(), server, port, length);
}

/// The same over a connection that `connect` opens, to a server of IPv6 or not.
///
/// # Panics
/// As [`transfer`].
#[track_caller]
pub fn transfer_over(
    connect: impl FnOnce() -> TcpStream,
    is_ipv6: bool,
    server: &Namespace,
    port: u16,
    length: usize,
) {
    let listener = within(server, || TcpListener::bind(every(is_ipv6, port)).unwrap());
    let accepted = thread::spawn(move || both_ways(listener.accept().unwrap().0, 2, 1, length));
    both_ways(connect(), 1, 2, length);
    accepted.join().unwrap();
}

fn both_ways(stream: TcpStream, own_seed: u64, their_seed: u64, length: usize) {
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        for (_, chunk) in chunks(own_seed, length) {
            writer.write_all(&chunk).unwrap();
        }
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut reader = stream;
    for (offset, wanted) in chunks(their_seed, length) {
        let mut got = vec![0; wanted.len()];
        reader.read_exact(&mut got).unwrap();
        assert!(
            got == wanted,
            "content differs in the chunk at byte {offset}"
        );
    }
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "more than was sent");
    sending.join().unwrap();
}

/// `length` bytes that look random, in chunks with their offsets; the same for the same seed.
fn chunks(seed: u64, length: usize) -> impl Iterator<Item = (usize, Vec<u8>)> {
    const CHUNK: usize = 64 * 1024;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length).step_by(CHUNK).map(move |offset| {
        let mut chunk = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.extend(state.to_le_bytes());
        }
        chunk.truncate(CHUNK.min(length - offset));
        (offset, chunk)
    })
}

/// Checksum errors that `namespace`'s stack has counted: IP, TCP, UDP and ICMP of both families
/// together.
///
/// # Panics
/// When the counters cannot be read.
#[must_use]
pub fn checksum_errors(namespace: &Namespace) -> u64 {
    let read = |path| within(namespace, || fs::read_to_string(path));
    let text = read("/proc/thread-self/net/snmp").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut errors = 0;
    // Pairs of lines: names, then values.
    for pair in lines.chunks_exact(2) {
        for (name, value) in pair[0].split_whitespace().zip(pair[1].split_whitespace()) {
            if name == "InCsumErrors" {
                errors += value.parse::<u64>().unwrap();
            }
        }
    }
    // Lines of one name and one value. TCP counts both families above.
    for line in read("/proc/thread-self/net/snmp6").unwrap().lines() {
        let (name, value) = line.split_once(char::is_whitespace).unwrap();
        if name.ends_with("InCsumErrors") {
            errors += value.trim().parse::<u64>().unwrap();
        }
    }
    errors
}
