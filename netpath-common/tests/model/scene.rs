//! What the host's administrator has made of it at a moment, as far as conversations depend on it.
//!
//! Owns the model's own clock, incarnations of containers, uplink and rules. Nothing is read from the
//! host's tables.

use netpath_common::{
    testing::{C1, C2, C3, Container, NET1, plain::Line},
    tuple,
};

use crate::{
    life::Life,
    side::{Name, Side},
};

/// The kernel's coarse clock goes by ticks of 250 Hz.
const TICK_NS: u64 = 4_000_000;

/// The slots of containers and rules on which a conversation may depend, then the uplink.
pub(crate) const UPLINK: usize = 3;
pub(crate) const WEB: usize = 4;
pub(crate) const DNS: usize = 5;
const PARTIES: usize = 6;

/// What a conversation depends on, with the incarnation that it has begun with.
pub(crate) type Parties = [Option<u32>; PARTIES];

/// A moment.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) life: Life,
    ns: u64,
    pub(crate) containers: [Container; 3],
    /// The outside address, by number, of each family.
    hosts: [usize; 2],
    incarnations: [u32; PARTIES],
    /// Where the published ports lead: TCP 8080, UDP 5353.
    pub(crate) web: Option<(usize, u16)>,
    pub(crate) dns: Option<(usize, u16)>,
    /// Their allow lists, by number.
    lists: [Option<usize>; 2],
    /// Ports that sockets of the host listen at, TCP and UDP.
    pub(crate) listening: Vec<u16>,
}

impl Scene {
    pub(crate) fn new(life: Life, ns: u64) -> Self {
        Self {
            life,
            ns,
            containers: [C1, C2, C3],
            hosts: [0; 2],
            incarnations: [0; PARTIES],
            web: Some((0, 80)),
            dns: Some((0, 53)),
            lists: [None; 2],
            listening: Vec::new(),
        }
    }

    /// A published port has another allow list.
    pub(crate) fn allow(&mut self, udp: bool, list: Option<usize>) {
        self.lists[usize::from(udp)] = list;
    }

    /// Whether a published port may be asked by this client.
    pub(crate) fn lets_in<A: Side>(&self, proto: u8, client: A) -> bool {
        let list = self.lists[usize::from(proto == tuple::UDP)];
        let holds = |(net, n): &(A, usize)| net.bytes()[..*n] == client.bytes()[..*n];
        list.is_none_or(|list| A::LISTS[list].iter().any(holds))
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.ns += ms * 1_000_000;
    }

    /// Nanoseconds of the coarse clock.
    pub(crate) const fn now(&self) -> u64 {
        self.ns / TICK_NS * TICK_NS
    }

    /// Something has become another one.
    pub(crate) fn renew(&mut self, party: usize) {
        self.incarnations[party] += 1;
    }

    /// The present incarnations of these.
    pub(crate) fn parties(&self, of: &[usize]) -> Parties {
        let mut parties = [None; PARTIES];
        for party in of {
            parties[*party] = Some(self.incarnations[*party]);
        }
        parties
    }

    /// Whether all of them are still who they were.
    pub(crate) fn are_there(&self, parties: &Parties) -> bool {
        let pairs = parties.iter().zip(self.incarnations);
        pairs.into_iter().all(|(p, now)| p.is_none_or(|p| p == now))
    }

    /// Where a published port leads, and its rule.
    pub(crate) fn published(&self, proto: u8, port: u16) -> Option<(usize, u16, usize)> {
        let (to, rule) = match (proto, port) {
            (tuple::TCP, 8080) => (self.web, WEB),
            (tuple::UDP, 5353) => (self.dns, DNS),
            _ => (None, 0),
        };
        to.map(|(to, inner)| (to, inner, rule))
    }

    /// The outside address.
    pub(crate) fn host<A: Side>(&self) -> A {
        A::HOSTS[self.hosts[usize::from(A::IS_V6)]]
    }

    /// The uplink has another address of a family.
    pub(crate) fn move_host<A: Side>(&mut self) {
        self.hosts[usize::from(A::IS_V6)] ^= 1;
    }

    /// An address by its name.
    pub(crate) fn named<A: Side>(&self, name: Name) -> A {
        A::named(name, &self.containers)
    }

    /// An address of the host, gateways included.
    pub(crate) fn is_host<A: Side>(&self, a: A) -> bool {
        a == self.host() || a.is_gateway()
    }

    /// Whether no packet of the outside can have this source.
    pub(crate) fn is_martian<A: Side>(&self, a: A) -> bool {
        a.is_no_source() || a == self.host() || a.is_private()
    }

    /// Whether masquerade must leave a port alone.
    pub(crate) fn is_taken(&self, proto: u8, port: u16) -> bool {
        !matches!(proto, tuple::ICMP | tuple::ICMPV6)
            && (self.published(proto, port).is_some() || self.listening.contains(&port))
    }

    /// The container with this address.
    pub(crate) fn at<A: Side>(&self, a: A) -> Option<usize> {
        self.containers.iter().position(|c| A::of(c) == a)
    }

    /// Whether a container's network lets it out.
    pub(crate) fn goes_out(&self, who: usize) -> bool {
        is_first(&self.containers[who]) || self.life.masquerade && !self.life.internal
    }

    /// Whether a published port of this container can be reached.
    pub(crate) fn is_reachable(&self, who: usize) -> bool {
        is_first(&self.containers[who]) || !self.life.internal
    }

    /// What the answers to a container's packet look like.
    pub(crate) fn outside<A: Side>(&self, line: &Line<A>, port: u16) -> Line<A> {
        let back = A::back(*line);
        Line {
            dst: self.host(),
            dport: port,
            sport: if line.proto == A::ICMP {
                port
            } else {
                back.sport
            },
            ..back
        }
    }

    /// Whether a port may be the outside one of a flow that had `own` inside.
    pub(crate) fn may_be_outside<A: Side>(&self, line: &Line<A>, port: u16) -> bool {
        let class = |p: u16| match p {
            0..=511 => 1..=511,
            512..=1023 => 600..=1023,
            1024.. => 1024..=u16::MAX,
        };
        match self.life.range {
            _ if line.proto == A::ICMP => true,
            Some((min, max)) => (min..=max).contains(&port),
            // 512 to 599 are kept, and never chosen (RFC 4787, REQ-3 a; the kernel's classes).
            None => port == line.sport || class(line.sport).contains(&port),
        }
    }
}

/// Of the first network: its circumstances are always the usual ones.
pub(crate) fn is_first(c: &Container) -> bool {
    c.network == NET1
}
