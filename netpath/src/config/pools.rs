//! The address pools from which a network without a subnet gets one, in Docker's order.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

/// (first octets, prefix of the pool, prefix of what is given out): Docker's defaults.
const POOLS: &[([u8; 2], u8, u8)] = &[
    ([172, 17], 16, 16),
    ([172, 18], 16, 16),
    ([172, 19], 16, 16),
    ([172, 20], 14, 16),
    ([172, 24], 14, 16),
    ([172, 28], 14, 16),
    ([192, 168], 16, 20),
];

/// The first subnet of the pools that shares no address with any of `used`. `size`: its prefix length,
/// else that which its pool gives out.
#[must_use]
pub fn choose_subnet(used: &[Ipv4Net], size: Option<u8>) -> Option<Ipv4Net> {
    POOLS.iter().find_map(|&([a, b], pool, given)| {
        let pool = Ipv4Net::new(Ipv4Addr::new(a, b, 0, 0), pool).ok()?;
        // What cannot be in the way of any is not looked at for each.
        let near: Vec<_> = used.iter().filter(|u| overlaps(**u, pool)).collect();
        // A pool that is smaller than what is asked for has none.
        pool.subnets(size.unwrap_or(given))
            .ok()?
            .find(|s| !near.iter().any(|u| overlaps(*s, **u)))
    })
}

/// Whether two subnets share an address.
#[must_use]
pub fn overlaps(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The name servers of a resolv.conf(5).
#[must_use]
pub fn nameservers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        // A link-local address may have its interface behind it.
        let addr = words
            .next()
            .filter(|w| *w == "nameserver")
            .and(words.next());
        addr?.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(s: &str) -> Ipv4Net {
        s.parse().unwrap()
    }

    #[test]
    fn order_and_overlap() {
        let choose = |used: &[&str], size| {
            let used: Vec<_> = used.iter().map(|n| net(n)).collect();
            choose_subnet(&used, size).map(|n| n.to_string())
        };
        for (used, size, chosen) in [
            (&[][..], None, "172.17.0.0/16"),
            (&["172.17.9.0/24"], None, "172.18.0.0/16"),
            (&["172.16.0.0/12"], None, "192.168.0.0/20"),
            (
                &["172.16.0.0/12", "192.168.0.0/19"],
                None,
                "192.168.32.0/20",
            ),
            // Of another size, from the same pools.
            (&[], Some(24), "172.17.0.0/24"),
            (&["172.17.0.0/24"], Some(24), "172.17.1.0/24"),
            (&["172.17.0.0/16"], Some(24), "172.18.0.0/24"),
            (&[], Some(15), "172.20.0.0/15"),
            (&["172.20.0.5/32"], Some(15), "172.22.0.0/15"),
        ] {
            assert_eq!(choose(used, size).as_deref(), Some(chosen), "{used:?}");
        }
        assert_eq!(choose(&["0.0.0.0/0"], None), None);
        assert_eq!(choose(&[], Some(13)), None);
    }

    /// Docker's order, to the last.
    #[test]
    fn every_subnet_of_the_pools_is_given_once() {
        let mut used = Vec::new();
        while let Some(subnet) = choose_subnet(&used, None) {
            assert!(!used.iter().any(|u| overlaps(*u, subnet)));
            used.push(subnet);
        }
        assert_eq!(used.len(), 3 + 3 * 4 + 16);
        assert_eq!(used[3], net("172.20.0.0/16"));
        assert_eq!(used[14], net("172.31.0.0/16"));
        assert_eq!(used[30], net("192.168.240.0/20"));
    }

    #[test]
    fn name_servers() {
        let text = "# nameserver 1.1.1.1\nsearch example\nnameserver 172.17.0.53 \n\
                    nameserver fe80::1%eth0\nnameserver\nnameserver x\noptions edns0\n";
        let servers: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["172.17.0.53", "fe80::1"]);
    }
}
