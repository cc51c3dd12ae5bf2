//! Load on one long-lived TCP connection: one byte there and back, or a stream one way.
//!
//! Owns the two conversations. After neither anything is in flight between two slices: a byte of
//! its own ends the first, and of the second one thread serves both ends, and takes in all that it
//! has sent.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socket2::{Domain, SockRef, Socket, Type};

use super::{Clock, GO, Half, PATIENCE, Passed, STOP, Seen, check_source, connect, during};
use crate::{family::Family, worker::Worker};

/// Full segments that the sender hands to the kernel at once: about as many as segmentation offload
/// would take together.
const CHUNK: usize = 44;

/// The first of the ports that these connections come from: beyond those of [`connect::Tuples`] and
/// those that the kernel chooses.
const OWN_PORTS: u16 = 61_000;

/// Connects client and server.
pub(super) fn open(
    client: &Worker,
    server: &Worker,
    target: SocketAddr,
    bind: SocketAddr,
    seen: Seen,
) -> Result<(Arc<TcpStream>, Arc<TcpStream>)> {
    let listener = connect::listen(server, bind)?;
    let accepted = server.begin(move || accept(&listener, &seen));
    let connected = client.call(move || dial(target))?;
    let accepted = accepted.wait()?;
    let connected = connected.with_context(|| format!("cannot connect to {target}"))?;
    Ok((
        Arc::new(connected),
        Arc::new(accepted.context("cannot accept")?),
    ))
}

fn accept(listener: &TcpListener, seen: &Seen) -> io::Result<TcpStream> {
    let (stream, peer) = listener.accept()?;
    check_source(peer, seen)?;
    prepare(stream)
}

/// From a port that no connection of [`connect::Tuples`] has had, nor an earlier one of these: the
/// translator's entry of that would be taken up again, and no new flow come by.
fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    static DIALLED: AtomicU16 = AtomicU16::new(0);
    let port = OWN_PORTS + DIALLED.fetch_add(1, Ordering::Relaxed) % (u16::MAX - OWN_PORTS);
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    let any = SocketAddr::new(Family::of(target).any(), port);
    socket.bind(&any.into())?;
    socket.connect_timeout(&target.into(), PATIENCE)?;
    prepare(socket.into())
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One byte there and back, until the time is over.
pub(super) fn ask(mut stream: &TcpStream, span: Duration) -> io::Result<Half> {
    let mut round_trip = |mut byte: [u8; 1]| {
        stream.write_all(&byte).map_err(during("sending a byte"))?;
        stream
            .read_exact(&mut byte)
            .map_err(during("waiting for the byte to come back"))
    };
    let clock = Clock::start();
    let mut count = 0;
    while clock.elapsed() < span {
        round_trip([GO])?;
        count += 1;
    }
    let half = clock.stop(count);
    round_trip([STOP])?;
    Ok(half)
}

/// Sends each byte back.
pub(super) fn answer(mut stream: &TcpStream) -> io::Result<Half> {
    let clock = Clock::start();
    let mut count = 0;
    let mut byte = [GO];
    loop {
        stream
            .read_exact(&mut byte)
            .map_err(during("waiting for a byte"))?;
        // The last one is not counted, nor is its time.
        let half = (byte == [STOP]).then(|| clock.stop(count));
        stream
            .write_all(&byte)
            .map_err(during("sending a byte back"))?;
        if let Some(half) = half {
            return Ok(half);
        }
        count += 1;
    }
}

/// A stream, chunk by chunk, until the time is over. `segment`: payload of a full one, bytes.
pub(super) fn pass(
    from: &TcpStream,
    to: &TcpStream,
    segment: usize,
    span: Duration,
) -> io::Result<Passed> {
    let chunk = vec![GO; CHUNK * segment];
    let mut buffer = chunk.clone();
    from.set_nonblocking(true)?;
    to.set_nonblocking(true)?;
    let clock = Clock::start();
    let mut chunks = 0;
    while clock.elapsed() < span {
        move_chunk(from, to, &chunk, &mut buffer)?;
        chunks += 1;
    }
    let segments = chunks * CHUNK as u64;
    Ok(clock.passed(segments, segments))
}

/// Sends a chunk and takes it in. The window may not have room for all of it at once.
fn move_chunk(
    mut from: &TcpStream,
    mut to: &TcpStream,
    chunk: &[u8],
    buffer: &mut [u8],
) -> io::Result<()> {
    let (mut sent, mut received) = (0, 0);
    let mut silent = None;
    while received < chunk.len() {
        let out = chunk.get(sent..).unwrap_or_default();
        let more = if out.is_empty() {
            0
        } else {
            now(from.write(out)).map_err(during("sending a stream"))?
        };
        sent += more;
        let taken = now(to.read(buffer)).map_err(during("taking a stream in"))?;
        received += taken;
        if more + taken > 0 {
            silent = None;
            continue;
        }
        let since: &mut Instant = silent.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{received} of {sent} bytes of a stream have come, and no more"),
            ));
        }
        // Still in a software interrupt's queue: its thread gets the CPU by this.
        thread::yield_now();
    }
    Ok(())
}

/// What could be done now; nothing where that would have to wait.
fn now(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}
