//! Host ports that are taken: ranges at addresses of both families, and who has them. Pure.
//!
//! Owns which two bindings of a port are in each other's way. Chooses no port.

use std::{collections::BTreeMap, net::IpAddr};

use super::{PortRange, Protocol};

/// What takes ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taker {
    /// A published port; `balance`: it may be shared by others that say so.
    Rule {
        /// See there.
        balance: bool,
    },
    /// A socket of the host; `only6`: one of any IPv6 address to which no IPv4 comes (`IPV6_V6ONLY`).
    Socket {
        /// See there.
        only6: bool,
    },
}

/// Ports that are taken at an address; unspecified means any of its family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim<H> {
    /// Protocol.
    pub proto: Protocol,
    /// The host's ports.
    pub ports: PortRange,
    /// Address of the host.
    pub addr: IpAddr,
    /// By what.
    pub by: Taker,
    /// By whom.
    pub holder: H,
}

impl<H> Claim<H> {
    /// Whether `other` shares a port with this one that it cannot have as well.
    ///
    /// Of two published ports the more specific address goes first, so only the same address is in
    /// the way. A socket takes what the kernel would give it: a wildcard meets every address, and the
    /// one of IPv6 those of IPv4 too.
    #[must_use]
    pub fn is_in_the_way_of<G>(&self, other: &Claim<G>) -> bool {
        if self.proto != other.proto || !self.ports.overlaps(other.ports) {
            return false;
        }
        match (self.by, other.by) {
            (Taker::Rule { balance: a }, Taker::Rule { balance: b }) => {
                self.addr == other.addr && !(a && b && self.ports == other.ports)
            }
            (Taker::Socket { only6 }, _) => socket_meets(self.addr, only6, other.addr),
            (_, Taker::Socket { only6 }) => socket_meets(other.addr, only6, self.addr),
        }
    }
}

/// Whether the kernel would refuse to bind `addr` beside a socket.
fn socket_meets(socket: IpAddr, only6: bool, addr: IpAddr) -> bool {
    match (socket, addr) {
        // A socket of IPv6 takes IPv4 at any address.
        (IpAddr::V6(s), IpAddr::V4(_)) => s.is_unspecified() && !only6,
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        _ => socket == addr || socket.is_unspecified() || addr.is_unspecified(),
    }
}

/// Taken ports. Those of one port each, which may be thousands, are found by their number.
#[derive(Debug)]
pub struct Claims<H> {
    single: BTreeMap<(Protocol, u16), Vec<Claim<H>>>,
    wide: Vec<Claim<H>>,
}

impl<H> Default for Claims<H> {
    fn default() -> Self {
        Self {
            single: BTreeMap::new(),
            wide: Vec::new(),
        }
    }
}

impl<H> Claims<H> {
    /// Notes ports as taken.
    pub fn add(&mut self, claim: Claim<H>) {
        if claim.ports.width() == 1 {
            let at = (claim.proto, claim.ports.first());
            self.single.entry(at).or_default().push(claim);
        } else {
            self.wide.push(claim);
        }
    }

    /// Every claim that shares a port with these.
    pub fn meeting(&self, proto: Protocol, ports: PortRange) -> impl Iterator<Item = &Claim<H>> {
        let single = self
            .single
            .range((proto, ports.first())..=(proto, ports.last()));
        let wide = move |c: &&Claim<H>| c.proto == proto && c.ports.overlaps(ports);
        let single = single.flat_map(|(_, claims)| claims);
        single.chain(self.wide.iter().filter(wide))
    }

    /// Every claim that is in the way of another one.
    pub fn in_the_way_of<G>(&self, other: Claim<G>) -> impl Iterator<Item = &Claim<H>> {
        self.meeting(other.proto, other.ports)
            .filter(move |c| c.is_in_the_way_of(&other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(text: &str, by: Taker) -> Claim<()> {
        let (addr, ports) = text.rsplit_once(' ').unwrap();
        Claim {
            proto: Protocol::Tcp,
            ports: ports.parse().unwrap(),
            addr: addr.parse().unwrap(),
            by,
            holder: (),
        }
    }

    #[test]
    fn what_is_in_whose_way() {
        const RULE: Taker = Taker::Rule { balance: false };
        const SHARED: Taker = Taker::Rule { balance: true };
        const SOCKET: Taker = Taker::Socket { only6: false };
        const ONLY6: Taker = Taker::Socket { only6: true };
        let cases = [
            ("0.0.0.0 80", RULE, "0.0.0.0 80", RULE, true),
            ("0.0.0.0 80", RULE, "0.0.0.0 81", RULE, false),
            ("0.0.0.0 80-90", RULE, "0.0.0.0 85", RULE, true),
            ("0.0.0.0 80-90", RULE, "0.0.0.0 90-99", RULE, true),
            ("0.0.0.0 80", RULE, "127.0.0.1 80", RULE, false),
            ("192.0.2.1 80", RULE, "127.0.0.1 80", RULE, false),
            ("0.0.0.0 80", RULE, ":: 80", RULE, false),
            ("0.0.0.0 80", SHARED, "0.0.0.0 80", SHARED, false),
            ("0.0.0.0 80", SHARED, "0.0.0.0 80", RULE, true),
            ("0.0.0.0 80-81", SHARED, "0.0.0.0 80", SHARED, true),
            ("0.0.0.0 80", SOCKET, "127.0.0.1 80", RULE, true),
            ("127.0.0.1 80", SOCKET, "0.0.0.0 1-99", RULE, true),
            ("127.0.0.1 80", SOCKET, "192.0.2.1 80", RULE, false),
            (":: 80", SOCKET, "192.0.2.1 80", RULE, true),
            ("::1 80", SOCKET, "0.0.0.0 80", RULE, false),
            ("0.0.0.0 80", SOCKET, ":: 80", RULE, false),
            ("::1 80", SOCKET, ":: 80", RULE, true),
            ("192.0.2.1 80", SOCKET, "192.0.2.1 80", RULE, true),
            (":: 80", SOCKET, "2001:db8::1 80", RULE, true),
            (":: 80", ONLY6, "192.0.2.1 80", RULE, false),
            (":: 80", ONLY6, "2001:db8::1 80", RULE, true),
            ("2001:db8::1 80", SOCKET, ":: 80", RULE, true),
            ("::1 80", SOCKET, "2001:db8::1 80", RULE, false),
        ];
        for (a, by_a, b, by_b, want) in cases {
            let (x, y) = (claim(a, by_a), claim(b, by_b));
            assert_eq!(x.is_in_the_way_of(&y), want, "{a} and {b}");
            assert_eq!(y.is_in_the_way_of(&x), want, "{b} and {a}");
            let mut all = Claims::default();
            all.add(x);
            assert_eq!(
                all.in_the_way_of(y.clone()).next().is_some(),
                want,
                "{a} and {b}"
            );
            let udp = Claim {
                proto: Protocol::Udp,
                ..y
            };
            assert!(all.in_the_way_of(udp).next().is_none());
        }
    }
}
