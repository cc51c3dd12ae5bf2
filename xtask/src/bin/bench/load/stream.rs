//! Load on one long-lived TCP connection: one byte there and back, or a stream one way.
//!
//! Owns the two conversations. In both a byte of its own ends a slice, so that nothing is in flight
//! between two slices.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddrV4, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::SockRef;

use super::{Clock, GO, Half, PATIENCE, STOP, Seen, check_source, connect, during};
use crate::worker::Worker;

/// What the sender hands to the kernel at once.
const CHUNK: usize = 64 * 1024;

/// Payload of a full segment at an MTU of 1500: 20 bytes of IPv4, 20 of TCP, 12 of timestamps.
const SEGMENT: u64 = 1448;

/// Connects client and server.
pub(super) fn open(
    client: &Worker,
    server: &Worker,
    target: SocketAddrV4,
    bind: SocketAddrV4,
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

fn dial(target: SocketAddrV4) -> io::Result<TcpStream> {
    prepare(TcpStream::connect_timeout(&target.into(), PATIENCE)?)
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

/// A stream, until the time is over. Its last byte ends the slice.
pub(super) fn pour(mut stream: &TcpStream, span: Duration) -> io::Result<Half> {
    let mut chunk = vec![GO; CHUNK];
    let clock = Clock::start();
    let mut chunks = 0;
    loop {
        let over = clock.elapsed() >= span;
        if let (true, Some(last)) = (over, chunk.last_mut()) {
            *last = STOP;
        }
        stream
            .write_all(&chunk)
            .map_err(during("sending a stream"))?;
        chunks += 1;
        if over {
            return Ok(clock.stop(chunks * CHUNK as u64 / SEGMENT));
        }
    }
}

/// Takes a stream in. The byte that ends it is the last of what is there to be read: the sender
/// sends nothing behind it.
pub(super) fn drain(mut stream: &TcpStream) -> io::Result<Half> {
    let mut buffer = vec![GO; 4 * CHUNK];
    let clock = Clock::start();
    let mut bytes = 0;
    loop {
        let read = stream
            .read(&mut buffer)
            .map_err(during("waiting for the stream"))?;
        bytes += read as u64;
        match buffer.get(..read).and_then(<[u8]>::last) {
            Some(&STOP) => return Ok(clock.stop(bytes / SEGMENT)),
            Some(_) => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
