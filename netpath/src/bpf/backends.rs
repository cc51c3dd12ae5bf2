//! Groups of endpoints behind one port, and the sources that rules let in.
//!
//! Owns the maps `np_backends`, `np_allowed4` and `np_allowed6`. Chooses no backend and judges no
//! source.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::AsFd as _,
};

use aya::{
    Pod,
    maps::{LpmTrie, MapData, lpm_trie::Key},
};
use ipnet::IpNet;
use netpath_common::{
    Addr, maps,
    publish::{Backend, Backends},
    records::{ALLOWED_RULE_BITS, AllowedKey, KEPT_NETWORKS},
};

use super::{Datapath, Error, batch, sys};

/// Sources by rule.
pub type Allowed = BTreeMap<u16, BTreeSet<IpNet>>;

impl Datapath {
    /// The backends of a group.
    pub fn backends(&self, group: u16) -> Result<Backends, Error> {
        let map = self.map_fd(maps::BACKENDS)?;
        sys::lookup::<u32, Backends>(map.as_fd(), &u32::from(group))
            .map(Option::unwrap_or_default)
            .map_err(|e| Error::system(format!("reading {}", maps::BACKENDS), e))
    }

    /// Makes the backends of a group these: at every moment each place of the table leads to one that
    /// was there or that will be.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn set_backends(&self, group: u16, new: &Backends) -> Result<(), Error> {
        let old = self.backends(group)?;
        let mut both = old;
        for (place, new) in both.list.iter_mut().zip(&new.list) {
            if *new != Backend::default() {
                *place = *new;
            }
        }
        let led = Backends {
            table: new.table,
            ..both
        };
        let mut last = old;
        for step in [both, led, *new] {
            if step != last {
                batch::write(self, maps::BACKENDS, &[u32::from(group)], &[step])?;
            }
            last = step;
        }
        Ok(())
    }

    /// Makes the destinations to which containers of a network keep their addresses these.
    ///
    /// # Errors
    /// There is no room for more, or a map cannot be read or written.
    pub fn set_kept(&self, network: u16, want: &[IpNet]) -> Result<(), Error> {
        let rule = KEPT_NETWORKS | u32::from(network);
        let mut found = Vec::new();
        for key in self.allowed_keys::<[u8; 4]>(maps::ALLOWED4)? {
            found.extend(net_of(&key, IpAddr::from(key.data().addr)).filter(|(r, _)| *r == rule));
        }
        for key in self.allowed_keys::<[u8; 16]>(maps::ALLOWED6)? {
            found.extend(net_of(&key, IpAddr::from(key.data().addr)).filter(|(r, _)| *r == rule));
        }
        for net in want.iter().filter(|net| !found.contains(&(rule, **net))) {
            self.allow(rule, *net, true)?;
        }
        for (_, net) in found.iter().filter(|(_, net)| !want.contains(net)) {
            self.allow(rule, *net, false)?;
        }
        Ok(())
    }

    /// The sources that rules let in.
    pub fn allowed(&self) -> Result<Allowed, Error> {
        let mut all = Allowed::new();
        for key in self.allowed_keys::<[u8; 4]>(maps::ALLOWED4)? {
            add(&mut all, &key, IpAddr::from(key.data().addr));
        }
        for key in self.allowed_keys::<[u8; 16]>(maps::ALLOWED6)? {
            add(&mut all, &key, IpAddr::from(key.data().addr));
        }
        Ok(all)
    }

    /// Makes the sources of the rules in `want` these; those of other rules stay.
    ///
    /// New ones come before old ones go, so that whoever is let in before and after is meanwhile.
    ///
    /// # Errors
    /// There is no room for more, or a map cannot be read or written.
    pub fn set_allowed(&self, want: &Allowed) -> Result<(), Error> {
        if want.is_empty() {
            return Ok(());
        }
        let found = self.allowed()?;
        let none = BTreeSet::new();
        for (rule, nets) in want {
            let old = found.get(rule).unwrap_or(&none);
            for net in nets.difference(old) {
                self.allow(u32::from(*rule), *net, true)?;
            }
            for net in old.difference(nets) {
                self.allow(u32::from(*rule), *net, false)?;
            }
        }
        Ok(())
    }

    fn allow(&self, rule: u32, net: IpNet, on: bool) -> Result<(), Error> {
        match net {
            IpNet::V4(net) => {
                let addr = net.addr().octets();
                self.change_allowed(maps::ALLOWED4, rule, addr, net.prefix_len(), on)
            }
            IpNet::V6(net) => {
                let addr = net.addr().octets();
                self.change_allowed(maps::ALLOWED6, rule, addr, net.prefix_len(), on)
            }
        }
    }

    fn change_allowed<A: Addr>(
        &self,
        map: &str,
        rule: u32,
        addr: A,
        len: u8,
        on: bool,
    ) -> Result<(), Error>
    where
        AllowedKey<A>: Pod,
    {
        let key = Key::new(
            ALLOWED_RULE_BITS + u32::from(len),
            AllowedKey { rule, addr },
        );
        let mut trie = self.trie::<A>(map)?;
        if on {
            trie.insert(&key, 1, 0)
        } else {
            trie.remove(&key)
        }
        .map_err(|e| self.write_error(map, e))
    }

    fn allowed_keys<A: Addr>(&self, map: &str) -> Result<Vec<Key<AllowedKey<A>>>, Error>
    where
        AllowedKey<A>: Pod,
    {
        self.trie::<A>(map)?
            .keys()
            .collect::<Result<_, _>>()
            .map_err(|e| Error::map("reading", map, e))
    }

    fn trie<A: Addr>(&self, map: &str) -> Result<LpmTrie<MapData, AllowedKey<A>, u32>, Error>
    where
        AllowedKey<A>: Pod,
    {
        self.typed(map)
    }
}

fn add<A: Addr>(all: &mut Allowed, key: &Key<AllowedKey<A>>, addr: IpAddr)
where
    AllowedKey<A>: Pod,
{
    // Those of networks have larger numbers than rules.
    if let Some((rule, net)) = net_of(key, addr)
        && let Ok(rule) = u16::try_from(rule)
    {
        all.entry(rule).or_default().insert(net);
    }
}

/// The rule or network of a key, and the prefix.
fn net_of<A: Addr>(key: &Key<AllowedKey<A>>, addr: IpAddr) -> Option<(u32, IpNet)>
where
    AllowedKey<A>: Pod,
{
    let len = key.prefix_len().saturating_sub(ALLOWED_RULE_BITS);
    let net = IpNet::new(addr, u8::try_from(len).ok()?).ok()?;
    Some((key.data().rule, net))
}
