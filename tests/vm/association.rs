//! SCTP sockets of the kernel, one to one (RFC 6458, 4).
//!
//! Owns opening and closing them, what is sent over an association, and the kernel's own judgement of the
//! checksums.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::Duration,
};

use netpath_tests::{
    netns::{Namespace, within},
    skip,
};
use socket2::{Domain, Protocol, Socket, Type};

const SCTP: i32 = 132;
/// How long anything may take on a machine that is emulated.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the kernel has no SCTP; then the caller returns, and the skip is on record.
pub(crate) fn missing() -> bool {
    let Err(error) = open(Domain::IPV4) else {
        return false;
    };
    skip::record(&format!("the kernel has no SCTP: {error}"));
    true
}

fn open(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::from(SCTP)))?;
    if domain == Domain::IPV6 {
        // Or the association is told of the addresses of IPv4 as well.
        socket.set_only_v6(true)?;
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Listens at an address of `namespace`.
#[track_caller]
pub(crate) fn listen(namespace: &Namespace, at: SocketAddr) -> Socket {
    within(namespace, || {
        let socket = open(Domain::for_address(at)).unwrap();
        // The end of an association that has just been shut down may still have the port.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&at.into()).unwrap();
        socket.listen(8).unwrap();
        socket
    })
}

/// Opens an association from `from`, port and all, as far as `to` answers in time.
pub(crate) fn connect(
    namespace: &Namespace,
    from: SocketAddr,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<Socket> {
    within(namespace, || {
        let socket = open(Domain::for_address(to))?;
        socket.bind(&from.into())?;
        socket.connect_timeout(&to.into(), patience)?;
        Ok(socket)
    })
}

/// Both ends of one association, and who the listener says has opened it.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) client: Socket,
    pub(crate) server: Socket,
    pub(crate) seen: SocketAddr,
}

impl Association {
    /// Opens it from `from` in `namespace` to `to`, where `listener` is.
    #[track_caller]
    pub(crate) fn open(
        namespace: &Namespace,
        from: SocketAddr,
        to: SocketAddr,
        listener: &Socket,
    ) -> Self {
        let client = connect(namespace, from, to, PATIENCE)
            .unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
        let (server, seen) = listener.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            client,
            server,
            seen: seen.as_socket().unwrap(),
        }
    }

    /// Messages in both directions at once: small ones, ones that are more than a packet, and so many
    /// that they are sent by the window.
    #[track_caller]
    pub(crate) fn talk(&self) {
        thread::scope(|scope| {
            for (from, to, seed) in [
                (&self.client, &self.server, 1),
                (&self.server, &self.client, 101),
            ] {
                scope.spawn(move || messages(seed).for_each(|m| send(from, &m)));
                scope.spawn(move || messages(seed).for_each(|m| receive(to, &m)));
            }
        });
    }

    /// The client ends it in good order, and both ends hear of it.
    #[track_caller]
    pub(crate) fn shut_down(self) {
        self.client.shutdown(std::net::Shutdown::Write).unwrap();
        ended(&self.server);
        ended(&self.client);
    }
}

/// Demands that nothing more comes, which is not the end by an ABORT. Where the association is gone
/// already the socket is not connected any more.
#[track_caller]
fn ended(mut socket: &Socket) {
    match socket.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
        other => panic!("{other:?} instead of the end"),
    }
}

fn messages(seed: u8) -> impl Iterator<Item = Vec<u8>> {
    let sizes = [1, 1400, 1500, 30_000].into_iter();
    let sizes = sizes.chain(std::iter::repeat_n(4000, 60));
    sizes.zip(seed..).map(|(size, n)| vec![n; size])
}

fn send(mut socket: &Socket, message: &[u8]) {
    assert_eq!(socket.write(message).unwrap(), message.len());
}

/// A message may come in pieces, but never two at once.
fn receive(mut socket: &Socket, message: &[u8]) {
    let mut got = Vec::new();
    while got.len() < message.len() {
        let mut buffer = vec![0; 65_536];
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0, "it ended after {} bytes", got.len());
        got.extend_from_slice(&buffer[..length]);
    }
    assert!(got == message, "{} and {} bytes", got.len(), message.len());
}

/// How many packets of SCTP the stack of `namespace` has dropped for their CRC32c.
#[track_caller]
pub(crate) fn checksum_errors(namespace: &Namespace) -> u64 {
    let text = within(namespace, || {
        fs::read_to_string("/proc/thread-self/net/sctp/snmp").unwrap()
    });
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        (name == "SctpChecksumErrors").then(|| value.trim().parse().unwrap())
    });
    value.unwrap()
}

/// Demands that the kernel looks at checksums at all: a parameter of its SCTP can switch that off.
#[track_caller]
pub(crate) fn assert_checksums_count() {
    let path = "/sys/module/sctp/parameters/no_checksums";
    assert_eq!(fs::read_to_string(path).unwrap().trim(), "N");
}

/// Sends an INIT whose CRC32c is wrong.
#[track_caller]
pub(crate) fn send_broken(namespace: &Namespace, from: u16, to: SocketAddr) {
    let mut packet = Vec::new();
    packet.extend(from.to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    // No verification tag; the CRC; INIT with its tag, window, streams and first number.
    packet.extend([0, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 20]);
    packet.extend([0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    within(namespace, || {
        let domain = Domain::for_address(to);
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(SCTP))).unwrap();
        let to = SocketAddr::new(to.ip(), 0);
        assert_eq!(socket.send_to(&packet, &to.into()).unwrap(), packet.len());
    });
}
