//! Which flows a command is about.
//!
//! Owns the conditions, which are those of the conntrack tool. Parses no command line.

use std::net::Ipv4Addr;

use netpath_common::tuple::ICMP;

use super::Flow;

/// What a flow must look like; everything left out matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// IP protocol number.
    pub proto: Option<u8>,
    /// Source of the original direction.
    pub src: Option<Ipv4Addr>,
    /// Destination of the original direction.
    pub dst: Option<Ipv4Addr>,
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
    To(Ipv4Addr),
}

impl Filter {
    /// Whether the flow is one that is asked for.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        let (o, r) = (&flow.tuple, &flow.reply);
        // ICMP identifiers are not ports.
        let port = |want: Option<u16>, is: u16| want.is_none_or(|w| o.proto != ICMP && w == is);
        self.proto.is_none_or(|p| p == o.proto)
            && self.src.is_none_or(|a| a.octets() == o.src)
            && self.dst.is_none_or(|a| a.octets() == o.dst)
            && port(self.sport, o.sport)
            && port(self.dport, o.dport)
            && nat(self.src_nat, (o.src, o.sport), (r.dst, r.dport))
            && nat(self.dst_nat, (o.dst, o.dport), (r.src, r.sport))
    }

    /// Whether every flow matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn nat(want: Option<NatFilter>, before: ([u8; 4], u16), after: ([u8; 4], u16)) -> bool {
    match want {
        None => true,
        Some(NatFilter::Any) => before != after,
        Some(NatFilter::To(addr)) => before != after && after.0 == addr.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::masqueraded, *};

    #[test]
    fn every_condition_counts() {
        let flow = masqueraded();
        let outside = Some(Ipv4Addr::new(198, 51, 100, 2));
        let uplink = Ipv4Addr::new(198, 51, 100, 1);
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
                    src_nat: Some(NatFilter::To(Ipv4Addr::LOCALHOST)),
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
        let mut flow = masqueraded();
        flow.tuple.proto = ICMP;
        assert!(
            !Filter {
                sport: Some(40_000),
                ..Filter::default()
            }
            .matches(&flow)
        );
    }
}
