//! Where connect(2) and sendmsg(2) to an address of the host lead.

use super::{HostPorts, Sockets, mapped, owner, published, unmapped, words};
use crate::{
    addr::{Addr, V4, V6},
    records::{NETWORK_INTERNAL, NETWORK_ROUTED, Published, PublishedKey},
};

/// What becomes of an IPv6 socket's question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent6 {
    /// It is no published port: it goes where it asks.
    Leave,
    /// To a container's IPv6 address.
    Six(Published<V6>),
    /// To a container's IPv4 address, v4-mapped.
    Four(Published<V4>),
    /// The container has no IPv6 address, and this socket cannot send to IPv4.
    Unable,
}

/// Where an IPv4 socket that asks for `addr` and `port` is sent; `None` leaves it alone.
#[inline(always)]
pub fn destination4<S: Sockets>(s: &S, proto: u8, addr: V4, port: u16) -> Option<Published<V4>> {
    destination(s, proto, addr, port)
}

/// The same of an IPv6 socket. `four` says whether this socket can send to IPv4: it is not
/// `IPV6_V6ONLY`, is bound to no IPv6 address, and the hook is one where the kernel takes a v4-mapped
/// address.
///
/// A port that is published at any address is published at the host's IPv6 addresses as well where the
/// container has none: as with a proxy, but for sockets that cannot. A socket of the host that listens
/// at that address comes first, since nobody has taken the port of IPv6 from it.
#[inline(always)]
pub fn destination6<S: Sockets>(s: &S, proto: u8, addr: V6, port: u16, four: bool) -> Sent6 {
    if let Some(addr) = unmapped(&addr) {
        return match destination4(s, proto, addr, port) {
            Some(p) => Sent6::Four(p),
            None => Sent6::Leave,
        };
    }
    if let Some(p) = destination(s, proto, addr, port) {
        return Sent6::Six(p);
    }
    if !is_hosts(s, &addr) {
        return Sent6::Leave;
    }
    let any = PublishedKey {
        addr: V4::NONE,
        port,
        proto,
        zero: 0,
    };
    let Some(p) = s.published(&any).filter(|p| {
        owner(s, p.endpoint)
            .is_some_and(|(e, flags)| flags & UNREACHABLE == 0 && e.addr6 == V6::NONE)
    }) else {
        return Sent6::Leave;
    };
    if s.listens6(proto, &addr, port) {
        Sent6::Leave
    } else if four {
        Sent6::Four(p)
    } else {
        Sent6::Unable
    }
}

/// Networks whose published ports are not at the host's addresses: nothing enters an internal one, and
/// a routed one's are at the containers' own addresses.
const UNREACHABLE: u32 = NETWORK_INTERNAL | NETWORK_ROUTED;

#[inline(always)]
fn destination<A: Addr, S: Sockets + HostPorts<A>>(
    s: &S,
    proto: u8,
    addr: A,
    port: u16,
) -> Option<Published<A>> {
    if !is_hosts(s, &addr) {
        return None;
    }
    let p = published(s, proto, addr, port)?;
    let (_, flags) = owner(s, p.endpoint)?;
    (flags & UNREACHABLE == 0).then_some(p)
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
    use super::{super::testing::*, *};
    use crate::tuple::{TCP, UDP};

    #[test]
    fn published_ports_of_the_host_lead_into_containers() {
        let mut s = Host::new();
        s.publish4([0; 4], 8080, TCP, ONLY4);
        s.publish4([198, 51, 100, 1], 8081, TCP, ONLY4);
        s.publish4([127, 0, 0, 1], 8082, UDP, ONLY4);
        let to = |addr, port, proto| destination4(&s, proto, meant4(addr), port).map(|p| p.addr);
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
            assert_eq!(destination4(&s, TCP, [127, 0, 0, 1], 8080), None);
            assert_eq!(destination6(&s, TCP, LOCAL6, 8080, true), Sent6::Leave);
        }
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
            let sent = destination6(&s, TCP, meant6(own), 8080, true);
            let to = s.endpoints[usize::from(DUAL)].addr6;
            assert!(
                matches!(sent, Sent6::Six(p) if p.addr == to),
                "{own:?}: {sent:?}"
            );
        }
        let other = [0x20; 16];
        assert_eq!(destination6(&s, TCP, other, 8080, true), Sent6::Leave);
        // Published for IPv4 alone, though the container has both.
        s.publish4([0; 4], 8081, TCP, DUAL);
        assert_eq!(destination6(&s, TCP, LOCAL6, 8081, true), Sent6::Leave);
    }

    #[test]
    fn ipv6_leads_to_an_ipv4_container_where_the_socket_can() {
        let mut s = Host::new();
        s.publish4([0; 4], 8080, TCP, ONLY4);
        s.publish4([198, 51, 100, 1], 8081, TCP, ONLY4);
        let four = |sent| match sent {
            Sent6::Four(p) => p.endpoint == ONLY4,
            Sent6::Leave | Sent6::Six(_) | Sent6::Unable => false,
        };
        assert!(four(destination6(&s, TCP, LOCAL6, 8080, true)));
        assert_eq!(destination6(&s, TCP, LOCAL6, 8080, false), Sent6::Unable);
        assert_eq!(destination6(&s, TCP, LOCAL6, 8081, true), Sent6::Leave);
        assert_eq!(destination6(&s, UDP, LOCAL6, 8080, false), Sent6::Leave);
        // Named as an IPv4 address it is one, whatever the socket.
        for can in [true, false] {
            let asked = mapped([198, 51, 100, 1]);
            assert!(four(destination6(&s, TCP, asked, 8081, can)));
            let asked = mapped([127, 0, 0, 1]);
            assert_eq!(destination6(&s, TCP, asked, 8081, can), Sent6::Leave);
        }
        s.listening6.insert((TCP, LOCAL6, 8080));
        assert_eq!(destination6(&s, TCP, LOCAL6, 8080, true), Sent6::Leave);
    }
}
