//! Uplinks: the interfaces that lead out, and the addresses that leave by them.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{Address, Address6, Error, Link, Netlink};
use crate::config::Uplinks;

/// An interface that leads out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// Name.
    pub name: String,
    /// Interface index.
    pub index: u32,
    /// Its primary address; `None` when it has none.
    pub addr: Option<Ipv4Addr>,
    /// The IPv6 address that leaves by it; `None` when it has none.
    pub addr6: Option<Ipv6Addr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Its packets have no Ethernet header.
    pub bare: bool,
}

impl Netlink {
    /// The uplinks that exist of those that `wanted` names; auto means the interfaces of the default
    /// routes of any table. `not` are interfaces that never are: the bridges of netpath
    /// itself. What carries neither Ethernet frames nor bare IP packets is none.
    ///
    /// # Errors
    /// A request failed.
    pub async fn uplinks(&self, wanted: &Uplinks, not: &[u32]) -> Result<Vec<Uplink>, Error> {
        let links = self.links().await?;
        let chosen: Vec<&Link> = match wanted {
            Uplinks::Named(names) => names
                .iter()
                .filter_map(|n| links.iter().find(|l| l.name == *n && l.can_lead_out()))
                .collect(),
            Uplinks::Auto => {
                let mut seen = BTreeSet::new();
                let interfaces = self.default_interfaces().await?;
                interfaces
                    .iter()
                    .filter(|i| !not.contains(i) && seen.insert(**i))
                    .filter_map(|i| links.iter().find(|l| l.index == *i && l.can_lead_out()))
                    .collect()
            }
        };
        let (addresses, addresses6) = (self.addresses().await?, self.addresses6().await?);
        Ok(chosen
            .into_iter()
            .map(|l| Uplink {
                name: l.name.clone(),
                index: l.index,
                addr: primary_address(&addresses, l.index),
                addr6: preferred_address6(&addresses6, l.index),
                mtu: l.mtu,
                bare: l.bare,
            })
            .collect())
    }
}

/// The address that the kernel's `inet_select_addr` would choose for a destination behind a
/// gateway: the link's first that is not secondary and of global scope.
fn primary_address(addresses: &[Address], index: u32) -> Option<Ipv4Addr> {
    addresses
        .iter()
        .find(|a| a.index == index && a.global && !a.secondary)
        .map(|a| a.addr.addr())
}

/// The address of the link that source selection (RFC 6724, 5) would choose for a destination
/// outside, whichever that is: neither tentative nor link-local; rather one that is not deprecated
/// (rule 3), rather a global than a unique local one (rule 6, by the labels), rather a public than a
/// temporary one (rule 7 as Linux has it with `use_tempaddr` below 2), for a port that is published
/// and a flow outlive the days that a temporary one lasts; else the kernel's first.
fn preferred_address6(addresses: &[Address6], index: u32) -> Option<Ipv6Addr> {
    addresses
        .iter()
        .filter(|a| a.index == index && a.is_global() && !a.tentative)
        .min_by_key(|a| (a.deprecated, a.addr.addr().is_unique_local(), a.temporary))
        .map(|a| a.addr.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_ipv6_address_is_the_one_that_source_selection_takes() {
        let a = |text: &str, flags: &str| Address6 {
            index: 2,
            addr: text.parse().unwrap(),
            deprecated: flags.contains("deprecated"),
            temporary: flags.contains("temporary"),
            tentative: flags.contains("tentative"),
            permanent: true,
        };
        // Each is better than those before it.
        let all = [
            a("fe80::1/64", ""),
            a("2001:db8::1/64", "tentative"),
            a("fd00::2/64", "deprecated"),
            a("2001:db8::3/64", "deprecated temporary"),
            a("fd00::4/64", "temporary"),
            a("fd00::5/64", ""),
            a("2001:db8::6/64", "temporary"),
            a("2001:db8::7/64", ""),
        ];
        for (n, best) in all.iter().enumerate() {
            let found = preferred_address6(&all[..=n], 2);
            assert_eq!(found, (n >= 2).then(|| best.addr.addr()), "{n}");
        }
        // Of equals the kernel's first.
        let equal = [a("2001:db8::8/64", ""), all[7].clone()];
        let first = equal[0].addr.addr();
        assert_eq!(preferred_address6(&equal, 2), Some(first));
        assert_eq!(preferred_address6(&equal, 3), None);
    }

    #[test]
    fn the_primary_address_is_the_first_global_one_of_the_link() {
        let a = |index, text: &str, global, secondary| Address {
            index,
            addr: text.parse().unwrap(),
            global,
            secondary,
        };
        let all = [
            a(1, "192.0.2.9/24", true, false),
            a(2, "169.254.1.1/16", false, false),
            a(2, "198.51.100.3/24", true, true),
            a(2, "198.51.100.2/24", true, false),
        ];
        assert_eq!(
            primary_address(&all, 2),
            Some(Ipv4Addr::new(198, 51, 100, 2))
        );
        assert_eq!(primary_address(&all, 3), None);
    }
}
