//! Raw ICMP errors, resets and expiring packets: what they carry is translated to the last byte,
//! and no mapping dies of them.

use netpath_common::{
    DropReason,
    testing::{Addr, Datagram, error, icmp, query, tcp, tcp_data, udp, verify},
};
use netpath_tests::{
    station::{ROUTER, STRANGER, Station},
    topology::{A, B, GATEWAY, HOST, World},
    wait,
};

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;

struct Probe {
    world: World,
    a: Station,
    b: Station,
    outside: Station,
}

impl Probe {
    fn new(publish: &[&str]) -> Self {
        let world = World::with_ports(&["a", "b"], publish);
        Self {
            a: Station::container(&world, "a", A, "netpath0"),
            b: Station::container(&world, "b", B, "netpath0"),
            outside: Station::outside(&world),
            world,
        }
    }

    fn no_drops(&self) {
        assert!(self.world.drops().is_empty(), "{:?}", self.world.drops());
    }
}

/// `a` has the port already, so that `b`'s flow is behind another one: with `port_of`'s packet of
/// both, errors of every kind about it come to `b`, in full and with eight bytes of the quoted
/// transport header, and its answer still does.
fn errors_are_translated(
    question: impl Fn(Addr, u16) -> Datagram,
    answer: impl Fn(Addr, u16) -> Datagram,
    own: u16,
) {
    let probe = Probe::new(&[]);
    let host = HOST.octets();
    probe.a.send(&question(A.octets(), own));
    probe.outside.gets(&question(host, own).ttl(63));
    probe.b.send(&question(B.octets(), own));
    let port = probe
        .outside
        .gets_from_some_port(|port| question(host, port).ttl(63));
    assert_ne!(port, own);

    for (kind, code) in [(3, 3), (3, 4), (11, 0)] {
        // Eight bytes; a part of the payload; all of it.
        for quoted in [8, 30, 1000] {
            let about = |address, port| question(address, port).ttl(1);
            let sent = error(ROUTER, host, kind, code, &about(host, port), quoted);
            let inner = about(B.octets(), own);
            let translated = error(ROUTER, B.octets(), kind, code, &inner, quoted).ttl(63);
            probe.outside.send(&sent);
            probe.b.gets(&translated);
        }
        // The other end itself complains: its address is translated like the flow's, which keeps it.
        let about = question(host, port);
        let inner = question(B.octets(), own);
        probe
            .outside
            .send(&error(STRANGER, host, kind, code, &about, 8));
        probe
            .b
            .gets(&error(STRANGER, B.octets(), kind, code, &inner, 8).ttl(63));
    }
    // The mappings are alive, each with its own answer.
    probe.outside.send(&answer(host, port));
    probe.outside.send(&answer(host, own));
    probe.b.gets(&answer(B.octets(), own).ttl(63));
    probe.a.gets(&answer(A.octets(), own).ttl(63));
    for station in [&probe.a, &probe.b, &probe.outside] {
        assert_eq!(station.others(), [""; 0]);
    }
    probe.no_drops();
    assert_eq!(probe.world.run(&["ct", "list"]).lines().count(), 2);
}

#[test]
fn errors_about_tcp() {
    errors_are_translated(
        |from, port| tcp_data(from, port, STRANGER, 80, SYN, &[7; 500]),
        |to, port| tcp(STRANGER, 80, to, port, SYN_ACK),
        40_000,
    );
}

#[test]
fn errors_about_udp() {
    errors_are_translated(
        |from, port| udp(from, port, STRANGER, 53, &[7; 500]),
        |to, port| udp(STRANGER, 53, to, port, b"answer"),
        40_000,
    );
}

#[test]
fn errors_about_echo() {
    let echo = |from, to, kind, id: u16| {
        let [high, low] = id.to_be_bytes();
        icmp(from, to, kind, 0, [high, low, 0, 1], &[7; 500])
    };
    errors_are_translated(
        |from, id| echo(from, STRANGER, 8, id),
        |to, id| echo(STRANGER, to, 0, id),
        7,
    );
}

/// What a published service answers by ICMP leaves with the host's address, outside and inside.
#[test]
fn errors_of_a_published_service() {
    let probe = Probe::new(&["5353:53/udp"]);
    let (host, inside) = (HOST.octets(), A.octets());
    let question = udp(STRANGER, 7000, host, 5353, b"question");
    probe.outside.send(&question);
    let received = udp(STRANGER, 7000, inside, 53, b"question").ttl(63);
    probe.a.gets(&received);
    for quoted in [8, 1000] {
        probe
            .a
            .send(&error(inside, STRANGER, 3, 3, &received, quoted));
        // The quoted TTL is what the container saw.
        let about = question.clone().ttl(63);
        probe
            .outside
            .gets(&error(host, STRANGER, 3, 3, &about, quoted).ttl(63));
    }
    probe.no_drops();
}

#[test]
fn an_error_about_nothing_is_not_let_in() {
    let probe = Probe::new(&[]);
    let host = HOST.octets();
    probe.a.send(&udp(A.octets(), 5000, STRANGER, 53, b"q"));
    probe
        .outside
        .gets(&udp(host, 5000, STRANGER, 53, b"q").ttl(63));
    let about = udp(host, 5000, STRANGER, 53, b"q");
    for forged in [
        // No such flow: another port of the host, another server.
        error(ROUTER, host, 3, 3, &udp(host, 5001, STRANGER, 53, b"q"), 8),
        error(ROUTER, host, 3, 3, &udp(host, 5000, ROUTER, 53, b"q"), 8),
        // The flow's, but sent to the container itself.
        error(ROUTER, A.octets(), 3, 3, &about, 8),
        // An MTU that no link has (RFC 791).
        icmp(ROUTER, host, 3, 4, [0, 0, 0, 67], &about.bytes()),
        // A redirect about a live flow.
        icmp(STRANGER, host, 5, 1, ROUTER, &about.bytes()),
    ] {
        probe.outside.send(&forged);
    }
    probe.outside.send(&udp(STRANGER, 53, host, 5000, b"a"));
    probe
        .a
        .gets(&udp(STRANGER, 53, A.octets(), 5000, b"a").ttl(63));
    assert_eq!(probe.a.others(), [""; 0]);
    let drops: Vec<_> = probe.world.drops().into_iter().collect();
    assert_eq!(drops, [("direct-access", 1), ("icmp-bad-mtu", 1)]);
}

#[test]
fn a_redirect_of_a_container_stays_inside() {
    let probe = Probe::new(&["5353:53/udp"]);
    let (host, inside) = (HOST.octets(), A.octets());
    probe.outside.send(&udp(STRANGER, 7000, host, 5353, b"q"));
    let received = udp(STRANGER, 7000, inside, 53, b"q").ttl(63);
    probe.a.gets(&received);
    probe
        .a
        .send(&icmp(inside, STRANGER, 5, 1, B.octets(), &received.bytes()));
    wait::until("the redirect is dropped", || {
        probe.world.dropped(DropReason::IcmpRedirect) == 1
    });
    assert_eq!(probe.outside.others(), [""; 0]);
}

#[test]
fn only_the_exact_reset_closes() {
    let probe = Probe::new(&[]);
    let (host, inside) = (HOST.octets(), A.octets());
    let out = |flags, seq, ack| {
        probe
            .a
            .send(&tcp(inside, 40_000, STRANGER, 80, flags).numbered(seq, ack));
        probe.outside.gets(
            &tcp(host, 40_000, STRANGER, 80, flags)
                .numbered(seq, ack)
                .ttl(63),
        );
    };
    let back = |flags, seq, ack| tcp(STRANGER, 80, host, 40_000, flags).numbered(seq, ack);
    let received = |flags, seq, ack| {
        tcp(STRANGER, 80, inside, 40_000, flags)
            .numbered(seq, ack)
            .ttl(63)
    };
    out(SYN, 1000, 0);
    probe.outside.send(&back(SYN_ACK, 5000, 1001));
    probe.a.gets(&received(SYN_ACK, 5000, 1001));
    out(ACK, 1001, 5001);
    let state = || {
        let list = probe.world.run(&["ct", "list", "-p", "tcp"]);
        assert_eq!(list.lines().count(), 1, "{list}");
        list.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(state(), "ESTABLISHED");
    // Beyond: the container judges it by its window, with a challenge (RFC 5961).
    probe.outside.send(&back(RST, 5101, 0));
    probe.a.gets(&received(RST, 5101, 0));
    assert_eq!(state(), "ESTABLISHED");
    // Below what has been acknowledged.
    probe.outside.send(&back(RST, 4901, 0));
    wait::until("the old reset is dropped", || {
        probe.world.dropped(DropReason::TcpInvalid) == 1
    });
    assert_eq!(state(), "ESTABLISHED");
    probe.outside.send(&back(RST, 5001, 0));
    probe.a.gets(&received(RST, 5001, 0));
    assert_eq!(state(), "CLOSE");
    assert_eq!(probe.a.others(), [""; 0]);
}

#[test]
fn a_ttl_of_one_is_answered_by_the_gateway() {
    let probe = Probe::new(&[]);
    let inside = A.octets();
    for (port, packet) in [
        udp(inside, 40_000, STRANGER, 53, b"question"),
        tcp(inside, 40_000, STRANGER, 80, SYN),
        query(inside, STRANGER, 8, 7),
    ]
    .into_iter()
    .enumerate()
    {
        let expiring = packet.clone().ttl(1);
        probe.a.send(&expiring);
        // The identification and the type of service are the host's choice.
        let wanted = error(GATEWAY.octets(), inside, 11, 0, &expiring, 1000);
        let got = probe.a.find("time exceeded", |frame| {
            frame.bytes[26..34] == wanted.bytes()[12..20] && frame.bytes[23] == 1
        });
        assert_eq!(verify(&got), Ok(()));
        assert_eq!(got.bytes[34..36], [11, 0]);
        assert_eq!(got.bytes[38..42], [0; 4]);
        assert_eq!(got.bytes[42..], expiring.bytes(), "packet {port}");
        // One more hop, and it leaves with none to spare.
        probe.a.send(&packet.clone().ttl(2));
        let left = Datagram {
            src: HOST.octets(),
            ..packet
        };
        probe.outside.find("the packet with a TTL of 1", |frame| {
            frame.bytes[22] == 1
                && frame.bytes[26..34] == left.bytes()[12..20]
                && verify(frame).is_ok()
        });
    }
    assert_eq!(probe.outside.others(), [""; 0]);
    probe.no_drops();
}
