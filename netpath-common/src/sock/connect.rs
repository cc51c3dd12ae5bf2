//! Where connect(2) and sendmsg(2) to an address of the host lead.

use super::{HostPorts, Sockets, mapped, owner, published, unmapped, words};
use crate::{
    addr::{Addr, V4, V6},
    publish::{PublishedPorts as _, Target},
    records::{NETWORK_INTERNAL, NETWORK_ROUTED, RULE_IPV4},
};

/// What becomes of an IPv6 socket's question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent6 {
    /// It is no published port: it goes where it asks.
    Leave,
    /// To a container's IPv6 address.
    Six,
    /// To a container's IPv4 address, v4-mapped.
    Four,
    /// The container has no IPv6 address, and this socket cannot send to IPv4.
    Unable,
}

/// Whether an IPv4 socket that asks for `addr` and `port` is sent elsewhere, and there into `to`.
#[inline(always)]
pub fn destination4<S: Sockets>(
    s: &S,
    proto: u8,
    addr: &V4,
    port: u16,
    to: &mut Target<V4>,
) -> bool {
    destination(s, proto, addr, port, to)
}

/// The same place for an IPv6 socket.
#[inline(always)]
const fn over6(from: &Target<V4>, to: &mut Target<V6>) {
    to.addr = mapped(from.addr);
    to.port = from.port;
    to.endpoint = from.endpoint;
    to.rule = from.rule;
}

/// The same of an IPv6 socket. `four` says whether this socket can send to IPv4: it is not
/// `IPV6_V6ONLY`, is bound to no IPv6 address, and the hook is one where the kernel takes a v4-mapped
/// address.
///
/// A port that is published at any address is published at the host's IPv6 addresses as well where the
/// container has none, unless 0.0.0.0 was named: as with a proxy, but for sockets that cannot. A socket of the host that listens
/// at that address comes first, since nobody has taken the port of IPv6 from it.
#[inline(always)]
pub fn destination6<S: Sockets>(
    s: &S,
    proto: u8,
    addr: &V6,
    port: u16,
    four: bool,
    to: &mut Target<V6>,
) -> Sent6 {
    let mut to4 = Target::default();
    if let Some(addr) = unmapped(addr) {
        if !destination4(s, proto, &addr, port, &mut to4) {
            return Sent6::Leave;
        }
        over6(&to4, to);
        return Sent6::Four;
    }
    if destination(s, proto, addr, port, to) {
        return Sent6::Six;
    }
    if !is_hosts(s, addr) {
        return Sent6::Leave;
    }
    // A port of any address, which a range may hold.
    if !published(s, proto, &V4::NONE, port, true, &mut to4) {
        return Sent6::Leave;
    }
    let Some((e, flags)) = owner(s, to4.endpoint) else {
        return Sent6::Leave;
    };
    if flags & UNREACHABLE != 0 || e.addr6 != V6::NONE || s.listens6(proto, addr, port) {
        return Sent6::Leave;
    }
    let rule = HostPorts::<V4>::ports(s).rule(to4.rule);
    if rule.is_some_and(|r| r.flags & RULE_IPV4 != 0) {
        return Sent6::Leave;
    }
    if !four {
        return Sent6::Unable;
    }
    over6(&to4, to);
    Sent6::Four
}

/// Networks whose published ports are not at the host's addresses: nothing enters an internal one, and
/// a routed one's are at the containers' own addresses.
const UNREACHABLE: u32 = NETWORK_INTERNAL | NETWORK_ROUTED;

#[inline(always)]
fn destination<A: Addr, S: Sockets + HostPorts<A>>(
    s: &S,
    proto: u8,
    addr: &A,
    port: u16,
    to: &mut Target<A>,
) -> bool {
    if !is_hosts(s, addr) || !published(s, proto, addr, port, false, to) {
        return false;
    }
    owner(s, to.endpoint).is_some_and(|(_, flags)| flags & UNREACHABLE == 0)
}

/// Whether a packet to `addr` stays on the host.
#[inline(always)]
fn is_hosts<A: Addr, S: HostPorts<A>>(s: &S, addr: &A) -> bool {
    addr.is_loopback() || s.is_host_addr(addr)
}

/// The address that an IPv4 socket means: the unspecified one is loopback to connect(2) and sendto(2)
/// (`ip_route_connect`, `ip_route_output_key_hash_rcu`).
#[inline(always)]
#[must_use]
pub const fn meant4(addr: V4) -> V4 {
    if u32::from_ne_bytes(addr) == 0 {
        [127, 0, 0, 1]
    } else {
        addr
    }
}

/// The same of an IPv6 socket (`tcp_v6_connect`, `udpv6_sendmsg`).
#[inline(always)]
#[must_use]
pub const fn meant6(addr: V6) -> V6 {
    if let Some(addr) = unmapped(&addr) {
        return mapped(meant4(addr));
    }
    match words(&addr) {
        [0, 0, 0, 0] => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        _ => addr,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::testing::*, *};
    use crate::{
        publish::{Backend, Backends},
        records::{Published, PublishedKey, RULE_IPV4},
        tuple::{TCP, UDP},
    };

    fn sent4(s: &Host, proto: u8, addr: V4, port: u16) -> Option<Target<V4>> {
        let mut to = Target::default();
        destination4(s, proto, &addr, port, &mut to).then_some(to)
    }

    fn sent6(s: &Host, proto: u8, addr: V6, port: u16, four: bool) -> (Sent6, Target<V6>) {
        let mut to = Target::default();
        (destination6(s, proto, &addr, port, four, &mut to), to)
    }

    #[test]
    fn published_ports_of_the_host_lead_into_containers() {
        let mut s = Host::new();
        s.publish4([0; 4], 8080, TCP, ONLY4);
        s.publish4([198, 51, 100, 1], 8081, TCP, ONLY4);
        s.publish4([127, 0, 0, 1], 8082, UDP, ONLY4);
        let to = |addr, port, proto| sent4(&s, proto, meant4(addr), port).map(|p| p.addr);
        let container = Some(s.endpoints[usize::from(ONLY4)].addr);
        for own in [[127, 0, 0, 1], [127, 1, 2, 3], [0; 4], [198, 51, 100, 1]] {
            assert_eq!(to(own, 8080, TCP), container, "{own:?}");
            assert_eq!(to(own, 8080, UDP), None, "{own:?}");
        }
        assert_eq!(to([198, 51, 100, 2], 8080, TCP), None, "somebody else's");
        assert_eq!(to([198, 51, 100, 1], 8081, TCP), container);
        assert_eq!(to([127, 0, 0, 1], 8081, TCP), None);
        assert_eq!(to([127, 0, 0, 1], 8082, UDP), container);
        assert_eq!(to([0; 4], 8082, UDP), container);
        assert_eq!(to([198, 51, 100, 1], 8082, UDP), None);
    }

    #[test]
    fn of_internal_and_routed_networks_nothing_is_at_the_hosts_addresses() {
        for flag in [NETWORK_INTERNAL, NETWORK_ROUTED] {
            let mut s = Host::new();
            s.publish4([0; 4], 8080, TCP, ONLY4);
            s.publish6([0; 16], 8080, TCP, DUAL);
            s.networks[1].flags |= flag;
            assert_eq!(sent4(&s, TCP, [127, 0, 0, 1], 8080), None);
            assert_eq!(sent6(&s, TCP, LOCAL6, 8080, true).0, Sent6::Leave);
        }
    }

    #[test]
    fn a_range_leads_port_by_port_from_both_families() {
        let mut s = Host::new();
        s.publish_range4([0; 4], 9000, 9002, ONLY4);
        for (port, inside) in [
            (8999, None),
            (9000, Some(80)),
            (9002, Some(82)),
            (9003, None),
        ] {
            let four = sent4(&s, TCP, [127, 0, 0, 1], port).map(|p| p.port);
            assert_eq!(four, inside, "{port}");
            let (sent, p) = sent6(&s, TCP, LOCAL6, port, true);
            let six = (sent == Sent6::Four).then_some(p.port);
            assert_eq!(six, inside, "{port}");
        }
    }

    #[test]
    fn the_host_is_let_in_by_every_allow_list() {
        let mut s = Host::new();
        s.publish4([0; 4], 8080, TCP, ONLY4);
        s.ports4.allow(1, &[([203, 0, 113, 0], 24)]);
        assert!(sent4(&s, TCP, [127, 0, 0, 1], 8080).is_some());
    }

    #[test]
    fn sockets_are_spread_over_a_shared_port_and_each_stays() {
        let mut s = Host::new();
        let mut backends = Backends::default();
        for (place, slot) in backends.list.iter_mut().zip([ONLY4, DUAL]) {
            *place = Backend {
                endpoint: slot,
                rule: slot,
                port: 80,
                zero: 0,
            };
            s.ports4.endpoints[usize::from(slot)] = s.endpoints[usize::from(slot)];
        }
        backends.fill();
        s.ports4.backends[1] = backends;
        let key = PublishedKey {
            addr: [0; 4],
            port: 8080,
            proto: TCP,
            zero: 0,
        };
        let shared = Published {
            last: 8080,
            group: 1,
            ..Published::default()
        };
        s.ports4.set_published(key, shared);
        let mut seen = HashSet::new();
        for client in 0..64 {
            s.client = client;
            let to = sent4(&s, TCP, [127, 0, 0, 1], 8080).unwrap().endpoint;
            let again = sent4(&s, TCP, [127, 0, 0, 1], 8080).unwrap().endpoint;
            assert_eq!(to, again);
            seen.insert(to);
        }
        assert_eq!(seen, HashSet::from([ONLY4, DUAL]));
    }

    #[test]
    fn the_unspecified_address_means_loopback() {
        assert_eq!(meant6([0; 16]), LOCAL6);
        assert_eq!(meant6(mapped([0; 4])), mapped([127, 0, 0, 1]));
        for other in [HOST6, LOCAL6, mapped([198, 51, 100, 1])] {
            assert_eq!(meant6(other), other);
        }
    }

    #[test]
    fn ipv6_leads_to_ipv6_where_the_container_has_it() {
        let mut s = Host::new();
        s.publish4([0; 4], 8080, TCP, DUAL);
        s.publish6([0; 16], 8080, TCP, DUAL);
        for own in [LOCAL6, [0; 16], HOST6] {
            let (sent, p) = sent6(&s, TCP, meant6(own), 8080, true);
            let to = s.endpoints[usize::from(DUAL)].addr6;
            assert_eq!((sent, p.addr), (Sent6::Six, to), "{own:?}");
        }
        let other = [0x20; 16];
        assert_eq!(sent6(&s, TCP, other, 8080, true).0, Sent6::Leave);
        // Published for IPv4 alone, though the container has both.
        s.publish4([0; 4], 8081, TCP, DUAL);
        assert_eq!(sent6(&s, TCP, LOCAL6, 8081, true).0, Sent6::Leave);
    }

    #[test]
    fn ipv6_leads_to_an_ipv4_container_where_the_socket_can() {
        let mut s = Host::new();
        s.publish4([0; 4], 8080, TCP, ONLY4);
        s.publish4([198, 51, 100, 1], 8081, TCP, ONLY4);
        let home = mapped(s.endpoints[usize::from(ONLY4)].addr);
        let four = |(sent, p): (Sent6, Target<V6>)| {
            sent == Sent6::Four && (p.endpoint, p.addr) == (ONLY4, home)
        };
        assert!(four(sent6(&s, TCP, LOCAL6, 8080, true)));
        assert_eq!(sent6(&s, TCP, LOCAL6, 8080, false).0, Sent6::Unable);
        assert_eq!(sent6(&s, TCP, LOCAL6, 8081, true).0, Sent6::Leave);
        assert_eq!(sent6(&s, UDP, LOCAL6, 8080, false).0, Sent6::Leave);
        // Named as an IPv4 address it is one, whatever the socket.
        for can in [true, false] {
            let asked = mapped([198, 51, 100, 1]);
            assert!(four(sent6(&s, TCP, asked, 8081, can)));
            let asked = mapped([127, 0, 0, 1]);
            assert_eq!(sent6(&s, TCP, asked, 8081, can).0, Sent6::Leave);
        }
        s.listening6.insert((TCP, LOCAL6, 8080));
        assert_eq!(sent6(&s, TCP, LOCAL6, 8080, true).0, Sent6::Leave);
    }

    #[test]
    fn a_port_at_0_0_0_0_is_of_ipv4_alone() {
        let mut s = Host::new();
        s.publish4([0; 4], 8080, TCP, ONLY4);
        s.ports4.rules[1].flags |= RULE_IPV4;
        assert!(sent4(&s, TCP, [127, 0, 0, 1], 8080).is_some());
        for can in [true, false] {
            assert_eq!(sent6(&s, TCP, LOCAL6, 8080, can).0, Sent6::Leave);
            let asked = mapped([127, 0, 0, 1]);
            assert_eq!(sent6(&s, TCP, asked, 8080, can).0, Sent6::Four);
        }
    }
}
