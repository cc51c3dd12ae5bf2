//! New connections: one for each byte there and back.
//!
//! Owns the conversation, and which addresses and ports it is held between. The client closes first
//! and waits for the server's close, so that every packet of a connection is over when the next one
//! begins. See `site` for where its port goes.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::SockRef;

use super::{Clock, Direction, GO, Half, PATIENCE, STOP, Seen, check_source, during};
use crate::{family::Family, worker::Worker};

/// The client's first port: beyond all published ones.
const FIRST_PORT: u32 = 20_000;
/// How many it uses.
const PORTS: u32 = 40_000;

/// What the connections of one session run between.
///
/// Translators keep a closed connection for two minutes, and one that comes again meanwhile finds
/// its old entry, which is a case of its own. So none comes again: the client takes one port after
/// the other, and when they are used up the outside host's next address. That lasts for 320,000
/// connections, more than two minutes of turns.
pub(super) struct Tuples {
    /// `None`: only the client's ports change.
    direction: Option<Direction>,
    target: SocketAddr,
    outside: Vec<IpAddr>,
    next: AtomicU32,
}

impl Tuples {
    /// From the first one on.
    pub(super) fn new(direction: Option<Direction>, target: SocketAddr) -> Self {
        Self {
            direction,
            target,
            outside: Family::of(target).outside_all(),
            next: AtomicU32::new(0),
        }
    }

    /// Where the next connection comes from and where it goes.
    fn next(&self) -> (SocketAddr, SocketAddr) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let any = Family::of(self.target).any();
        let turn = (number / PORTS) as usize;
        let mut outside = self
            .outside
            .iter()
            .cycle()
            .skip(turn % self.outside.len().max(1));
        let outside = outside.next().copied().unwrap_or(any);
        // Below 60,000.
        let port = (FIRST_PORT + number % PORTS) as u16;
        match self.direction {
            Some(Direction::In) => (SocketAddr::new(outside, port), self.target),
            Some(Direction::Out) => (
                SocketAddr::new(any, port),
                SocketAddr::new(outside, self.target.port()),
            ),
            None => (SocketAddr::new(any, port), self.target),
        }
    }
}

/// Listens in the server's namespace.
pub(super) fn listen(server: &Worker, bind: SocketAddr) -> Result<Arc<TcpListener>> {
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
pub(super) fn connect(tuples: &Tuples, span: Duration) -> io::Result<Half> {
    let clock = Clock::start();
    let mut count = 0;
    while clock.elapsed() < span {
        visit(tuples.next(), GO)?;
        count += 1;
    }
    let half = clock.stop(count);
    visit(tuples.next(), STOP)?;
    Ok(half)
}

/// One connection.
fn visit((from, to): (SocketAddr, SocketAddr), byte: u8) -> io::Result<()> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(to),
        socket2::Type::STREAM,
        None,
    )?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Bounds the wait for the handshake too.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.bind(&from.into()).map_err(during("binding"))?;
    socket.connect(&to.into()).map_err(during("connecting"))?;
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
pub(super) fn accept(listener: &TcpListener, seen: &Seen) -> io::Result<Half> {
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_connection_comes_again_for_long() {
        let directions = [Direction::In, Direction::Out];
        let families = [Family::V4, Family::V6];
        let cases = directions
            .into_iter()
            .flat_map(|it| families.map(|family| (it, family)));
        for (direction, family) in cases {
            let target = SocketAddr::new(family.outside(), 7000);
            let tuples = Tuples::new(Some(direction), target);
            let all: HashSet<_> = (0..320_000).map(|_| tuples.next()).collect();
            assert_eq!(all.len(), 320_000);
            assert!(all.contains(&tuples.next()), "begins again");
        }
    }
}
