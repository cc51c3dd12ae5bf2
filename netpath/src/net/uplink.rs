//! Uplinks: the interfaces that lead out, and the address that leaves by them.

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{Address, Error, Link, Netlink};
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
    /// MTU in bytes.
    pub mtu: u32,
}

impl Netlink {
    /// The uplinks that exist of those that `wanted` names. `not` are interfaces that never are:
    /// the bridges of netpath itself.
    ///
    /// # Errors
    /// A request failed.
    pub async fn uplinks(&self, wanted: &Uplinks, not: &[u32]) -> Result<Vec<Uplink>, Error> {
        let links = self.links().await?;
        let chosen: Vec<&Link> = match wanted {
            Uplinks::Named(names) => names
                .iter()
                .filter_map(|n| links.iter().find(|l| l.name == *n))
                .collect(),
            Uplinks::Auto => {
                let mut routes = self.routes().await?;
                routes.retain(|r| r.destination.prefix_len() == 0);
                routes.sort_by_key(|r| r.metric);
                let mut seen = BTreeSet::new();
                routes
                    .iter()
                    .flat_map(|r| &r.interfaces)
                    .filter(|i| !not.contains(i) && seen.insert(**i))
                    .filter_map(|i| links.iter().find(|l| l.index == *i))
                    .collect()
            }
        };
        let addresses = self.addresses().await?;
        Ok(chosen
            .into_iter()
            .map(|l| Uplink {
                name: l.name.clone(),
                index: l.index,
                addr: primary_address(&addresses, l.index),
                mtu: l.mtu,
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

#[cfg(test)]
mod tests {
    use super::*;

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
