//! What dockerd runs for each port of the host beside its rules.
//!
//! Owns a stand-in for docker-proxy, which takes what the rules leave and asks the container by itself;
//! and the sockets that only hold the ports where there is no proxy, and answer nothing.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use netpath_tests::{
    dual_stack::HOST6,
    local::{Binding, Kind, bind},
    netns::within,
    reachability::networks::{Network, Proxy, Published},
    topology::{HOST, World},
};
use socket2::{SockFilter, SockRef, Socket};

use super::site::{inside, place, port};

/// How long a stand-in waits before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long it waits for a container or a client.
const SOON: Duration = Duration::from_secs(2);

/// All ports of the host, held until this is dropped.
pub(crate) struct Ports {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    held: Vec<Socket>,
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Takes the ports as dockerd does: those of translated networks.
pub(crate) fn take(world: &World, proxy: Proxy) -> Ports {
    let mut ports = Ports {
        stop: Arc::default(),
        threads: Vec::new(),
        held: Vec::new(),
    };
    let published = Published::ALL.into_iter().filter(|p| *p != Published::Not);
    let published: Vec<_> = published.collect();
    for network in [Network::Nat, Network::IccOff] {
        let (v4, v6) = (place(network).v4(2), place(network).v6(2));
        for published in &published {
            let (port, inside) = (port(network, *published), inside(network, *published));
            let [any, host, loopback]: [[IpAddr; 2]; 3] = [
                [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
                [HOST.into(), HOST6.into()],
                [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            ];
            let is_local = *published == Published::Loopback;
            let wide = if is_local { loopback } else { any };
            // docker-proxy answers from the address that was asked: a socket for each does as well.
            let each: Vec<_> = if is_local {
                loopback.to_vec()
            } else {
                [host, loopback].concat()
            };
            for (kind, addresses) in [(Kind::Tcp, wide.to_vec()), (Kind::Udp, each)] {
                for address in addresses {
                    let options = Binding {
                        only6: true,
                        reuse_address: kind == Kind::Tcp,
                        ..Binding::default()
                    };
                    let at = SocketAddr::new(address, port);
                    let socket = bind(&world.host, kind, at, options).unwrap();
                    let to = match address {
                        IpAddr::V4(_) => SocketAddr::new(v4.into(), inside),
                        IpAddr::V6(_) => SocketAddr::new(v6.into(), inside),
                    };
                    match proxy {
                        Proxy::On => ports.lead(world, kind, socket, to),
                        Proxy::Off => ports.hold(socket),
                    }
                }
            }
        }
    }
    ports
}

impl Ports {
    /// Its thread is one of the host's namespace, like the one that starts it, and so are its sockets.
    fn lead(&mut self, world: &World, kind: Kind, socket: Socket, to: SocketAddr) {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let stop = Arc::clone(&self.stop);
        let thread = within(&world.host, || {
            thread::spawn(move || match kind {
                Kind::Tcp => lead_connections(&socket.into(), to, &stop),
                Kind::Udp | Kind::UdpUnconnected => lead_datagrams(&socket.into(), to, &stop),
            })
        });
        self.threads.push(thread);
    }

    /// A program of one instruction takes none of any packet, so nobody is answered, by a reset either.
    fn hold(&mut self, socket: Socket) {
        let drop_all = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
        socket.attach_filter(&[drop_all]).unwrap();
        self.held.push(socket);
    }
}

fn lead_connections(listener: &TcpListener, to: SocketAddr, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            continue;
        };
        // A client that went away is its own problem.
        thread::spawn(move || lead_connection(&client, to));
    }
}

fn lead_connection(client: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let container = TcpStream::connect_timeout(&to, SOON)?;
    for end in [client, &container] {
        SockRef::from(end).set_read_timeout(Some(SOON))?;
    }
    thread::scope(|scope| {
        scope.spawn(|| pass(client, &container));
        pass(&container, client)
    })
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.flush()?;
    to.shutdown(Shutdown::Write)
}

fn lead_datagrams(socket: &UdpSocket, to: SocketAddr, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Ok(answer) = ask(to, &buffer[..length]) {
            let _ = socket.send_to(&answer, client);
        }
    }
}

fn ask(to: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(SOON))?;
    socket.connect(to)?;
    socket.send(question)?;
    let mut buffer = vec![0; 2048];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}
