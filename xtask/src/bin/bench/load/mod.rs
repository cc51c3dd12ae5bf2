//! The load: who talks to whom, and one slice of it.
//!
//! Owns the opening of sockets, with the check of what each side sees of the other, and the slice
//! that all kinds of load share. What is said is `udp`'s, `stream`'s and `connect`'s business.
//!
//! Everything happens on one CPU, and sockets stay open between slices. Where one asks and the
//! other answers, client and server are two threads, as in life. What goes one way is sent and
//! taken in by one thread: which of two would run when is the scheduler's choice, and costs more
//! than the differences that are looked for.

mod connect;
mod stream;
mod udp;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    args::Measure,
    cpu::{self, Cpu},
    family::Family,
    site::Site,
    variant::{CONTAINER_PORT, OUTSIDE_PORT},
    worker::{Pending, Worker},
};

/// A peer that stays silent this long is lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// The byte of every operation.
const GO: u8 = 0;
/// The byte that ends a slice.
const STOP: u8 = 1;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Small datagrams one way.
    Udp,
    /// One byte there and back on one connection.
    Rr,
    /// A connection for each byte there and back.
    Crr,
    /// A stream one way.
    Bulk,
}

/// Who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The outside host, to the published port.
    In,
    /// The container, to the outside host.
    Out,
}

impl Measure {
    /// What it sends.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::UdpIn | Self::UdpOut => Kind::Udp,
            Self::RrIn | Self::RrOut => Kind::Rr,
            Self::CrrIn | Self::CrrOut => Kind::Crr,
            Self::BulkIn | Self::BulkOut => Kind::Bulk,
        }
    }

    /// Who begins.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::UdpIn | Self::RrIn | Self::CrrIn | Self::BulkIn => Direction::In,
            Self::UdpOut | Self::RrOut | Self::CrrOut | Self::BulkOut => Direction::Out,
        }
    }

    /// What an operation is, for people.
    pub(crate) fn unit(self) -> &'static str {
        match self.kind() {
            Kind::Udp => "packets/s",
            Kind::Rr => "transactions/s",
            Kind::Crr => "connections/s",
            Kind::Bulk => "segments/s",
        }
    }
}

/// The addresses that a server may see its client at.
type Seen = RangeInclusive<IpAddr>;

/// What one thread did in a slice.
#[derive(Clone, Copy, Debug)]
struct Half {
    /// Operations.
    count: u64,
    /// When it began.
    start: Instant,
    /// When it ended.
    end: Instant,
    /// CPU time.
    cpu: Duration,
}

/// What one thread did that served both ends.
#[derive(Clone, Copy, Debug)]
struct Passed {
    /// The sending half.
    sent: Half,
    /// Operations that came to their end.
    received: u64,
}

/// The beginning of one.
struct Clock {
    start: Instant,
    cpu: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            cpu: cpu::of_thread(),
            start: Instant::now(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn stop(&self, count: u64) -> Half {
        Half {
            count,
            start: self.start,
            end: Instant::now(),
            cpu: cpu::of_thread().saturating_sub(self.cpu),
        }
    }

    fn passed(&self, sent: u64, received: u64) -> Passed {
        Passed {
            sent: self.stop(sent),
            received,
        }
    }
}

/// What a slice gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Operations that were completed.
    pub(crate) operations: u64,
    /// Operations that were begun and not completed.
    pub(crate) lost: u64,
    /// From the first to the last.
    pub(crate) elapsed: Duration,
    /// CPU time of all that had part in it.
    pub(crate) cpu: Duration,
}

/// Open sockets of one site for one measure.
pub(crate) struct Session {
    sockets: Sockets,
}

enum Sockets {
    Udp(Arc<UdpSocket>, Arc<UdpSocket>),
    Rr(Arc<TcpStream>, Arc<TcpStream>),
    Crr(Arc<connect::Tuples>, Arc<TcpListener>, Seen),
    Bulk(Arc<TcpStream>, Arc<TcpStream>, usize),
}

impl Session {
    /// Opens them, and checks that each side sees of the other what the variant promises.
    pub(crate) fn open(site: &Site, measure: Measure) -> Result<Self> {
        let direction = measure.direction();
        let (client, server) = sides(site, direction);
        let (target, port) = match direction {
            Direction::In => (site.published(), CONTAINER_PORT),
            Direction::Out => (site.outside_service(), OUTSIDE_PORT),
        };
        let seen = expected_source(site, direction);
        let bind = match (direction, measure.kind()) {
            // The outside host has several addresses, and a datagram of any would be from whichever the
            // kernel likes best (RFC 6724).
            (Direction::Out, Kind::Udp) => target,
            (Direction::In | Direction::Out, _) => SocketAddr::new(site.family.any(), port),
        };
        Self::between(
            measure.kind(),
            Some(direction),
            client,
            server,
            target,
            bind,
            seen,
        )
    }

    /// Opens them between two threads: the server binds to `bind`, which is reached as `target`,
    /// and has to see the client as `seen`. Without a direction, new connections come from and go
    /// to one address.
    pub(crate) fn between(
        kind: Kind,
        direction: Option<Direction>,
        client: &Worker,
        server: &Worker,
        target: SocketAddr,
        bind: SocketAddr,
        seen: Seen,
    ) -> Result<Self> {
        let sockets = match kind {
            Kind::Udp => {
                let (client, server) = udp::open(client, server, target, bind, seen)?;
                Sockets::Udp(client, server)
            }
            Kind::Rr => {
                let (client, server) = stream::open(client, server, target, bind, seen)?;
                Sockets::Rr(client, server)
            }
            Kind::Bulk => {
                let (client, server) = stream::open(client, server, target, bind, seen)?;
                Sockets::Bulk(client, server, Family::of(target).segment())
            }
            Kind::Crr => {
                let tuples = Arc::new(connect::Tuples::new(direction, target));
                Sockets::Crr(tuples, connect::listen(server, bind)?, seen)
            }
        };
        Ok(Self { sockets })
    }

    /// Puts the site under load for a while.
    pub(crate) fn slice(
        &self,
        site: &Site,
        direction: Direction,
        cpu: &Cpu,
        span: Duration,
    ) -> Result<Outcome> {
        let (client, server) = sides(site, direction);
        self.run(client, server, cpu, span)
    }

    /// The same between the two threads that it was opened for.
    pub(crate) fn run(
        &self,
        client: &Worker,
        server: &Worker,
        cpu: &Cpu,
        span: Duration,
    ) -> Result<Outcome> {
        let before = cpu.softirq_thread()?;
        let (sent, received) = match &self.sockets {
            Sockets::Udp(from, to) => {
                let (from, to) = (from.clone(), to.clone());
                one(client.begin(move || udp::pass(&from, &to, span)))?
            }
            Sockets::Bulk(from, to, segment) => {
                let (from, to, segment) = (from.clone(), to.clone(), *segment);
                one(client.begin(move || stream::pass(&from, &to, segment, span)))?
            }
            // The server first: it has to be there when the client begins.
            Sockets::Rr(from, to) => {
                let (from, to) = (from.clone(), to.clone());
                let received = server.begin(move || stream::answer(&to));
                let sent = client.begin(move || stream::ask(&from, span));
                two(sent, received)?
            }
            Sockets::Crr(tuples, listener, seen) => {
                let (tuples, listener, seen) = (tuples.clone(), listener.clone(), seen.clone());
                let received = server.begin(move || connect::accept(&listener, &seen));
                let sent = client.begin(move || connect::connect(&tuples, span));
                two(sent, received)?
            }
        };
        ensure!(received > 0, "nothing arrived");
        ensure!(
            received <= sent.count,
            "{} operations were begun, {received} arrived",
            sent.count
        );
        let softirq = cpu.softirq_thread()?.saturating_sub(before);
        Ok(Outcome {
            operations: received,
            lost: sent.count - received,
            elapsed: sent.end.duration_since(sent.start),
            cpu: sent.cpu + softirq,
        })
    }
}

/// The result of a thread that served both ends.
fn one(passed: Pending<io::Result<Passed>>) -> Result<(Half, u64)> {
    let Passed { sent, received } = passed.wait()?.context("the load failed")?;
    Ok((sent, received))
}

/// The results of client and server: the client's, with the CPU time of both, and what the server
/// has answered. Both are waited for, whatever becomes of either.
fn two(
    sent: Pending<io::Result<Half>>,
    received: Pending<io::Result<Half>>,
) -> Result<(Half, u64)> {
    match (sent.wait()?, received.wait()?) {
        (Ok(sent), Ok(received)) => {
            let cpu = sent.cpu + received.cpu;
            Ok((Half { cpu, ..sent }, received.count))
        }
        (Err(client), Ok(_)) => bail!("the client failed: {client}"),
        (Ok(_), Err(server)) => bail!("the server failed: {server}"),
        // The one fails for the other's sake.
        (Err(client), Err(server)) => {
            bail!("the server failed: {server}; the client failed: {client}")
        }
    }
}

/// Client and server of a direction.
fn sides(site: &Site, direction: Direction) -> (&Worker, &Worker) {
    match direction {
        Direction::In => (&site.outside, &site.container),
        Direction::Out => (&site.container, &site.outside),
    }
}

/// The addresses that the server may see.
fn expected_source(site: &Site, direction: Direction) -> Seen {
    let family = site.family;
    match direction {
        Direction::In => family.outside_range(),
        Direction::Out if site.variant.translates() => family.host()..=family.host(),
        Direction::Out => family.container()..=family.container(),
    }
}

/// Fails where the server sees another client than the variant promises.
fn check_source(found: SocketAddr, wanted: &Seen) -> io::Result<()> {
    if wanted.contains(&found.ip()) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the server sees the client as {found}, expected is {}: no translation, or a wrong one",
        wanted.start()
    )))
}

/// Says during what an error came.
fn during<E: Into<io::Error>>(what: &str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error: io::Error = error.into();
        io::Error::new(error.kind(), format!("{what}: {error}"))
    }
}
