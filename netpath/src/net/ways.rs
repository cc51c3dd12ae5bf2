//! The ways out of a container that has several: its default routes, and for each of its addresses a
//! routing table that leads out by the interface of that address.
//!
//! Without those tables what a container answers would leave by its default route whatever was asked,
//! with the address of another network, and be dropped there as forged.

use std::{collections::BTreeSet, net::IpAddr};

use futures_util::TryStreamExt as _;
use ipnet::{IpNet, Ipv6Net};
use nix::errno::Errno;
use rtnetlink::{
    IpVersion,
    packet_route::{
        AddressFamily,
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};

use super::{Error, Hop, Netlink, error::is_errno, namespace::Namespace};

/// Priority of the rules: before those of the main table (`RT_TABLE_MAIN`, 32766).
const PRIORITY: u32 = 0x6e70;
/// The table of an interface is this and its index; far from tables that somebody has numbered.
const TABLES: u32 = 0x6e70_0000;

/// A way out of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// Interface of the container.
    pub ifname: String,
    /// The container's address on it, with the prefix length of its subnet.
    pub source: IpNet,
    /// Where it leads.
    pub hop: Hop,
    /// What has no address yet leaves by it.
    pub default: bool,
}

/// Makes the ways out of a container be these, all that its networks give it; routes of its own stay.
///
/// # Errors
/// The namespace cannot be entered, or the kernel refused a default route.
pub fn put(netns: &Namespace, ways: &[Way]) -> Result<(), Error> {
    netns.run(async |netlink| {
        let links = netlink.links().await?;
        let index = |way: &Way| {
            let link = links.iter().find(|l| l.name == way.ifname);
            link.map(|l| l.index)
        };
        // One that is made later in the same change comes back here.
        let here: Vec<(&Way, u32)> = ways.iter().filter_map(|w| Some((w, index(w)?))).collect();
        for (way, index) in here.iter().filter(|(way, _)| !way.default) {
            netlink.remove_default_route(*index, way.hop).await?;
        }
        for (way, index) in here.iter().filter(|(way, _)| way.default) {
            netlink.add_default_route(*index, way.hop).await?;
        }
        for v4 in [true, false] {
            let own = here
                .iter()
                .filter(|(way, _)| way.source.addr().is_ipv4() == v4);
            let own: Vec<_> = own.copied().collect();
            if let Err(e) = netlink.put_tables(v4, &own).await {
                // Without policy routing a container answers by its default routes alone.
                tracing::warn!("in `{}`: {e}", netns.name());
            }
        }
        Ok(())
    })
}

/// What tells one rule from another: source and table.
type Key = (IpAddr, u32);

fn key(m: &RuleMessage) -> Option<Key> {
    let (mut source, mut table, mut priority) = (None, 0, 0);
    for attribute in &m.attributes {
        match attribute {
            RuleAttribute::Source(addr) => source = Some(*addr),
            RuleAttribute::Table(t) => table = *t,
            RuleAttribute::Priority(p) => priority = *p,
            _ => {}
        }
    }
    (priority == PRIORITY && table >= TABLES).then_some((source?, table))
}

fn message((source, table): Key) -> RuleMessage {
    let mut m = RuleMessage::default();
    (m.header.family, m.header.src_len) = match source {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    m.header.action = RuleAction::ToTable;
    m.attributes = vec![
        RuleAttribute::Source(source),
        RuleAttribute::Table(table),
        RuleAttribute::Priority(PRIORITY),
    ];
    m
}

impl Netlink {
    /// Makes the rules and tables of one family be those of these ways, and none where there is no
    /// choice.
    async fn put_tables(&self, v4: bool, ways: &[(&Way, u32)]) -> Result<(), Error> {
        let several = ways.len() > 1;
        let want: BTreeSet<Key> = ways
            .iter()
            .filter(|_| several)
            .map(|(way, index)| (way.source.addr(), TABLES + index))
            .collect();
        for (way, index) in ways {
            let table = TABLES + index;
            let mut local = vec![way.source.trunc()];
            if !v4 {
                let link_local =
                    Ipv6Net::new(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
                local.extend(link_local.map(IpNet::V6));
            }
            for net in local {
                self.set_link_route(*index, net, table, several).await?;
            }
            self.set_default_route(*index, way.hop, table, several)
                .await?;
        }
        let version = if v4 { IpVersion::V4 } else { IpVersion::V6 };
        let rules = self.handle.rule().get(version).execute().try_collect();
        let rules: Vec<RuleMessage> = match rules.await {
            Ok(rules) => rules,
            // A kernel without the family has no rules of it.
            Err(e) if is_errno(&e, Errno::EAFNOSUPPORT) || is_errno(&e, Errno::EOPNOTSUPP) => {
                Vec::new()
            }
            Err(e) => return Err(Error::request("listing routing rules", &e)),
        };
        let have: BTreeSet<Key> = rules.iter().filter_map(key).collect();
        for new in want.difference(&have) {
            let mut request = self.handle.rule().add();
            *request.message_mut() = message(*new);
            let what = || format!("adding a routing rule for what {} sends", new.0);
            let done = request.execute().await;
            done.map_err(|e| Error::request(what(), &e))?;
        }
        for old in have.difference(&want) {
            match self.handle.rule().del(message(*old)).execute().await {
                Err(e) if !is_errno(&e, Errno::ENOENT) => {
                    let what = format!("removing the routing rule for what {} sends", old.0);
                    return Err(Error::request(what, &e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_known_again_and_others_are_left_alone() {
        for source in ["10.1.0.2", "fd00::2"] {
            let own = (source.parse().unwrap(), TABLES + 3);
            assert_eq!(key(&message(own)), Some(own));
        }
        let mut other = message(("10.1.0.2".parse().unwrap(), 100));
        assert_eq!(key(&other), None);
        other.attributes = vec![
            RuleAttribute::Priority(PRIORITY),
            RuleAttribute::Table(TABLES),
        ];
        assert_eq!(key(&other), None);
    }
}
