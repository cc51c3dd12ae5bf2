//! Small servers that answer with the address that they saw.
//!
//! Owns the far end of every probe: what a container or the outside host is told about its peer.
//! The answer is one line, `NAME saw ADDRESS:PORT`, after a header where an HTTP client asks. A server
//! at an IPv6 address takes IPv6 alone, so that one of each family can have the same port.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Error, Namespace};

/// How long a server waits before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(50);

/// A server thread in a namespace; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Server {
    /// Starts a TCP server in `namespace`. Port 0 chooses one.
    ///
    /// # Errors
    /// When the address cannot be bound there.
    pub fn tcp(
        namespace: &Namespace,
        name: &str,
        at: impl Into<SocketAddr>,
    ) -> Result<Self, Error> {
        let at = at.into();
        let what = format!("listen on TCP {at} in {}", namespace.name());
        let listener: TcpListener = namespace
            .run(|| bound(at, Type::STREAM, Protocol::TCP))?
            .map_err(Error::io(what.as_str()))?
            .into();
        let address = listener.local_addr().map_err(Error::io(what.as_str()))?;
        // accept() honours the receive time-out.
        SockRef::from(&listener)
            .set_read_timeout(Some(PATIENCE))
            .map_err(Error::io(what))?;
        let name = name.to_owned();
        Ok(Self::start(address, move |stop| {
            while !stop.load(Ordering::Relaxed) {
                if let Ok((stream, peer)) = listener.accept() {
                    // A client that went away is its own problem.
                    let _ = answer(stream, &name, peer);
                }
            }
        }))
    }

    /// Starts a UDP server in `namespace`. Port 0 chooses one.
    ///
    /// # Errors
    /// When the address cannot be bound there.
    pub fn udp(
        namespace: &Namespace,
        name: &str,
        at: impl Into<SocketAddr>,
    ) -> Result<Self, Error> {
        let at = at.into();
        let what = format!("listen on UDP {at} in {}", namespace.name());
        let socket: UdpSocket = namespace
            .run(|| bound(at, Type::DGRAM, Protocol::UDP))?
            .map_err(Error::io(what.as_str()))?
            .into();
        let address = socket.local_addr().map_err(Error::io(what.as_str()))?;
        socket
            .set_read_timeout(Some(PATIENCE))
            .map_err(Error::io(what))?;
        let name = name.to_owned();
        Ok(Self::start(address, move |stop| {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(saw(&name, peer).as_bytes(), peer);
                }
            }
        }))
    }

    fn start(address: SocketAddr, serve: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        Self {
            stop,
            thread: Some(thread::spawn(move || serve(&theirs))),
            address,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket of one family alone, bound as std does it and, if it is TCP's, listening.
fn bound(at: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind, Some(protocol))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&at.into())?;
    if kind == Type::STREAM {
        socket.listen(128)?;
    }
    Ok(socket)
}

fn answer(mut stream: std::net::TcpStream, name: &str, peer: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    // The client speaks first, so that the handshake is complete from its side.
    let mut line = [0; 256];
    let length = stream.read(&mut line)?;
    if line[..length].starts_with(b"GET ") {
        // Somebody looks around with a web client.
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
    }
    stream.write_all(saw(name, peer).as_bytes())
}

/// The line that a server called `name` answers `peer` with.
#[must_use]
pub fn saw(name: &str, peer: SocketAddr) -> String {
    format!("{name} saw {peer}\n")
}
