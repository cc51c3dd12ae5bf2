//! New connections: one for each byte there and back.
//!
//! Owns the conversation. The client closes first and waits for the server's close, so that every
//! packet of a connection is over when the next one begins. See `site` for where its port goes.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::SockRef;

use super::{Clock, GO, Half, PATIENCE, STOP, check_source, during};
use crate::worker::Worker;

/// Listens in the server's namespace.
pub(super) fn listen(server: &Worker, bind: SocketAddrV4) -> Result<Arc<TcpListener>> {
    let listener = server.call(move || {
        let listener = TcpListener::bind(bind)?;
        // Accepting waits no longer than reading; what is accepted inherits it.
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
        io::Result::Ok(listener)
    })?;
    Ok(Arc::new(listener.with_context(|| {
        format!("cannot listen on port {}", bind.port())
    })?))
}

/// Connects over and over, until the time is over.
pub(super) fn connect(target: SocketAddrV4, span: Duration) -> io::Result<Half> {
    let clock = Clock::start();
    let mut count = 0;
    while clock.elapsed() < span {
        visit(target, GO)?;
        count += 1;
    }
    let half = clock.stop(count);
    visit(target, STOP)?;
    Ok(half)
}

/// One connection.
fn visit(target: SocketAddrV4, byte: u8) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Bounds the wait for the handshake too.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket
        .connect(&target.into())
        .map_err(during("connecting"))?;
    let mut stream = TcpStream::from(socket);
    stream
        .write_all(&[byte])
        .map_err(during("sending a byte"))?;
    let mut back = [!byte];
    stream
        .read_exact(&mut back)
        .map_err(during("waiting for the byte to come back"))?;
    stream
        .shutdown(Shutdown::Write)
        .map_err(during("closing"))?;
    end(&mut stream)
}

/// Accepts until the byte comes that ends the slice.
pub(super) fn accept(listener: &TcpListener, seen: Ipv4Addr) -> io::Result<Half> {
    let clock = Clock::start();
    let mut count = 0;
    loop {
        let (mut stream, peer) = listener
            .accept()
            .map_err(during("waiting for a connection"))?;
        check_source(peer, seen)?;
        let mut byte = [GO];
        stream
            .read_exact(&mut byte)
            .map_err(during("waiting for a byte"))?;
        // The last one is not counted, nor is its time.
        let half = (byte == [STOP]).then(|| clock.stop(count));
        stream
            .write_all(&byte)
            .map_err(during("sending a byte back"))?;
        end(&mut stream)?;
        if let Some(half) = half {
            return Ok(half);
        }
        count += 1;
    }
}

/// Waits for the other side to close.
fn end(stream: &mut TcpStream) -> io::Result<()> {
    match stream
        .read(&mut [0])
        .map_err(during("waiting for the other side to close"))?
    {
        0 => Ok(()),
        _ => Err(io::Error::other("more came than was asked for")),
    }
}
