//! The XDP program of an uplink: each verdict, every truncation, real sockets.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    process::Command,
};

use netpath_common::{
    conntrack::tcp::{ACK, SYN},
    datapath::REFUSED_AT_ONCE,
    event::Hook,
    testing::*,
    tuple,
};
use netpath_tests::runner::Runner;
use socket2::{Domain, SockAddr, Socket, Type};

/// XDP_DROP and XDP_PASS.
const DROP: i32 = 1;
const PASS: i32 = 2;

fn arrived(p: &Datagram) -> Frame {
    p.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF)
}

/// Runs one frame: it must not be touched, and be counted only where it is dropped.
#[track_caller]
fn check(r: &mut Runner, name: &str, frame: &Frame, dropped: Option<&'static str>) {
    let before = r.counters();
    let ran = r.run(Hook::Xdp, frame);
    let changed = crate::change(&before, &r.counters());
    let counted = changed.iter().filter(|(k, _)| **k != "event-lost");
    let reasons: Vec<_> = counted.map(|(k, n)| (*k, *n)).collect();
    let want: Vec<_> = dropped.map(|reason| (reason, 1)).into_iter().collect();
    assert_eq!(reasons, want, "{name}: counters");
    let action = if dropped.is_some() { DROP } else { PASS };
    assert_eq!(ran.action, action, "{name}");
    assert_eq!(ran.bytes, frame.bytes, "{name}: output");
}

/// Packets to a port that nobody has, until they are dropped; how many were not.
fn flood(r: &mut Runner) -> u64 {
    let nobodys = arrived(&udp(S, 1, H, 9, b""));
    // The clock goes on and gives new tokens, but not as many as this.
    let most = 10 * REFUSED_AT_ONCE;
    let passed = (0..most).find(|_| r.run(Hook::Xdp, &nobodys).action == DROP);
    passed.expect("a flood is dropped in the end")
}

/// As [`check`] while a flood has used up all tokens, of which the clock may give new ones.
#[track_caller]
fn check_flooded(r: &mut Runner, name: &str, p: &Datagram) {
    for _ in 0..100 {
        flood(r);
        if r.run(Hook::Xdp, &arrived(p)).action == DROP {
            return;
        }
    }
    panic!("{name}: is never dropped");
}

#[test]
fn verdicts() {
    let mut r = Runner::new();
    let r = &mut r;
    let mut v6 = arrived(&udp(S, 1, H, 9, b""));
    v6.bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    check(r, "IPv6", &v6, None);
    check(
        r,
        "ARP",
        &arp(ROUTER_MAC, 1, ROUTER_MAC, R, H, UPLINK_IF),
        None,
    );

    flood(r);
    for (name, p) in [
        ("published TCP", tcp(S, 51000, H, 8080, SYN)),
        ("published UDP", udp(S, 51000, H, 5353, b"x")),
        (
            "published, IP options",
            tcp(S, 51000, H, 8080, SYN).options(3),
        ),
        ("echo", query(S, H, 8, 1)),
        ("an error", error(R, H, 3, 1, &udp(H, 1, S, 2, b"data"), 8)),
        ("SCTP", Datagram::new(S, H, 132, vec![0; 20])),
        (
            "a fragment",
            udp(S, 1, H, 9, &[0; 100]).fragments(48).remove(0),
        ),
        (
            "its tail",
            udp(S, 1, H, 9, &[0; 100]).fragments(48).remove(2),
        ),
        ("transit", udp(S, 1, [203, 0, 113, 99], 2, b"")),
        ("multicast", udp(S, 5353, [224, 0, 0, 251], 5353, b"")),
    ] {
        check(r, name, &arrived(&p), None);
    }
    for (name, reason, p) in [
        (
            "loopback source",
            "martian",
            udp([127, 0, 0, 1], 1, H, 2, b""),
        ),
        (
            "multicast source",
            "martian",
            udp([224, 0, 0, 9], 1, H, 2, b""),
        ),
        ("a container's", "martian", tcp(C2.addr, 1, H, 8080, SYN)),
        ("our own", "martian", tcp(H, 1, H, 8080, SYN)),
        (
            "to loopback",
            "martian",
            tcp(S, 1, [127, 0, 0, 1], 8080, SYN),
        ),
        ("direct", "direct-access", tcp(S, 1, C1.addr, 80, SYN)),
        (
            "short TCP",
            "truncated",
            Datagram::new(S, H, tuple::TCP, vec![0; 19]),
        ),
    ] {
        check(r, name, &arrived(&p), Some(reason));
    }
    let mut frame = arrived(&tcp(S, 1, H, 8080, SYN));
    frame.bytes[46] = 0x40;
    check(r, "data offset", &frame, Some("bad-l4-header"));
    let mut frame = arrived(&tcp(S, 1, H, 8080, SYN));
    frame.bytes[14] = 0x44;
    check(r, "header length", &frame, Some("bad-ip-header"));
    check_flooded(r, "TCP", &tcp(S, 1, H, 81, SYN));
    check_flooded(r, "a gateway", &udp(S, 1, GW1, 9, b""));
    assert!(r.flows().is_empty(), "no flow is made");
}

#[test]
fn the_burst_passes() {
    let mut r = Runner::new();
    assert!(flood(&mut r) >= REFUSED_AT_ONCE);
    assert!(r.counters()["unpublished-flood"] >= 1);
}

#[test]
fn flows_pass_under_a_flood() {
    let mut r = Runner::new();
    let out = tcp(C1.addr, 40000, S, 443, SYN).frame(C1.mac, BRIDGE1_MAC, C1.ifindex);
    r.run(Hook::Veth, &out);
    flood(&mut r);
    let r = &mut r;
    check(
        r,
        "an answer",
        &arrived(&tcp(S, 443, H, 40000, SYN | ACK)),
        None,
    );
    check_flooded(r, "of another", &tcp(S2, 443, H, 40000, SYN | ACK));
}

#[test]
fn sockets_of_the_host_are_spared() {
    let mut r = Runner::new();
    let listener = TcpListener::bind("0.0.0.0:22").unwrap();
    let dual = TcpListener::bind("[::]:2222").unwrap();
    let connected = UdpSocket::bind("192.0.2.1:40001").unwrap();
    connected.connect("198.51.100.9:53").unwrap();
    let any = UdpSocket::bind("0.0.0.0:514").unwrap();
    flood(&mut r);
    let r = &mut r;
    check(r, "a listener", &arrived(&tcp(S, 51000, H, 22, SYN)), None);
    check(
        r,
        "a dual-stack listener",
        &arrived(&tcp(S, 51000, H, 2222, SYN)),
        None,
    );
    check(
        r,
        "a connected UDP socket",
        &arrived(&udp(S, 53, H, 40001, b"!")),
        None,
    );
    check(
        r,
        "a UDP service",
        &arrived(&udp(S2, 9, H, 514, b"!")),
        None,
    );
    check_flooded(
        r,
        "a stranger to a connected socket",
        &udp(S2, 53, H, 40001, b"!"),
    );

    // The other end's address is this namespace's as well, but not one that netpath knows.
    run("ip", "addr add 198.51.100.9/32 dev lo");
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.bind(&at(S, 0)).unwrap();
    client.connect(&at(H, 22)).unwrap();
    let (accepted, peer) = listener.accept().unwrap();
    drop(listener);
    // Its packets leave by the uplink, as the answer to its SYN has.
    let answer = tcp(H, 22, S, peer.port(), SYN | ACK).frame(UPLINK_MAC, ROUTER_MAC, UPLINK_IF);
    r.run(Hook::UplinkEgress, &answer);
    check(
        r,
        "a connection",
        &arrived(&tcp(S, peer.port(), H, 22, ACK)),
        None,
    );
    check_flooded(r, "the closed listener", &tcp(S2, peer.port(), H, 22, SYN));
    drop(accepted);
    drop(client);
    check(
        r,
        "in TIME_WAIT",
        &arrived(&tcp(S, peer.port(), H, 22, ACK)),
        None,
    );
    drop((dual, any));
}

fn at(address: Addr, port: u16) -> SockAddr {
    SocketAddr::from((address, port)).into()
}

fn run(program: &str, arguments: &str) {
    let done = Command::new(program).args(arguments.split(' ')).status();
    assert!(done.is_ok_and(|s| s.success()), "{program} {arguments}");
}

#[test]
fn every_length() {
    let mut r = Runner::new();
    for whole in [
        arrived(&tcp(S, 51000, H, 8080, SYN).options(2)),
        arrived(&udp(S, 51000, H, 9, b"data")),
        arrived(&query(S, H, 8, 7)),
    ] {
        // The kernel lets no frame without an Ethernet header in.
        for len in 14..whole.bytes.len() {
            let reason = if len < 34 {
                "truncated"
            } else {
                "bad-ip-header"
            };
            let name = format!("{} at {len}", describe(&whole));
            check(&mut r, &name, &whole.truncated(len), Some(reason));
        }
        assert_eq!(r.run(Hook::Xdp, &whole).action, PASS);
    }
}
