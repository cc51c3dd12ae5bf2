//! A host with three containers and the world outside, once under each engine.
//!
//! Owns what both have in common: addresses, interfaces, and that nothing but the test's frames is
//! on the wires. What the engines are told is `engine`'s.

use std::net::IpAddr;

use netpath::lab::links;
use netpath_common::testing::Mac;
use netpath_tests::{
    dual_stack::SUBNET6,
    netns::{Namespace, command, stdout, within},
    topology::{UPLINK, World},
    wait::until,
};

use crate::{
    address::{FAMILIES, Family, Who},
    datagram::udp,
    engine::{Engine, Mode, tick},
    packet::Packet,
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

/// A network of the test.
pub(crate) struct Network {
    pub(crate) bridge: &'static str,
    /// Of each family.
    subnets: [&'static str; 2],
}

impl Network {
    pub(crate) const fn subnet(&self, family: Family) -> &'static str {
        self.subnets[family as usize]
    }
}

pub(crate) const NETWORKS: [Network; 2] = [
    Network {
        bridge: "net0",
        subnets: ["172.17.0.0/16", SUBNET6],
    },
    Network {
        bridge: "net1",
        subnets: ["172.18.0.0/16", "fd00:18::/64"],
    },
];

/// A container of the test, [`Who::Container`] of its number.
pub(crate) struct Container {
    pub(crate) name: &'static str,
    /// The number of its network.
    pub(crate) network: usize,
}

impl Container {
    pub(crate) const fn bridge(&self) -> &'static str {
        NETWORKS[self.network].bridge
    }
}

pub(crate) const CONTAINERS: [Container; 3] = [
    Container {
        name: "a",
        network: 0,
    },
    Container {
        name: "b",
        network: 0,
    },
    Container {
        name: "c",
        network: 1,
    },
];

/// Settings of the host, the same under both engines: no answers that depend on how many there were
/// before, and packets of containers and servers as they come.
const SETTINGS: [(&str, &str); 20] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/icmp_msgs_per_sec", "1000000"),
    ("net/ipv4/icmp_msgs_burst", "1000000"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    // A host's own flow labels are of its packets' hashes.
    ("net/ipv6/auto_flowlabels", "0"),
    // What an error has told the host of a path is forgotten with the next tick of its clock.
    ("net/ipv4/route/mtu_expires", "0"),
    ("net/ipv6/route/mtu_expires", "0"),
    ("net/ipv6/conf/all/router_solicitations", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    // Identifications come again after ten seconds; by then no fragment may wait for the rest of an
    // earlier datagram. Seconds.
    ("net/ipv4/ipfrag_time", "2"),
    ("net/ipv6/ip6frag_time", "2"),
    ("net/netfilter/nf_conntrack_frag6_timeout", "2"),
];

/// What the host says by itself and not to the packet of the test: its complaint about fragments of a
/// sequence that ended seconds ago, and neighbour discovery, redirects among it, which no setting
/// turns off.
fn is_noise(p: Packet<'_>) -> bool {
    let is_link_local = matches!(p.src(), IpAddr::V6(src) if src.is_unicast_link_local());
    match (p.family(), p.icmp()) {
        (Family::V4, Some((11, 1))) | (Family::V6, Some((3, 1))) => true,
        (Family::V6, Some((133..=137, _))) => is_link_local,
        (Family::V4 | Family::V6, _) => false,
    }
}

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
pub(crate) fn place_of(addr: IpAddr) -> Option<Place> {
    let Who::Container(n) = Who::of(addr)? else {
        return None;
    };
    PLACES.get(n + 1).copied()
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
    pub(crate) fn new(start: fn(&World, Mode) -> Engine, mode: Mode) -> Self {
        let mut world = World::dual_stack(&["a", "b", "c"]);
        // Wrong ones are among the packets.
        world.expect_bad_checksums();
        for (key, value) in SETTINGS {
            set(&world.host, key, value);
        }
        let engine = start(&world, mode);
        // A reset of the host's IPv6 would be on the wire with its checksum left to the device.
        world.offloads_off();
        for bridge in ["net0", "net1"] {
            for key in ["rp_filter", "send_redirects"] {
                set(&world.host, &format!("net/ipv4/conf/{bridge}/{key}"), "0");
            }
        }
        set(&world.host, "net/ipv4/conf/uplink0/rp_filter", "0");
        let containers = CONTAINERS.iter().map(|c| world.container(c.name));
        containers.chain([&world.outside]).for_each(silence);
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
        let gateways = PLACES.map(|place| {
            mac(
                &world.host,
                container(place).map_or(UPLINK, Container::bridge),
            )
        });
        // Known for good, or an engine would be judged by the moment at which it asks.
        for family in FAMILIES {
            for outside in [Who::NextHop, Who::Server(2)] {
                neighbour(&world.host, outside.addr(family), taps[0].mac, UPLINK);
            }
            for (n, (c, tap)) in CONTAINERS.iter().zip(&taps[1..]).enumerate() {
                let addr = Who::Container(n).addr(family);
                neighbour(&world.host, addr, tap.mac, c.bridge());
            }
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
        for family in FAMILIES {
            let at = |who: Who| (who.addr(family), 9);
            let server = at(Who::Server(0));
            let answer = udp(server, at(Who::Host), b"").bytes();
            for (n, place) in PLACES.into_iter().skip(1).enumerate() {
                let question = udp(at(Who::Container(n)), server, b"").bytes();
                until("a container gets an answer", || {
                    !self.play(place, &question).is_empty()
                        && !self.play(Place::Outside, &answer).is_empty()
                });
                self.engine.reset();
            }
        }
    }

    /// Puts a packet on the wire at a place, and says what has come out where when all is
    /// quiet again.
    pub(crate) fn play(&self, place: Place, packet: &[u8]) -> Vec<(Place, Vec<u8>)> {
        let at = place as usize;
        let to = self.next_hop(place, packet);
        let ethertype = Packet::new(packet).family().ethertype();
        let mut frame = netpath_common::testing::ethernet(self.taps[at].mac, to, ethertype);
        frame.extend(packet);
        self.taps[at].send(&frame);
        let seen = self.collect();
        if Packet::new(packet).mtu().is_some() {
            tick();
        }
        seen
    }

    /// The MAC address that the sender's route would choose.
    fn next_hop(&self, place: Place, packet: &[u8]) -> Mac {
        let dst = Packet::new(packet).dst();
        let on_link = match (container(place), place_of(dst)) {
            (Some(here), Some(there)) => {
                container(there).is_some_and(|there| there.network == here.network)
                    && there != place
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
                let packet = &frame[14..];
                let field =
                    |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
                let length = match Packet::new(packet).family() {
                    Family::V4 => field(2),
                    Family::V6 => 40 + field(4),
                };
                // What the wire may have padded is no part of the packet.
                let packet = &packet[..length.min(packet.len())];
                if !is_noise(Packet::new(packet)) {
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

/// The stack behind a tap never answers, nor says anything by itself: what is sent there is the test's
/// alone. Taps see a frame before it is dropped.
fn silence(space: &Namespace) {
    set(space, "net/ipv6/conf/all/disable_ipv6", "1");
    let rules = "table netdev quiet {\n chain in {\n type filter hook ingress device \"eth0\" \
                 priority 0; policy drop;\n }\n}\n";
    let output = command(space, "nft", &[rules]);
    assert!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn neighbour(space: &Namespace, addr: IpAddr, mac: Mac, interface: &str) {
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
