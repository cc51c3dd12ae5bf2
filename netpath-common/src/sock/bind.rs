//! Which ports bind(2) does not give, because they are published.
//!
//! As the kernel's own conflicts, but no socket option makes a difference: a published port has its
//! packets before any socket sees them.

use super::{HostPorts, Sockets, owner, published, unmapped};
use crate::{
    addr::{Addr, V4, V6},
    publish::Target,
    records::NETWORK_PORTS_FREE,
};

/// Whether a published port stands against an IPv4 socket's bind.
#[inline(always)]
pub fn is_taken4<S: Sockets>(s: &S, proto: u8, addr: V4, port: u16) -> bool {
    is_taken(s, proto, addr, port)
}

/// The same of an IPv6 socket. One that is not `IPV6_V6ONLY` (`only6`) and bound to any address takes
/// IPv4 as well.
#[inline(always)]
pub fn is_taken6<S: Sockets>(s: &S, proto: u8, addr: V6, port: u16, only6: bool) -> bool {
    if let Some(addr) = unmapped(&addr) {
        return is_taken4(s, proto, addr, port);
    }
    is_taken(s, proto, addr, port)
        || addr == V6::NONE && !only6 && is_taken4(s, proto, V4::NONE, port)
}

#[inline(always)]
fn is_taken<A: Addr, S: Sockets + HostPorts<A>>(s: &S, proto: u8, addr: A, port: u16) -> bool {
    // Port 0 lets the kernel choose.
    if port == 0 || !HostPorts::<A>::is_taken(s, proto, port) {
        return false;
    }
    if addr == A::NONE {
        return true;
    }
    // Some address's; this one's, or every one's?
    let mut to = Target::default();
    published(s, proto, &addr, port, false, &mut to)
        .then(|| owner(s, to.endpoint))
        .flatten()
        .is_some_and(|(_, flags)| flags & NETWORK_PORTS_FREE == 0)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{
        records::{NETWORK_PORTS_HELD, NETWORK_ROUTED},
        sock::mapped,
        tuple::{TCP, UDP},
    };

    const ANY: V4 = [0; 4];
    const ONE: V4 = [198, 51, 100, 1];
    const OTHER: V4 = [198, 51, 100, 9];

    #[test]
    fn specific_addresses_and_any_conflict_as_those_of_sockets_do() {
        let mut s = Host::new();
        s.publish4(ANY, 8080, TCP, ONLY4);
        s.publish4(ONE, 8081, TCP, ONLY4);
        for addr in [ANY, ONE, OTHER, [127, 0, 0, 1]] {
            assert!(is_taken4(&s, TCP, addr, 8080), "{addr:?}");
            assert!(!is_taken4(&s, UDP, addr, 8080), "{addr:?}");
            assert!(!is_taken4(&s, TCP, addr, 8082), "{addr:?}");
            assert!(!is_taken4(&s, TCP, addr, 0), "{addr:?}");
        }
        assert!(is_taken4(&s, TCP, ANY, 8081));
        assert!(is_taken4(&s, TCP, ONE, 8081));
        assert!(!is_taken4(&s, TCP, OTHER, 8081));
        assert!(!is_taken4(&s, TCP, [127, 0, 0, 1], 8081));
    }

    #[test]
    fn an_ipv6_socket_takes_ipv4_unless_it_says_not() {
        let mut s = Host::new();
        s.publish4(ANY, 8080, TCP, ONLY4);
        s.publish4(ONE, 8081, TCP, ONLY4);
        s.publish6([0; 16], 8082, TCP, DUAL);
        s.publish6(HOST6, 8083, TCP, DUAL);
        let any6 = V6::NONE;
        for port in [8080, 8081] {
            assert!(is_taken6(&s, TCP, any6, port, false), "{port}");
            assert!(!is_taken6(&s, TCP, any6, port, true), "{port}");
            assert!(!is_taken6(&s, TCP, HOST6, port, false), "{port}");
            assert!(is_taken6(&s, TCP, mapped(ONE), port, false), "{port}");
        }
        assert!(!is_taken6(&s, TCP, mapped(OTHER), 8081, false));
        for only6 in [true, false] {
            for port in [8082, 8083] {
                assert!(is_taken6(&s, TCP, any6, port, only6), "{port}");
                assert!(is_taken6(&s, TCP, HOST6, port, only6), "{port}");
            }
            assert!(is_taken6(&s, TCP, LOCAL6, 8082, only6));
            assert!(!is_taken6(&s, TCP, LOCAL6, 8083, only6));
        }
        // IPv4 is another matter.
        assert!(!is_taken4(&s, TCP, ANY, 8082));
        assert!(!is_taken6(&s, TCP, mapped(ANY), 8082, false));
    }

    #[test]
    fn ports_that_somebody_else_holds_are_left_alone() {
        let mut s = Host::new();
        s.networks[1].flags |= NETWORK_PORTS_HELD;
        s.publish4(ANY, 8080, TCP, ONLY4);
        s.publish6([0; 16], 8080, TCP, DUAL);
        for addr in [ANY, ONE] {
            assert!(!is_taken4(&s, TCP, addr, 8080), "{addr:?}");
        }
        for addr in [V6::NONE, HOST6, LOCAL6] {
            assert!(!is_taken6(&s, TCP, addr, 8080, false), "{addr:?}");
        }
        // The number is also another network's, at another address.
        s.publish4([203, 0, 113, 1], 8080, TCP, OTHERS);
        assert!(is_taken4(&s, TCP, ANY, 8080));
        assert!(is_taken4(&s, TCP, [203, 0, 113, 1], 8080));
        assert!(!is_taken4(&s, TCP, ONE, 8080));
    }

    #[test]
    fn every_port_of_a_range_is_taken() {
        let mut s = Host::new();
        s.publish_range4(ONE, 9000, 9002, ONLY4);
        for (port, taken) in [(8999, false), (9000, true), (9002, true), (9003, false)] {
            assert_eq!(is_taken4(&s, TCP, ONE, port), taken, "{port}");
            assert!(!is_taken4(&s, TCP, OTHER, port), "{port}");
        }
    }

    #[test]
    fn the_ports_of_a_routed_network_are_not_the_hosts() {
        let mut s = Host::new();
        s.networks[1].flags |= NETWORK_ROUTED;
        let own = s.endpoints[usize::from(ONLY4)].addr;
        s.publish4(own, 80, TCP, ONLY4);
        assert!(!is_taken4(&s, TCP, ANY, 80) && !is_taken4(&s, TCP, own, 80));
    }
}
