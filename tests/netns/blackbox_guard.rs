//! Raw packets that nobody may send: forged sources of a container, and addresses inside from the
//! outside. Each is dropped for its reason and arrives nowhere.

use std::net::Ipv4Addr;

use netpath_common::{
    DropReason,
    testing::{Addr, Datagram, arp, ethernet, icmp, query, tcp, udp},
};
use netpath_tests::{
    station::{STRANGER, Station, mac},
    topology::{A, B, GATEWAY, HOST, OUTSIDE, World},
    wait,
};

const C: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);
const GATEWAY2: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);

/// Containers `a`, which publishes, and `b` on one network, `c` on another.
struct Probe {
    world: World,
    a: Station,
    b: Station,
    c: Station,
    outside: Station,
}

impl Probe {
    fn new() -> Self {
        let world = World::new(&["a", "b", "c"]);
        let config = world.network("bridge", "netpath0", "172.17.0.0/16", "")
            + &world.endpoint("a", A, &["8080:80", "5353:53/udp"])
            + &world.endpoint("b", B, &[])
            + &world.network("other", "netpath1", "172.18.0.0/16", "")
            + &world.endpoint("c", C, &[]);
        world.up(&config);
        Self {
            a: Station::container(&world, "a", A, "netpath0"),
            b: Station::container(&world, "b", B, "netpath0"),
            c: Station::container(&world, "c", C, "netpath1"),
            outside: Station::outside(&world),
            world,
        }
    }

    /// `send` makes one drop, for `reason`.
    fn drops_one(&self, what: &str, reason: DropReason, send: impl FnOnce()) {
        let before = self.world.drops();
        send();
        wait::until(&format!("{what}: {}", reason.as_str()), || {
            self.world.dropped(reason) == before.get(reason.as_str()).unwrap_or(&0) + 1
        });
        let mut expected = before;
        *expected.entry(reason.as_str()).or_default() += 1;
        assert_eq!(self.world.drops(), expected, "{what}");
    }

    /// Nothing has arrived anywhere, and an honest packet does.
    fn all_quiet(&self) {
        self.b.send(&udp(B.octets(), 5000, STRANGER, 53, b"honest"));
        self.outside
            .gets(&udp(HOST.octets(), 5000, STRANGER, 53, b"honest").ttl(63));
        self.outside
            .send(&udp(STRANGER, 53, HOST.octets(), 5353, b"honest"));
        self.a
            .gets(&udp(STRANGER, 53, A.octets(), 53, b"honest").ttl(63));
        for station in [&self.a, &self.b, &self.c, &self.outside] {
            assert_eq!(station.others(), [""; 0]);
        }
    }
}

#[test]
fn forged_source_addresses() {
    let probe = Probe::new();
    for (whose, source) in [
        ("an address outside", STRANGER),
        ("the outside's", OUTSIDE.octets()),
        ("the neighbour's", A.octets()),
        ("one of nobody in the subnet", [172, 17, 0, 99]),
        ("one of the other bridge", C.octets()),
        ("the gateway's", GATEWAY.octets()),
        ("the other gateway's", GATEWAY2.octets()),
        ("the host's", HOST.octets()),
        ("127.0.0.1", [127, 0, 0, 1]),
        ("0.0.0.0", [0; 4]),
        ("broadcast", [255; 4]),
        ("multicast", [224, 0, 0, 1]),
    ] {
        for to in [STRANGER, HOST.octets(), A.octets(), C.octets()] {
            if to == source {
                continue;
            }
            for (kind, packet) in [
                ("UDP", udp(source, 4000, to, 5353, b"forged")),
                ("TCP", tcp(source, 4000, to, 8080, 0x02)),
                ("echo", query(source, to, 8, 4000)),
            ] {
                let what = format!("{whose}, {kind} to {to:?}");
                probe.drops_one(&what, DropReason::SpoofedAddress, || probe.b.send(&packet));
            }
        }
    }
    probe.all_quiet();
}

/// A forged source with a live flow behind it: `a`'s, whose packets are not looked at twice.
#[test]
fn forged_packets_of_a_neighbours_flow() {
    let probe = Probe::new();
    let question = udp(A.octets(), 4000, STRANGER, 53, b"mine");
    probe.a.send(&question);
    probe
        .outside
        .gets(&udp(HOST.octets(), 4000, STRANGER, 53, b"mine").ttl(63));
    probe.drops_one("b in a's flow", DropReason::SpoofedAddress, || {
        probe.b.send(&question);
    });
    let mut frame = ethernet(probe.a.mac(), mac(&probe.world.host, "netpath0"), 0x0800);
    frame.extend(question.bytes());
    probe.drops_one("and with a's MAC", DropReason::SpoofedMac, || {
        probe.b.send_frame(&frame);
    });
    probe.all_quiet();
}

#[test]
fn forged_mac_addresses_and_arp() {
    let probe = Probe::new();
    let (own, neighbours) = (probe.b.mac(), probe.a.mac());
    let gateways = mac(&probe.world.host, "netpath0");
    for (whose, source) in [
        ("the neighbour's", neighbours),
        ("the gateway's", gateways),
        ("nobody's", [2, 0, 0, 0, 0, 9]),
        ("a group's", [0xff; 6]),
    ] {
        let mut frame = ethernet(source, gateways, 0x0800);
        frame.extend(udp(B.octets(), 4000, STRANGER, 53, b"forged").bytes());
        probe.drops_one(whose, DropReason::SpoofedMac, || {
            probe.b.send_frame(&frame);
        });
        let claim = arp(source, 1, own, B.octets(), A.octets(), 0);
        probe.drops_one(whose, DropReason::SpoofedMac, || {
            probe.b.send_frame(&claim.bytes);
        });
    }
    for (claim, sender, address) in [
        ("the neighbour is here", own, A.octets()),
        ("the gateway is here", own, GATEWAY.octets()),
        ("a stranger is here", own, STRANGER),
        ("I am at the neighbour's", neighbours, B.octets()),
    ] {
        for operation in [1, 2] {
            let frame = arp(own, operation, sender, address, A.octets(), 0);
            probe.drops_one(claim, DropReason::SpoofedArp, || {
                probe.b.send_frame(&frame.bytes);
            });
        }
    }
    probe.all_quiet();
}

/// Packets of every kind to one address, by what is right and what is published.
fn to(from: Addr, address: Addr) -> [Datagram; 5] {
    [
        udp(from, 4000, address, 53, b"in"),
        udp(from, 4000, address, 5353, b"in"),
        tcp(from, 4000, address, 80, 0x02),
        tcp(from, 4000, address, 8080, 0x02),
        query(from, address, 8, 4000),
    ]
}

#[test]
fn containers_addresses_from_outside() {
    let probe = Probe::new();
    for address in [A.octets(), C.octets(), [172, 17, 0, 99]] {
        for packet in to(STRANGER, address) {
            probe.drops_one("direct", DropReason::DirectAccess, || {
                probe.outside.send(&packet);
            });
        }
    }
    // An answer to what nobody has asked.
    let reply = udp(STRANGER, 53, A.octets(), 5000, b"in");
    probe.drops_one("a reply", DropReason::DirectAccess, || {
        probe.outside.send(&reply);
    });
    let error = icmp(STRANGER, A.octets(), 3, 3, [0; 4], &reply.bytes());
    probe.drops_one("an error", DropReason::DirectAccess, || {
        probe.outside.send(&error);
    });
    // A gateway is the host's, but its published ports are not there.
    for packet in [
        udp(STRANGER, 4000, GATEWAY.octets(), 5353, b"in"),
        tcp(STRANGER, 4000, GATEWAY.octets(), 8080, 0x02),
    ] {
        probe.drops_one("the gateway", DropReason::DirectAccess, || {
            probe.outside.send(&packet);
        });
    }
    probe.all_quiet();
}

#[test]
fn loopback_from_outside() {
    let probe = Probe::new();
    for address in [[127, 0, 0, 1], [127, 255, 255, 254]] {
        for packet in to(STRANGER, address) {
            probe.drops_one("loopback", DropReason::Martian, || {
                probe.outside.send(&packet);
            });
        }
    }
    // From there, and from others who cannot be outside, to what is published.
    for source in [[127, 0, 0, 1], A.octets(), HOST.octets(), [0xff; 4]] {
        for packet in [
            udp(source, 4000, HOST.octets(), 5353, b"in"),
            tcp(source, 4000, HOST.octets(), 8080, 0x02),
        ] {
            probe.drops_one("a source", DropReason::Martian, || {
                probe.outside.send(&packet);
            });
        }
    }
    probe.all_quiet();
}
