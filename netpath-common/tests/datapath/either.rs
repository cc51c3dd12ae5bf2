//! The standard host as tests speak of it that are the same for both families.
//!
//! Owns the words: who is which address, and which table and packet that means. Checks nothing.

use netpath_common::{
    V4, V6,
    conntrack::{Budget, FLAG_RECORD},
    counters::Counter,
    datapath::{Tables, collect},
    event::Hook,
    records::{Config, NetworkRecord},
    testing::*,
    tuple::BINDING,
};

/// Who sends or is sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    In(Container),
    /// The first network's gateway.
    Gateway,
    /// The host's address outside.
    Host,
    /// Another one of the uplink.
    Second,
    Server,
    Server2,
    Router,
}

use Who::{Gateway, In, Router, Second, Server, Server2};

const SECOND: Addr = [192, 0, 2, 77];
const SECOND6: Addr6 = *b"\x20\x01\x0d\xb8\0\x01\0\0\0\0\0\0\0\0\0\x77";

impl Who {
    fn four(self) -> Addr {
        match self {
            In(c) => c.addr,
            Gateway => GW1,
            Self::Host => H,
            Second => SECOND,
            Server => S,
            Server2 => S2,
            Router => R,
        }
    }

    fn six(self) -> Addr6 {
        match self {
            In(c) => c.addr6,
            Gateway => GW1_6,
            Self::Host => H6,
            Second => SECOND6,
            Server => S6,
            Server2 => S2_6,
            Router => R6,
        }
    }
}

/// A packet of either family.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Four(Datagram),
    Six(Datagram6),
}

/// The host, and the family that the test is about.
pub(crate) struct Either {
    pub(crate) host: Host,
    is_v6: bool,
}

/// An expression about the tables of the family.
macro_rules! tables {
    ($of:expr, $t:ident => $what:expr) => {
        if $of.is_v6 {
            let $t = &mut $of.host.tables6;
            $what
        } else {
            let $t = &mut $of.host.tables;
            $what
        }
    };
}

/// What makes a packet of the family.
macro_rules! packet {
    ($of:expr, $four:ident, $six:ident, $from:expr, $to:expr, $what:expr) => {{
        let ((src, sport), (dst, dport)) = ($from, $to);
        if $of.is_v6 {
            Packet::Six($six(src.six(), sport, dst.six(), dport, $what))
        } else {
            Packet::Four($four(src.four(), sport, dst.four(), dport, $what))
        }
    }};
}

impl Either {
    pub(crate) fn new(is_v6: bool) -> Self {
        let mut e = Self {
            host: Host::new(),
            is_v6,
        };
        e.host.tables.host_addrs.insert(SECOND);
        e.host.tables6.host_addrs.insert(SECOND6);
        e
    }

    pub(crate) fn udp(&self, from: (Who, u16), to: (Who, u16)) -> Packet {
        self.datagram(from, to, b"")
    }

    pub(crate) fn datagram(&self, from: (Who, u16), to: (Who, u16), payload: &[u8]) -> Packet {
        packet!(self, udp, udp6, from, to, payload)
    }

    pub(crate) fn tcp(&self, from: (Who, u16), to: (Who, u16), flags: u8) -> Packet {
        packet!(self, tcp, tcp6, from, to, flags)
    }

    pub(crate) fn ping(&self, from: Who, to: Who, id: u16) -> Packet {
        if self.is_v6 {
            Packet::Six(query6(from.six(), to.six(), 128, id))
        } else {
            Packet::Four(query(from.four(), to.four(), 8, id))
        }
    }

    /// Says that the port is unreachable that `about` went to.
    pub(crate) fn unreachable(&self, from: Who, to: Who, about: &Packet) -> Packet {
        match about {
            Packet::Four(d) => Packet::Four(error(from.four(), to.four(), 3, 3, d, 28)),
            Packet::Six(d) => Packet::Six(error6(from.six(), to.six(), 1, 4, 0, d, 48)),
        }
    }

    /// Its parts.
    pub(crate) fn parts(&self, whole: &Packet) -> Vec<Packet> {
        match whole {
            Packet::Four(d) => d.fragments(1200).into_iter().map(Packet::Four).collect(),
            Packet::Six(d) => d.fragments(1200, 7).into_iter().map(Packet::Six).collect(),
        }
    }

    /// A container sends.
    #[track_caller]
    pub(crate) fn from(&mut self, c: &Container, packet: &Packet) -> Outcome {
        match packet {
            Packet::Four(d) => self.host.from(c, d),
            Packet::Six(d) => self.host.from6(c, d),
        }
    }

    /// A packet comes in by the uplink.
    #[track_caller]
    pub(crate) fn arrive(&mut self, packet: &Packet) -> Outcome {
        self.host.run(Hook::UplinkIngress, &arriving(packet))
    }

    /// The same, at the driver.
    #[track_caller]
    pub(crate) fn early(&mut self, packet: &Packet) -> Outcome {
        self.host.run(Hook::Xdp, &arriving(packet))
    }

    /// The outside source port of a UDP or TCP frame that has left.
    #[track_caller]
    pub(crate) fn port(&self, o: &Outcome) -> u16 {
        let _ = o.to_uplink();
        let at = if self.is_v6 { 54 } else { 34 };
        u16::from_be_bytes([o.frame.bytes[at], o.frame.bytes[at + 1]])
    }

    /// An end of a flow in the words of [`Outcome::text`].
    pub(crate) fn end(&self, who: Who, port: u16) -> String {
        if self.is_v6 {
            format!("[{}]:{port}", std::net::Ipv6Addr::from(who.six()))
        } else {
            format!("{}:{port}", std::net::Ipv4Addr::from(who.four()))
        }
    }

    /// A UDP datagram in those words.
    pub(crate) fn text(&self, from: (Who, u16), to: (Who, u16)) -> String {
        format!(
            "udp {} > {}",
            self.end(from.0, from.1),
            self.end(to.0, to.1)
        )
    }

    pub(crate) fn config(&mut self) -> &mut Config {
        tables!(self, t => t.config.as_mut().unwrap())
    }

    pub(crate) fn network(&mut self, slot: u16) -> &mut NetworkRecord {
        tables!(self, t => &mut t.networks[usize::from(slot)])
    }

    /// Masquerade of the first network uses this address.
    pub(crate) fn use_second(&mut self) {
        let network = self.network(NET1);
        network.snat = SECOND;
        network.snat6 = SECOND6;
    }

    pub(crate) fn set_capacity(&mut self, entries: usize) {
        tables!(self, t => t.ct_capacity = entries);
    }

    pub(crate) fn advance_ms(&mut self, ms: u64) {
        tables!(self, t => t.advance_ms(ms));
    }

    pub(crate) fn remove(&mut self, c: &Container) {
        tables!(self, t => t.remove_container(c));
    }

    pub(crate) fn add(&mut self, c: &Container) {
        tables!(self, t => t.add_container(c));
    }

    pub(crate) fn publish(&mut self, proto: u8, port: u16, to: (&Container, u16), rule: u16) {
        tables!(self, t => t.publish(proto, port, to.0, to.1, rule));
    }

    pub(crate) fn unpublish(&mut self, proto: u8, port: u16, rule: u16) {
        tables!(self, t => t.unpublish(proto, port, rule));
    }

    /// A socket of the host takes packets from everybody.
    pub(crate) fn listen(&mut self, proto: u8, port: u16) {
        tables!(self, t => t.host_listeners.insert((proto, port)));
    }

    pub(crate) fn counter(&mut self, counter: Counter) -> u64 {
        tables!(self, t => t.counter(counter))
    }

    pub(crate) fn live(&mut self, budget: Budget) -> i64 {
        tables!(self, t => t.live(budget))
    }

    /// What strangers have begun over the family, and is embryonic.
    pub(crate) fn inbound(&mut self) -> i64 {
        self.live(if self.is_v6 {
            Budget::inbound::<V6>()
        } else {
            Budget::inbound::<V4>()
        })
    }

    /// Entries of the conntrack table: of flows, of bindings.
    pub(crate) fn entries(&mut self) -> (usize, usize) {
        let protos: Vec<u8> =
            tables!(self, t => t.entries().iter().map(|(k, _)| k.proto).collect());
        let bindings = protos.iter().filter(|&&p| p == BINDING).count();
        (protos.len() - bindings, bindings)
    }

    pub(crate) fn bindings(&mut self) -> usize {
        self.entries().1 / 2
    }

    /// Leaves of each flow its record alone: what a processor finds while another one makes the flow.
    pub(crate) fn keep_records(&mut self) {
        tables!(self, t => for (key, _) in t.entries() {
            let record = t.ct(&key).is_some_and(|e| e.flags() & FLAG_RECORD != 0);
            if key.proto == BINDING || !record {
                t.ct_delete(&key);
            }
        });
    }

    /// Removes what is over as the agent does, or everything as `flush` does.
    pub(crate) fn collect(&mut self, force: bool) {
        for _ in 0..2 {
            tables!(self, t => for (key, _) in t.entries() {
                let _ = collect(t, &key, force);
            });
        }
    }
}

fn arriving(packet: &Packet) -> Frame {
    match packet {
        Packet::Four(d) => d.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
        Packet::Six(d) => d.frame(ROUTER_MAC, UPLINK_MAC, UPLINK_IF),
    }
}
