//! Which flows a command is about.
//!
//! Owns the conditions, which are those of the conntrack tool. Parses no command line.

use std::net::IpAddr;

use super::Flow;
use crate::bpf::Family;

/// What a flow must look like; everything left out matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The kernel's number of the family of addresses (`AF_*`).
    pub family: Option<u8>,
    /// IP protocol number.
    pub proto: Option<u8>,
    /// Source of the original direction.
    pub src: Option<IpAddr>,
    /// Destination of the original direction.
    pub dst: Option<IpAddr>,
    /// Source port of the original direction.
    pub sport: Option<u16>,
    /// Destination port of the original direction.
    pub dport: Option<u16>,
    /// Flows whose source is translated.
    pub src_nat: Option<NatFilter>,
    /// Flows whose destination is translated.
    pub dst_nat: Option<NatFilter>,
}

/// Translated at all, or to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatFilter {
    /// To any address or port.
    Any,
    /// To this address.
    To(IpAddr),
}

impl Filter {
    /// Whether the flow is one that is asked for.
    #[must_use]
    pub fn matches<A: Family>(&self, flow: &Flow<A>) -> bool {
        let (o, r) = (&flow.tuple, &flow.reply);
        // ICMP identifiers are not ports.
        let port = |want: Option<u16>, is: u16| want.is_none_or(|w| o.proto != A::ICMP && w == is);
        self.asks_for::<A>()
            && self.proto.is_none_or(|p| p == o.proto)
            && self.src.is_none_or(|a| a == o.src.ip())
            && self.dst.is_none_or(|a| a == o.dst.ip())
            && port(self.sport, o.sport)
            && port(self.dport, o.dport)
            && nat(self.src_nat, (o.src, o.sport), (r.dst, r.dport))
            && nat(self.dst_nat, (o.dst, o.dport), (r.src, r.sport))
    }

    /// Whether a flow of this family can match.
    #[must_use]
    pub fn asks_for<A: Family>(&self) -> bool {
        self.family.is_none_or(|f| f == A::NUMBER)
    }

    /// Whether every flow matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn nat<A: Family>(want: Option<NatFilter>, before: (A, u16), after: (A, u16)) -> bool {
    match want {
        None => true,
        Some(NatFilter::Any) => before != after,
        Some(NatFilter::To(addr)) => before != after && after.0.ip() == addr,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netpath_common::tuple::{ICMP, ICMPV6};

    use super::{
        super::testing::{masqueraded, masqueraded6},
        *,
    };

    #[test]
    fn a_family_is_asked_for_by_its_number_or_by_an_address() {
        let (v4, v6) = (masqueraded(), masqueraded6());
        let family = |family| Filter {
            family,
            ..Filter::default()
        };
        let matches = |f: Filter| (f.matches(&v4), f.matches(&v6));
        assert_eq!(matches(family(None)), (true, true));
        assert_eq!(matches(family(Some(2))), (true, false));
        assert_eq!(matches(family(Some(10))), (false, true));
        let from = |src: &str| Filter {
            src: src.parse().ok(),
            ..Filter::default()
        };
        assert_eq!(matches(from("172.17.0.2")), (true, false));
        assert_eq!(matches(from("fd00:17::2")), (false, true));
        let to = |to: &str| Filter {
            src_nat: Some(NatFilter::To(to.parse().unwrap())),
            ..Filter::default()
        };
        assert_eq!(matches(to("2001:db8:1::10")), (false, true));
        assert_eq!(matches(to("2001:db8:1::11")), (false, false));
    }

    #[test]
    fn every_condition_counts() {
        let flow = masqueraded();
        let outside = Some(Ipv4Addr::new(198, 51, 100, 2).into());
        let uplink = Ipv4Addr::new(198, 51, 100, 1).into();
        let all = Filter::default();
        for (filter, expected) in [
            (all, true),
            (
                Filter {
                    proto: Some(6),
                    ..all
                },
                true,
            ),
            (
                Filter {
                    proto: Some(17),
                    ..all
                },
                false,
            ),
            (
                Filter {
                    dst: outside,
                    dport: Some(80),
                    ..all
                },
                true,
            ),
            (
                Filter {
                    dst: outside,
                    dport: Some(81),
                    ..all
                },
                false,
            ),
            (
                Filter {
                    src: outside,
                    ..all
                },
                false,
            ),
            (
                Filter {
                    sport: Some(40_000),
                    ..all
                },
                true,
            ),
            (
                Filter {
                    src_nat: Some(NatFilter::Any),
                    ..all
                },
                true,
            ),
            (
                Filter {
                    src_nat: Some(NatFilter::To(uplink)),
                    ..all
                },
                true,
            ),
            (
                Filter {
                    src_nat: Some(NatFilter::To(Ipv4Addr::LOCALHOST.into())),
                    ..all
                },
                false,
            ),
            (
                Filter {
                    dst_nat: Some(NatFilter::Any),
                    ..all
                },
                false,
            ),
        ] {
            assert_eq!(filter.matches(&flow), expected, "{filter:?}");
        }
        assert!(all.is_empty());
        assert!(
            !Filter {
                dport: Some(0),
                ..all
            }
            .is_empty()
        );
    }

    #[test]
    fn icmp_has_no_ports() {
        let (mut flow, mut flow6) = (masqueraded(), masqueraded6());
        let by_port = Filter {
            sport: Some(40_000),
            ..Filter::default()
        };
        assert!(by_port.matches(&flow) && by_port.matches(&flow6));
        (flow.tuple.proto, flow6.tuple.proto) = (ICMP, ICMPV6);
        assert!(!by_port.matches(&flow) && !by_port.matches(&flow6));
    }
}
