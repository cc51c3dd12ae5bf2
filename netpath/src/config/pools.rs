//! The address pools from which a network without a subnet gets one, in Docker's order.

use std::net::Ipv4Addr;

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

/// The first subnet of the pools that shares no address with any of `used`.
#[must_use]
pub fn choose_subnet(used: &[Ipv4Net]) -> Option<Ipv4Net> {
    POOLS.iter().find_map(|&([a, b], pool, size)| {
        let pool = Ipv4Net::new(Ipv4Addr::new(a, b, 0, 0), pool).ok()?;
        pool.subnets(size)
            .ok()?
            .find(|s| !used.iter().any(|u| overlaps(*s, *u)))
    })
}

/// Whether two subnets share an address.
#[must_use]
pub fn overlaps(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(s: &str) -> Ipv4Net {
        s.parse().unwrap()
    }

    #[test]
    fn order_and_overlap() {
        assert_eq!(choose_subnet(&[]), Some(net("172.17.0.0/16")));
        assert_eq!(
            choose_subnet(&[net("172.17.9.0/24")]),
            Some(net("172.18.0.0/16"))
        );
        assert_eq!(
            choose_subnet(&[net("172.16.0.0/12")]),
            Some(net("192.168.0.0/20"))
        );
        assert_eq!(
            choose_subnet(&[net("172.16.0.0/12"), net("192.168.0.0/19")]),
            Some(net("192.168.32.0/20"))
        );
        assert_eq!(choose_subnet(&[net("0.0.0.0/0")]), None);
    }
}
