//! Looking at what user space has written, to compare it with what it means.
//!
//! Owns reading these maps whole, in batches. Writes nothing.

use std::{collections::HashMap, net::IpAddr};

use aya::maps::{LpmTrie, MapData, MapError, lpm_trie::Key};
use ipnet::IpNet;
use netpath_common::{V4, V6, conntrack::Budget, maps, records::IfaceRecord};

use super::{Datapath, Error, Family as _, batch::read_all};

impl Datapath {
    /// What each known interface is.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn ifaces(&self) -> Result<HashMap<u32, IfaceRecord>, Error> {
        Ok(read_all(self, maps::IFACES)?.into_iter().collect())
    }

    /// The slot of the endpoint that has each address.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn endpoint_addrs(&self) -> Result<HashMap<IpAddr, u32>, Error> {
        let v4 = read_all::<V4, u32>(self, maps::ENDPOINT_BY_ADDR4)?;
        let v6 = read_all::<V6, u32>(self, maps::ENDPOINT_BY_ADDR6)?;
        let v4 = v4.into_iter().map(|(a, slot)| (a.ip(), slot));
        Ok(v4.chain(v6.into_iter().map(|(a, s)| (a.ip(), s))).collect())
    }

    /// The slot of the network that has exactly this subnet.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn subnet(&self, subnet: impl Into<IpNet>) -> Result<Option<u32>, Error> {
        let subnet = subnet.into();
        let prefix = u32::from(subnet.prefix_len());
        // A look-up answers with the longest prefix that fits, which another network's cannot be: they
        // do not overlap.
        let (map, found) = match subnet.network() {
            IpAddr::V4(a) => {
                let trie = self.typed::<LpmTrie<MapData, V4, u32>>(maps::SUBNETS4)?;
                (maps::SUBNETS4, trie.get(&Key::new(prefix, a.octets()), 0))
            }
            IpAddr::V6(a) => {
                let trie = self.typed::<LpmTrie<MapData, V6, u32>>(maps::SUBNETS6)?;
                (maps::SUBNETS6, trie.get(&Key::new(prefix, a.octets()), 0))
            }
        };
        match found {
            Ok(slot) => Ok(Some(slot)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(MapError::SyscallError(s)) if s.io_error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(None)
            }
            Err(e) => Err(Error::map("reading", map, e)),
        }
    }

    /// How many flows count towards the quota of an endpoint.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn live_flows(&self, slot: u16) -> Result<u64, Error> {
        self.array::<u64>(maps::LIVE)?
            .get(&Budget::flows(slot).index(), 0)
            .map_err(|e| Error::map("reading", maps::LIVE, e))
    }
}
