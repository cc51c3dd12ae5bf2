//! Traffic that goes on while the network changes, and the time until it flows again.
//!
//! Owns the clients: each keeps one flow and begins new ones, on every processor in turn, since what
//! a datapath remembers per processor has to be renewed on each.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket},
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use netpath::lab::{ping, probe};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    netns::{Namespace, within},
    probe::{Answer, SOON, at},
    wait,
    ways::Without,
};

/// How long traffic may be lost after a change.
pub const LIMIT: Duration = Duration::from_secs(2);

/// How long one question waits for its answer while traffic may be lost.
const PATIENCE: Duration = Duration::from_millis(20);
/// Between two rounds of questions.
const PACE: Duration = Duration::from_millis(10);
/// Rounds that have to succeed once traffic flows again.
const STEADY: usize = 5;

/// Somebody who asks, and who has to answer how.
#[derive(Debug)]
pub struct Client<'n> {
    namespace: &'n Namespace,
    to: SocketAddrV4,
    source: Ipv4Addr,
    server: &'static str,
    flow: UdpSocket,
    /// An ICMP flow: a socket that keeps its identifier.
    echo: Option<Socket>,
    tcp: bool,
}

impl<'n> Client<'n> {
    /// One that asks `to` by UDP, from `source`; `server` has to answer.
    ///
    /// # Panics
    /// When its socket cannot be made.
    #[must_use]
    pub fn udp(
        namespace: &'n Namespace,
        source: Ipv4Addr,
        to: SocketAddrV4,
        server: &'static str,
    ) -> Self {
        Self {
            namespace,
            to,
            source,
            server,
            flow: within(namespace, || udp_socket(at(source, 0), to)).unwrap(),
            echo: None,
            tcp: false,
        }
    }

    /// One that asks by UDP and new TCP connections.
    ///
    /// # Panics
    /// When its socket cannot be made.
    #[must_use]
    pub fn udp_and_tcp(
        namespace: &'n Namespace,
        source: Ipv4Addr,
        to: SocketAddrV4,
        server: &'static str,
    ) -> Self {
        Self {
            tcp: true,
            ..Self::udp(namespace, source, to, server)
        }
    }

    /// One that asks by UDP, new TCP connections and ping.
    ///
    /// # Panics
    /// When its sockets cannot be made.
    #[must_use]
    pub fn all(
        namespace: &'n Namespace,
        source: Ipv4Addr,
        to: SocketAddrV4,
        server: &'static str,
    ) -> Self {
        let echo = within(namespace, || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4))?;
            socket.connect(&SocketAddrV4::new(*to.ip(), 0).into())?;
            Ok::<_, io::Error>(socket)
        });
        Self {
            echo: Some(echo.unwrap()),
            ..Self::udp_and_tcp(namespace, source, to, server)
        }
    }

    /// The source of a new flow: a port that no flow has had lately. The kernel's choice may be one
    /// that has, and then the flow is not new.
    fn fresh(&self) -> SocketAddrV4 {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        at(self.source, 10_000 + turn % 20_000)
    }

    /// One round of questions on `cpu`; what failed, in words. `sees`: the address that the server
    /// has to see.
    fn round(&self, cpu: usize, sees: Ipv4Addr, patience: Duration) -> String {
        within(self.namespace, || {
            pin(cpu);
            let mut failed = String::new();
            let mut check = |what: &str, result: io::Result<Answer>| match result {
                Ok(answer) if answer.is_from(self.server, sees) => {}
                Ok(answer) => {
                    let _ = write!(failed, "{what} on cpu {cpu}: `{}`; ", answer.text);
                }
                Err(error) => {
                    let _ = write!(failed, "{what} on cpu {cpu}: {error}; ");
                }
            };
            let name = |kind: &str| format!("{kind} from {}", self.namespace.name());
            check(&name("UDP flow"), ask_again(&self.flow, patience));
            let fresh = udp_socket(self.fresh(), self.to).unwrap();
            check(&name("new UDP flow"), ask_again(&fresh, patience));
            if self.tcp {
                let from = self.fresh();
                check(
                    &name("new TCP connection"),
                    probe::tcp(self.to, Some(from), patience),
                );
            }
            if let Some(socket) = &self.echo {
                if let Err(error) = echo(socket, patience) {
                    let _ = write!(failed, "ICMP flow on cpu {cpu}: {error}; ");
                }
                let options = ping::Options {
                    within: patience,
                    ..ping::Options::default()
                };
                match ping::ping(*self.to.ip(), options) {
                    Ok(reply) if reply.is_echo_of(*self.to.ip()) => {}
                    Ok(reply) => {
                        let _ = write!(failed, "new ping on cpu {cpu}: {reply:?}; ");
                    }
                    Err(error) => {
                        let _ = write!(failed, "new ping on cpu {cpu}: {error}; ");
                    }
                }
            }
            failed
        })
    }
}

/// A TCP connection that lasts, to a server that echoes.
#[derive(Debug)]
pub struct Connection(TcpStream);

impl Connection {
    /// Opens it.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn open(namespace: &Namespace, to: SocketAddrV4) -> Self {
        Self(within(namespace, || probe::tcp_connect(to, None, SOON)).unwrap())
    }

    /// Sends `length` bytes and has them back, however often they have to be sent again: the
    /// connection's own timer decides when that is.
    ///
    /// # Panics
    /// When they do not come back in time, or other bytes do.
    #[track_caller]
    pub fn echoes(&mut self, length: usize) {
        self.0.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        let sent: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        let mut writer = self.0.try_clone().unwrap();
        let mut got = vec![0; length];
        let result = thread::scope(|scope| {
            scope.spawn(|| writer.write_all(&sent));
            self.0.read_exact(&mut got)
        });
        if let Err(error) = result {
            panic!("{length} bytes over an established connection: {error}");
        }
        assert!(got == sent, "the connection's content differs");
    }
}

/// Plays a scenario without an agent, at once with one that was killed and with none ever.
pub fn without_agent(scenario: impl Fn(Without) + Sync) {
    thread::scope(|scope| {
        let scenario = &scenario;
        let other = scope.spawn(move || scenario(Without::NeverStarted));
        scenario(Without::Killed);
        if let Err(panic) = other.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Everything flows, on every processor.
///
/// # Panics
/// When something does not.
#[track_caller]
pub fn flows(clients: &[Client<'_>], sees: Ipv4Addr) {
    for _ in 0..STEADY {
        let failed = all(clients, sees, SOON);
        assert!(failed.is_empty(), "{failed}");
    }
}

/// Asks at a steady pace until everything is answered on every processor, from then on without a
/// loss. The result is the time since the change at `since`.
///
/// # Panics
/// When that is more than `limit`.
#[track_caller]
pub fn recovers(
    since: Instant,
    limit: Duration,
    clients: &[Client<'_>],
    sees: Ipv4Addr,
) -> Duration {
    loop {
        let failed = all(clients, sees, PATIENCE);
        let elapsed = since.elapsed();
        assert!(elapsed <= limit, "after {elapsed:?}: {failed}");
        if failed.is_empty() {
            flows(clients, sees);
            return elapsed;
        }
        thread::sleep(PACE);
    }
}

fn all(clients: &[Client<'_>], sees: Ipv4Addr, patience: Duration) -> String {
    let cpus = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count())
        .filter(|cpu| cpus.is_set(*cpu).unwrap())
        .flat_map(|cpu| clients.iter().map(move |c| c.round(cpu, sees, patience)))
        .collect()
}

/// The calling thread runs on `cpu`, and with it what the kernel does with the packets it sends.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

fn udp_socket(source: SocketAddrV4, to: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(source)?;
    socket.connect(to)?;
    Ok(socket)
}

/// Asks over a flow that may still have late answers and errors waiting.
fn ask_again(socket: &UdpSocket, patience: Duration) -> io::Result<Answer> {
    socket.set_nonblocking(true)?;
    let late = |result: io::Result<usize>| {
        result.map_or_else(|e| e.kind() != io::ErrorKind::WouldBlock, |_| true)
    };
    while late(socket.recv(&mut [0; 2048])) {}
    socket.set_nonblocking(false)?;
    probe::udp_again(socket, patience)
}

/// Sends an echo request and waits for its own reply: those of earlier ones may come late.
fn echo(socket: &Socket, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
    let mut request = [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    request[8..].copy_from_slice(&nonce.to_be_bytes());
    socket.send(&request)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        socket.set_read_timeout(Some(left))?;
        let mut reply = [0; 64];
        let length = (&*socket).read(&mut reply)?;
        if length == request.len() && reply[0] == 0 && reply[8..16] == request[8..16] {
            return Ok(());
        }
    }
}

/// Tells echo requests apart.
static NONCE: AtomicU64 = AtomicU64::new(0);
