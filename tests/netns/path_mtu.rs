//! The path's MTU on real sockets: a smaller uplink, a smaller route further away, what may be
//! fragmented on the way, and MTUs that no path has.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    thread,
    time::{Duration, Instant},
};

use etherparse::{SlicedPacket, TcpOptionElement, TransportSlice};
use netpath::lab::{links, probe};
use netpath_common::{
    DropReason,
    testing::{Frame, describe, error, udp},
};
use netpath_tests::{
    netns::{Namespace, within},
    probe::{at, udp_socket},
    station::{ROUTER, STRANGER, Station},
    topology::{A, HOST, OUTSIDE, UPLINK, World},
    wait,
    ways::{SERVER, Ways, Without, ip},
    wire::Wire,
};
use nix::sys::socket::{getsockopt, sockopt::IpMtu};
use socket2::SockRef;

/// For one step on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of what is narrow.
const NARROW: i32 = 1200;

fn mtu(socket: &impl AsFd) -> i32 {
    getsockopt(socket, IpMtu).unwrap()
}

/// What the kernel does about DF on packets of this socket.
fn set_discovery(socket: &UdpSocket, value: libc::c_int) {
    // SAFETY: value is a valid integer of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}

/// A network of 1,500 bytes behind an uplink of [`NARROW`], port 8080 of `a` published.
fn narrow_uplink(nat: &str) -> World {
    let world = World::new(&["a"]);
    within(&world.host, || {
        links::set_mtu(UPLINK, NARROW as u32).unwrap()
    });
    let config = nat.to_owned()
        + &world.network("bridge", "netpath0", "172.17.0.0/16", "mtu = 1500")
        + &world.endpoint("a", A, &["8080:80"]);
    world.up(&config);
    world
}

/// A server behind a router whose route to it is of [`NARROW`]; every link is wide.
fn narrow_route() -> Ways {
    let ways = Ways::new(Without::NeverStarted);
    ip(
        &ways.world.outside,
        &format!("route replace {SERVER}/32 via 203.0.113.18 mtu lock {NARROW}"),
    );
    ways.world.run(&["publish", "a", "8080:80"]);
    ways
}

/// Both ends of a connection from `client` with an address to `to`, which `server` accepts on `port`.
fn connect(
    (client, address): (&Namespace, Ipv4Addr),
    to: SocketAddrV4,
    server: &Namespace,
    port: u16,
) -> (TcpStream, TcpStream) {
    let listener = within(server, || TcpListener::bind(("0.0.0.0", port))).unwrap();
    let near = within(client, || {
        probe::tcp_connect(to, Some(at(address, 0)), PATIENCE)
    })
    .unwrap();
    SockRef::from(&listener)
        .set_read_timeout(Some(PATIENCE))
        .unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (near, far)
}

/// A megabyte from one end to the other.
fn carries(mut from: &TcpStream, mut to: &TcpStream) {
    let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut got = vec![0; sent.len()];
    thread::scope(|scope| {
        scope.spawn(|| from.write_all(&sent).unwrap());
        to.read_exact(&mut got).unwrap();
    });
    assert!(got == sent, "the content differs");
}

/// A connection out of the container and one into it: its end of either learns the MTU.
fn tcp_learns(world: &World, server: &Namespace, address: Ipv4Addr) {
    let a = world.container("a");
    let (near, far) = connect((a, A), at(address, 7100), server, 7100);
    carries(&near, &far);
    carries(&far, &near);
    assert_eq!(mtu(&near), NARROW);
    // Forgotten, so that the next one has to learn it by itself.
    ip(a, "route flush cache");
    let (near, far) = connect((server, address), at(HOST, 8080), a, 80);
    assert_eq!(mtu(&far), 1500);
    carries(&far, &near);
    carries(&near, &far);
    assert_eq!(mtu(&far), NARROW);
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

/// A UDP socket with DF learns the MTU, and what fits it arrives.
fn udp_learns(world: &World, server: &Namespace, address: Ipv4Addr) {
    let receiver = udp_socket(server, 7100, None);
    let socket = udp_socket(world.container("a"), 5000, Some(at(address, 7100)));
    set_discovery(&socket, libc::IP_PMTUDISC_DO);
    assert_eq!(mtu(&socket), 1500);
    wait::until("the container knows the path's MTU", || {
        // One that fails takes the pending ICMP error; the next one makes another.
        let _ = socket.send(&[7; 1400]);
        mtu(&socket) == NARROW
    });
    let _ = socket.take_error().unwrap();
    let fits = NARROW as usize - 28;
    assert_eq!(
        socket.send(&vec![7; fits + 1]).unwrap_err().raw_os_error(),
        Some(libc::EMSGSIZE)
    );
    socket.send(&vec![7; fits]).unwrap();
    let mut buffer = [0; 2000];
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let (got, peer) = receiver.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[..got], vec![7; fits]);
    assert_eq!(peer, at(HOST, 5000).into());
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn tcp_learns_a_smaller_uplinks() {
    let world = narrow_uplink("");
    tcp_learns(&world, &world.outside, OUTSIDE);
}

#[test]
fn udp_learns_a_smaller_uplinks() {
    let world = narrow_uplink("");
    udp_learns(&world, &world.outside, OUTSIDE);
}

#[test]
fn tcp_learns_a_routers() {
    let ways = narrow_route();
    tcp_learns(&ways.world, &ways.server, SERVER);
}

#[test]
fn udp_learns_a_routers() {
    let ways = narrow_route();
    udp_learns(&ways.world, &ways.server, SERVER);
}

/// Without DF datagrams arrive whole, in fragments of at most `largest` bytes on the last link.
fn is_fragmented(
    world: &World,
    (server, interface): (&Namespace, &str),
    address: Ipv4Addr,
    largest: usize,
) {
    let receiver = udp_socket(server, 7100, None);
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = udp_socket(world.container("a"), 5000, Some(at(address, 7100)));
    set_discovery(&socket, libc::IP_PMTUDISC_DONT);
    let wire = Wire::open(server, interface);
    let mut buffer = [0; 5000];
    // One packet of the container's, which the way splits; and fragments of its own.
    for length in [1300, 1472, 4000] {
        let sent: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        socket.send(&sent).unwrap();
        let (got, peer) = receiver
            .recv_from(&mut buffer)
            .unwrap_or_else(|e| panic!("{length} bytes: {e}, drops {:?}", world.drops()));
        assert_eq!(buffer[..got], sent);
        assert_eq!(peer, at(HOST, 5000).into());
        let mut parts = 0;
        let mut bytes = 0;
        // UDP header and content, in fragments; what else comes is of others.
        while bytes < length + 8 {
            let frame = wire.next(Instant::now() + PATIENCE).unwrap();
            if frame.bytes[12..14] != [8, 0] || frame.bytes[23] != 17 {
                continue;
            }
            assert_eq!(frame.bytes[26..30], HOST.octets(), "{}", describe(&frame));
            let total = usize::from(u16::from_be_bytes([frame.bytes[16], frame.bytes[17]]));
            assert!(total <= largest, "{total} bytes: {}", describe(&frame));
            bytes += total - 20;
            parts += 1;
        }
        assert_eq!(bytes, length + 8);
        assert!(parts >= 2, "{length} bytes came in one packet");
    }
    assert_eq!(mtu(&socket), 1500, "nobody was told");
    assert!(world.drops().is_empty(), "{:?}", world.drops());
}

#[test]
fn what_has_no_df_is_fragmented_by_the_host() {
    let world = narrow_uplink("");
    is_fragmented(&world, (&world.outside, "eth0"), OUTSIDE, NARROW as usize);
}

#[test]
fn what_has_no_df_is_fragmented_by_a_router() {
    let ways = narrow_route();
    is_fragmented(&ways.world, (&ways.server, "wan1"), SERVER, NARROW as usize);
}

/// What a router says about a live flow, in words that only a liar would use.
#[test]
fn impossible_mtus_change_nothing() {
    let world = World::with_ports(&["a"], &[]);
    let outside = Station::outside(&world);
    let socket = udp_socket(world.container("a"), 5000, Some(at(STRANGER.into(), 53)));
    set_discovery(&socket, libc::IP_PMTUDISC_DO);
    socket.send(b"question").unwrap();
    let about = udp(HOST.octets(), 5000, STRANGER, 53, b"question").dont_fragment();
    outside.find("the question", |frame| {
        frame.bytes[26..34] == about.bytes()[12..20] && frame.bytes[34..36] == 5000u16.to_be_bytes()
    });
    // The builder's MTU is of 1,300 bytes; its checksum and another MTU's differ.
    let tells = |mtu: u16| {
        let mut packet = error(ROUTER, HOST.octets(), 3, 4, &about, 8);
        packet.l4[2..4].fill(0);
        packet.l4[6..8].copy_from_slice(&mtu.to_be_bytes());
        let check = netpath::lab::ping::checksum(&packet.l4);
        packet.l4[2..4].copy_from_slice(&check.to_be_bytes());
        outside.send(&packet);
    };
    let mut dropped = 0;
    for (told, known) in [
        // No link is that narrow (RFC 791): such an error does not come in.
        (1, 1500),
        (20, 1500),
        (67, 1500),
        // More than the sender has: no news.
        (1501, 1500),
        (65_535, 1500),
        // The truth, and then what would make it larger again.
        (1400, 1400),
        (1500, 1400),
        (67, 1400),
    ] {
        tells(told);
        if told < 68 {
            dropped += 1;
            wait::until("an MTU of fewer than 68 bytes is dropped", || {
                world.dropped(DropReason::IcmpBadMtu) == dropped
            });
        }
        // A good answer behind it: what came before has been seen by the socket's stack.
        outside.send(&udp(STRANGER, 53, HOST.octets(), 5000, b"answer"));
        wait::until("the answer arrives", || {
            // An error may be pending first.
            matches!(socket.recv(&mut [0; 100]), Ok(6))
        });
        assert_eq!(mtu(&socket), known, "told {told}");
    }
    let drops: Vec<_> = world.drops().into_iter().collect();
    assert_eq!(drops, [("icmp-bad-mtu", 4)]);
}

/// The MSS in the first frame of `wire` that has these flags, from `port` or to it.
fn mss(wire: &Wire, port: u16, wanted: u8) -> u16 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let frame: Frame = wire.next(deadline).expect("a SYN");
        let Ok(packet) = SlicedPacket::from_ethernet(&frame.bytes) else {
            continue;
        };
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
            continue;
        };
        let ours = tcp.source_port() == port || tcp.destination_port() == port;
        if !ours || tcp.slice()[13] != wanted {
            continue;
        }
        return tcp
            .options_iterator()
            .find_map(|option| match option {
                Ok(TcpOptionElement::MaximumSegmentSize(mss)) => Some(mss),
                Ok(_) | Err(_) => None,
            })
            .expect("a SYN with an MSS");
    }
}

/// The MSS that each end sees of the other behind a narrow uplink: of a connection out, of one in.
fn mss_seen(nat: &str) -> [u16; 4] {
    const SYN: u8 = 0x02;
    const SYN_ACK: u8 = 0x12;
    let world = narrow_uplink(nat);
    let a = world.container("a");
    let (inside, outside) = (Wire::open(a, "eth0"), Wire::open(&world.outside, "eth0"));
    let (near, far) = connect((a, A), at(OUTSIDE, 7100), &world.outside, 7100);
    let (client, server) = connect((&world.outside, OUTSIDE), at(HOST, 8080), a, 80);
    let out = [mss(&outside, 7100, SYN), mss(&inside, 7100, SYN_ACK)];
    let inward = [mss(&inside, 80, SYN), mss(&outside, 8080, SYN_ACK)];
    // Not before: what the container learns of the path lowers the MSS that it offers.
    carries(&near, &far);
    carries(&server, &client);
    assert!(world.drops().is_empty(), "{:?}", world.drops());
    [out, inward].concat().try_into().unwrap()
}

#[test]
fn the_mss_is_lowered_where_wanted() {
    let narrow = NARROW as u16 - 40;
    assert_eq!(mss_seen("[nat]\nmss_clamp = \"auto\"\n"), [narrow; 4]);
}

#[test]
fn the_mss_is_left_alone_otherwise() {
    assert_eq!(mss_seen(""), [1460; 4]);
    assert_eq!(mss_seen("[nat]\nmss_clamp = \"off\"\n"), [1460; 4]);
}
