//! Packets of every size through a tunnel: its MTU, fragments, and super-packets.

use std::{
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
};

use netpath_common::{
    DropReason,
    testing::{self, Datagram},
};
use netpath_tests::{
    dual_stack::A6,
    netns::{Namespace, within},
    probe::{BRIEFLY, at, at6, udp_socket, udp_socket6},
    topology::A,
    tunnel::{FAR, Kind, MTU, NEAR, NEAR6, Site, TUNNEL, sockets_in, sockets_out},
    wait,
    ways::ip,
};
use socket2::{Domain, Protocol, Socket, Type};

#[test]
fn bulk_with_offloads() {
    let site = Site::plain();
    site.transfers(5_000_000);
    site.loses_nothing();
}

#[test]
fn bulk_without_offloads_of_the_tunnel() {
    let site = Site::new(Kind::PlainTun, "", "");
    site.works();
    site.transfers(5_000_000);
    site.loses_nothing();
}

/// What the kernel of a socket knows of its path.
fn path_mtu(socket: &UdpSocket, ipv6: bool) -> u32 {
    let (level, name) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU)
    };
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let (to, len) = ((&raw mut value).cast(), &raw mut length);
    // SAFETY: value and length are valid for the integer that the options write.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, to, len) };
    assert_eq!(result, 0);
    value.unsigned_abs()
}

/// A sender behind a wider link learns of the tunnel: out of it, and answering into it.
#[test]
fn the_tunnels_mtu_is_learnt() {
    let site = Site::new(Kind::Tun, "", "mtu = 1500");
    let receivers = [
        udp_socket(site.far(), 7000, None),
        udp_socket6(site.far(), 7001, None),
    ];
    let [four, _] = sockets_out(site.a(), 7000);
    let [_, six] = sockets_out(site.a(), 7001);
    for (ipv6, sender, receiver) in [(false, four, &receivers[0]), (true, six, &receivers[1])] {
        assert_eq!(path_mtu(&sender, ipv6), 1500);
        sender.send(&[7; 1440]).unwrap();
        wait::until("the container knows", || path_mtu(&sender, ipv6) == MTU);
        let _ = sender.take_error();
        let fits = 1420 - 8 - if ipv6 { 40 } else { 20 };
        sender.send(&vec![8; fits]).unwrap();
        let got = receiver.recv(&mut [0; 2000]).unwrap();
        assert_eq!(got, fits, "IPv6: {ipv6}");
    }
    // TCP finds out by itself, also where the far end has asked.
    site.transfers(1_000_000);
    site.loses_nothing();
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[test]
fn large_datagrams_pass_in_fragments() {
    let site = Site::new(Kind::Tun, "", "mtu = 1500");
    // They serve both families.
    let inside = udp_socket6(site.a(), 53, None);
    let outside = udp_socket6(site.far(), 7000, None);
    let mut buffer = vec![0; 10_000];
    let out = sockets_out(site.a(), 7000).map(|client| (client, &outside));
    let inward = sockets_in(site.far()).map(|client| (client, &inside));
    for (client, server) in out.into_iter().chain(inward) {
        for length in [4000, 1421, 8000] {
            let sent = payload(length);
            // The first one of IPv6 is lost: its fragments are too large for the tunnel, which the
            // container is told.
            let mut tries = 0;
            let (got, peer) = loop {
                // What it was told before it says instead of sending.
                let _ = client.send(&sent).or_else(|_| client.send(&sent));
                server.set_read_timeout(Some(BRIEFLY)).unwrap();
                match server.recv_from(&mut buffer) {
                    Ok(found) => break found,
                    Err(e) => assert!(tries < 2, "{client:?} {length}: {e}"),
                }
                tries += 1;
            };
            assert_eq!(buffer[..got], sent[..]);
            let answer = || {
                server.send_to(&sent, peer).unwrap();
                client.set_read_timeout(Some(BRIEFLY)).unwrap();
                client.recv(&mut [0; 10_000])
            };
            assert_eq!(answer().or_else(|_| answer()).unwrap(), length);
        }
    }
    // What followed a first fragment of IPv6 that was too large.
    let mut drops = site.world.drops();
    drops.remove(DropReason::FragmentUnmatched.as_str());
    assert!(drops.is_empty(), "{drops:?}");
}

const ORDERS: [&[usize]; 4] = [&[2, 1, 0], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1]];

/// Sends the fragments of a datagram of IPv4 in this order.
fn send_in_order(from: &Namespace, datagram: &Datagram, to: Ipv4Addr, order: &[usize]) {
    let parts = datagram.fragments(1392);
    let socket = within(from, || {
        let raw = Protocol::from(libc::IPPROTO_RAW);
        Socket::new(Domain::IPV4, Type::RAW, Some(raw)).unwrap()
    });
    for part in order {
        socket
            .send_to(&parts[*part].bytes(), &at(to, 0).into())
            .unwrap();
    }
}

/// The copies that wait are sent in to the tunnel's device once more, a container's and the host's own.
#[test]
fn fragments_come_in_and_go_out_in_any_order() {
    let site = Site::plain();
    let inside = udp_socket(site.a(), 53, None);
    let own = udp_socket(&site.world.host, 7100, None);
    let outside = udp_socket(site.far(), 7000, None);
    let mut buffer = vec![0; 10_000];
    for (id, order) in ORDERS.into_iter().enumerate() {
        for (from, src, to, port, socket, seen, base) in [
            (site.far(), FAR, NEAR, 5353, &inside, FAR, 200),
            (site.far(), FAR, NEAR, 7100, &own, FAR, 300),
            (site.a(), A, FAR, 7000, &outside, NEAR, 400),
        ] {
            let sent = payload(4000);
            let datagram = testing::udp(src.octets(), 5000, to.octets(), port, &sent);
            send_in_order(from, &datagram.id(base + id as u16), to, order);
            let (got, peer) = socket
                .recv_from(&mut buffer)
                .unwrap_or_else(|e| panic!("{port} {order:?}: {e}, {:?}", site.world.drops()));
            assert_eq!(buffer[..got], sent[..], "{port} {order:?}");
            assert_eq!(peer, at(seen, 5000).into());
        }
    }
    site.loses_nothing();
}

/// The kernel puts nothing before a packet of more than 16 KB that is not to be segmented: the host has it all
/// the same.
#[test]
fn packets_of_any_length_come_in() {
    let site = Site::new(Kind::PlainTun, "", "mtu = 1500");
    let far = site.far();
    for namespace in [&site.world.host, far] {
        ip(namespace, &format!("link set {TUNNEL} mtu 60000"));
    }
    let own = udp_socket6(&site.world.host, 7100, None);
    let mut buffer = vec![0; 70_000];
    for length in [15_000, 17_000, 59_000] {
        let sent = payload(length);
        for client in [
            udp_socket(far, 0, Some(at(NEAR, 7100))),
            udp_socket6(far, 0, Some(at6(NEAR6, 7100))),
        ] {
            client.send(&sent).unwrap();
            let (got, _) = own.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..got], sent[..]);
        }
    }
    site.loses_nothing();
    // Containers are what they ever are.
    ip(far, &format!("route add 172.17.0.0/16 dev {TUNNEL}"));
    ip(far, &format!("-6 route add fd00:17::/64 dev {TUNNEL}"));
    for client in [
        udp_socket(far, 0, Some(at(A, 53))),
        udp_socket6(far, 0, Some(at6(A6, 53))),
    ] {
        client.send(&payload(17_000)).unwrap();
    }
    wait::until("they are dropped", || {
        site.world.dropped(DropReason::DirectAccess) == 2
    });
}
