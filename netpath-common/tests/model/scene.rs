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
    mode::Mode,
    pool::Pool,
    side::{Name, Side},
};

/// The kernel's coarse clock goes by ticks of 250 Hz.
const TICK_NS: u64 = 4_000_000;

/// The containers on which a conversation may depend, then the uplink, then rules: of each published
/// port, and of each member of the balanced ones.
pub(crate) const UPLINK: usize = 3;
pub(crate) const WEB: usize = 4;
pub(crate) const DNS: usize = 5;
pub(crate) const POOL: usize = 6;
const PARTIES: usize = POOL + 6;

/// What a conversation depends on, with the incarnation that it has begun with.
pub(crate) type Parties = [Option<u32>; PARTIES];

/// The balanced port of the host, of TCP and of UDP, and its containers' own.
pub(crate) const BALANCED: u16 = 9000;
pub(crate) const BALANCED_INSIDE: u16 = 90;

/// Where a published port may lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) who: usize,
    pub(crate) port: u16,
    pub(crate) rule: usize,
}

/// What a client that asks for a port of the host may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Nothing,
    Refused,
    /// One of these.
    Leads(Vec<Target>),
}

/// What is open at a container's own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Open {
    pub(crate) who: usize,
    /// None: everybody may ping.
    pub(crate) rule: Option<usize>,
    /// But not to this client.
    pub(crate) refused: bool,
}

/// The rule that a conversation depends on.
pub(crate) fn rule_of(parties: &Parties) -> Option<usize> {
    (WEB..PARTIES).find(|party| parties[*party].is_some())
}

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
    /// The balanced ports, of TCP and of UDP.
    pub(crate) pools: [Pool; 2],
    /// How often they have changed.
    pub(crate) pool_changes: u32,
    /// Allow lists of rules, by number.
    lists: [Option<usize>; PARTIES],
    /// How the networks are open to the outside.
    pub(crate) modes: [Mode; 2],
    /// Containers whose interface is gone, and user space has not noticed.
    pub(crate) gone: [bool; 3],
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
            pools: [Pool::default(); 2],
            pool_changes: 0,
            lists: [None; PARTIES],
            modes: life.modes,
            gone: [false; 3],
            listening: Vec::new(),
        }
    }

    /// A rule has another allow list.
    pub(crate) const fn allow(&mut self, rule: usize, list: Option<usize>) {
        self.lists[rule] = list;
    }

    /// Whether a rule lets a client in.
    pub(crate) fn lets_in<A: Side>(&self, rule: usize, client: A) -> bool {
        let holds = |(net, n): &(A, usize)| net.bytes()[..*n] == client.bytes()[..*n];
        self.lists[rule].is_none_or(|list| A::LISTS[list].iter().any(holds))
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

    /// Whether a port of the host is published.
    pub(crate) fn is_published(&self, proto: u8, port: u16) -> bool {
        let is_there = |to: Option<(usize, u16)>| to.is_some_and(|(to, _)| !self.is_routed(to));
        match (proto, port) {
            (tuple::TCP, 8080) => is_there(self.web),
            (tuple::UDP, 5353) => is_there(self.dns),
            (_, BALANCED) => self.members(proto).next().is_some(),
            _ => false,
        }
    }

    /// Where a port of the host may lead a client.
    pub(crate) fn asked<A: Side>(&self, proto: u8, port: u16, client: A) -> Asked {
        if !self.is_published(proto, port) {
            return Asked::Nothing;
        }
        let simple = |to: Option<(usize, u16)>, rule| {
            let target = to.map(|(who, port)| Target { who, port, rule });
            if self.lets_in(rule, client) {
                Asked::Leads(target.into_iter().collect())
            } else {
                Asked::Refused
            }
        };
        match port {
            8080 => simple(self.web, WEB),
            5353 => simple(self.dns, DNS),
            _ => self.balanced(proto, client),
        }
    }

    /// What a packet to a container's own address asks for, if that is open to others than its network.
    pub(crate) fn open<A: Side>(&self, line: &Line<A>) -> Option<Open> {
        let who = self.at(line.dst)?;
        if !self.is_routed(who) || !self.is_reachable(who) {
            return None;
        }
        let rule = match (line.proto, line.dport) {
            (icmp, _) if icmp == A::ICMP && A::asks(line.icmp_type) => None,
            (tuple::TCP, 80) if self.web == Some((who, 80)) => Some(WEB),
            (tuple::UDP, 53) if self.dns == Some((who, 53)) => Some(DNS),
            _ => return None,
        };
        Some(Open {
            who,
            rule,
            refused: rule.is_some_and(|rule| !self.lets_in(rule, line.src)),
        })
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
            && (self.is_published(proto, port) || self.listening.contains(&port))
    }

    /// The container with this address.
    pub(crate) fn at<A: Side>(&self, a: A) -> Option<usize> {
        self.containers.iter().position(|c| A::of(c) == a)
    }

    /// Whether a container's network lets it out.
    pub(crate) fn goes_out(&self, who: usize) -> bool {
        is_first(&self.containers[who])
            || (self.life.masquerade || self.is_routed(who)) && !self.life.internal
    }

    /// Whether a published port of this container can be reached.
    pub(crate) fn is_reachable(&self, who: usize) -> bool {
        is_first(&self.containers[who]) || !self.life.internal
    }

    /// Whether two containers are neighbours that do not reach each other by themselves.
    pub(crate) fn are_kept_apart(&self, a: usize, b: usize) -> bool {
        let second = |who: usize| !is_first(&self.containers[who]);
        !self.life.icc && second(a) && second(b)
    }

    /// What the answers to a container's packet look like.
    pub(crate) fn outside<A: Side>(&self, line: &Line<A>, port: u16) -> Line<A> {
        let back = A::back(*line);
        let is_routed = self.at(line.src).is_some_and(|who| self.is_routed(who));
        Line {
            dst: if is_routed { line.src } else { self.host() },
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
