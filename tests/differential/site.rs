//! A host with three containers and the world outside, once under each engine.
//!
//! Owns what both have in common: addresses, interfaces, and that nothing but the test's frames is
//! on the wires. What the engines are told is `engine`'s.

use std::net::Ipv4Addr;

use netpath::lab::links;
use netpath_common::testing::{Addr, Mac, udp};
use netpath_tests::{
    netns::{Namespace, command, stdout, within},
    topology::{OUTSIDE, UPLINK, World},
    wait::until,
};

use crate::{
    engine::Engine,
    packet::Packet,
    step::SERVERS,
    wire::{Marker, Tap},
};

/// Where frames come in and go out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Place {
    Outside,
    C1,
    C2,
    C3,
}

pub(crate) const PLACES: [Place; 4] = [Place::Outside, Place::C1, Place::C2, Place::C3];

/// A container of the test.
pub(crate) struct Container {
    pub(crate) name: &'static str,
    pub(crate) addr: Addr,
    pub(crate) bridge: &'static str,
    pub(crate) gateway: Addr,
}

pub(crate) const CONTAINERS: [Container; 3] = [
    Container {
        name: "a",
        addr: [172, 17, 0, 2],
        bridge: "net0",
        gateway: [172, 17, 0, 1],
    },
    Container {
        name: "b",
        addr: [172, 17, 0, 3],
        bridge: "net0",
        gateway: [172, 17, 0, 1],
    },
    Container {
        name: "c",
        addr: [172, 18, 0, 2],
        bridge: "net1",
        gateway: [172, 18, 0, 1],
    },
];

/// The host's address on the uplink.
pub(crate) const HOST: Addr = [198, 51, 100, 1];

/// Settings of the host, the same under both engines: no answers that depend on how many there were
/// before, and packets of containers and servers as they come.
const SETTINGS: [(&str, &str); 8] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_msgs_per_sec", "1000000"),
    ("net/ipv4/icmp_msgs_burst", "1000000"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
];

/// The stack's complaint about fragments of a sequence that ended half a minute ago.
const REASSEMBLY_TIMEOUT: (u8, u8) = (11, 1);

/// The container at a place.
pub(crate) const fn container(place: Place) -> Option<&'static Container> {
    match place {
        Place::Outside => None,
        Place::C1 => Some(&CONTAINERS[0]),
        Place::C2 => Some(&CONTAINERS[1]),
        Place::C3 => Some(&CONTAINERS[2]),
    }
}

/// The place of a container's address.
pub(crate) fn place_of(addr: Addr) -> Option<Place> {
    PLACES
        .into_iter()
        .find(|place| container(*place).is_some_and(|c| c.addr == addr))
}

/// One of the two worlds.
pub(crate) struct Site {
    /// Removed with the site.
    _world: World,
    pub(crate) engine: Engine,
    taps: [Tap; 4],
    /// Of the host, towards each place.
    gateways: [Mac; 4],
    marker: Marker,
}

impl Site {
    pub(crate) fn new(start: fn(&World) -> Engine) -> Self {
        let mut world = World::new(&["a", "b", "c"]);
        // Wrong ones are among the packets.
        world.expect_bad_checksums();
        let spaces = || {
            CONTAINERS
                .iter()
                .map(|c| world.container(c.name))
                .chain([&world.host, &world.outside])
        };
        spaces().for_each(only_ipv4);
        for (key, value) in SETTINGS {
            set(&world.host, key, value);
        }
        let engine = start(&world);
        for bridge in ["net0", "net1"] {
            for key in ["rp_filter", "send_redirects"] {
                set(&world.host, &format!("net/ipv4/conf/{bridge}/{key}"), "0");
            }
        }
        set(&world.host, "net/ipv4/conf/uplink0/rp_filter", "0");
        spaces()
            .filter(|space| space.name() != world.host.name())
            .for_each(silence);
        let mac = |space: &Namespace, name: &str| -> Mac {
            let links = within(space, || links::links().unwrap());
            let link = links.iter().find(|link| link.name == name).unwrap();
            link.mac.as_slice().try_into().unwrap()
        };
        let tap = |place: Place| {
            let space = container(place).map_or(&world.outside, |c| world.container(c.name));
            Tap::open(space, "eth0")
        };
        let taps = PLACES.map(tap);
        let gateways =
            PLACES.map(|place| mac(&world.host, container(place).map_or(UPLINK, |c| c.bridge)));
        // Known for good, or an engine would be judged by the moment at which it asks.
        for outside in [OUTSIDE, SERVERS[2].into()] {
            neighbour(&world.host, outside, taps[0].mac, UPLINK);
        }
        for (c, tap) in CONTAINERS.iter().zip(&taps[1..]) {
            neighbour(&world.host, c.addr.into(), tap.mac, c.bridge);
        }
        let marker = Marker::new(&world.outside);
        let site = Self {
            _world: world,
            engine,
            taps,
            gateways,
            marker,
        };
        site.warm_up();
        site
    }

    /// A question of every container and its answer, as soon as the new interfaces carry them. The
    /// bridges then know where everybody is.
    fn warm_up(&self) {
        let server = SERVERS[0];
        for (place, c) in PLACES.into_iter().skip(1).zip(&CONTAINERS) {
            let question = udp(c.addr, 9, server, 9, b"").bytes();
            let answer = udp(server, 9, HOST, 9, b"").bytes();
            until("a container gets an answer", || {
                !self.play(place, &question).is_empty()
                    && !self.play(Place::Outside, &answer).is_empty()
            });
            self.engine.reset();
        }
    }

    /// Puts an IPv4 packet on the wire at a place, and says what has come out where when all is
    /// quiet again.
    pub(crate) fn play(&self, place: Place, packet: &[u8]) -> Vec<(Place, Vec<u8>)> {
        let at = place as usize;
        let to = self.next_hop(place, packet);
        let mut frame = netpath_common::testing::ethernet(self.taps[at].mac, to, 0x0800);
        frame.extend(packet);
        self.taps[at].send(&frame);
        self.collect()
    }

    /// The MAC address that the sender's route would choose.
    fn next_hop(&self, place: Place, packet: &[u8]) -> Mac {
        let dst: Addr = packet[16..20].try_into().unwrap();
        let on_link = match (container(place), place_of(dst)) {
            (Some(here), Some(there)) => {
                container(there).is_some_and(|there| there.bridge == here.bridge) && there != place
            }
            _ => false,
        };
        match place_of(dst) {
            Some(there) if on_link => self.taps[there as usize].mac,
            _ => self.gateways[place as usize],
        }
    }

    fn collect(&self) -> Vec<(Place, Vec<u8>)> {
        self.marker.wait();
        let mut seen = Vec::new();
        for (place, tap) in PLACES.into_iter().zip(&self.taps) {
            while let Some(frame) = tap.receive() {
                let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
                // What the wire may have padded is no part of the packet.
                let end = (14 + length).min(frame.len());
                let packet = &frame[14..end];
                if Packet::new(packet).icmp() != Some(REASSEMBLY_TIMEOUT) {
                    seen.push((place, packet.to_vec()));
                }
            }
        }
        seen
    }
}

fn set(space: &Namespace, key: &str, value: &str) {
    within(space, || {
        netpath::net::sysctl::write(key, value).unwrap_or_else(|e| panic!("{e}"));
    });
}

/// No neighbour discovery of IPv6 and none of its reports.
fn only_ipv4(space: &Namespace) {
    for scope in ["all", "default"] {
        set(space, &format!("net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
}

/// The stack behind a tap never answers: what is sent there is the test's alone. Taps see a frame
/// before it is dropped.
fn silence(space: &Namespace) {
    let rules = "table netdev quiet {\n chain in {\n type filter hook ingress device \"eth0\" \
                 priority 0; policy drop;\n }\n}\n";
    let output = command(space, "nft", &[rules]);
    assert!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn neighbour(space: &Namespace, addr: Ipv4Addr, mac: Mac, interface: &str) {
    let mac = links::mac_text(&mac);
    let addr = addr.to_string();
    let words = [
        "neigh",
        "replace",
        &addr,
        "lladdr",
        &mac,
        "dev",
        interface,
        "nud",
        "permanent",
    ];
    stdout(space, "ip", &words);
}
